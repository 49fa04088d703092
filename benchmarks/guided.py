"""Guided denoisers beside plain ones: denoising, deblurring, and what a small change of the input can do.

    PNP_LIP_DATA=... python -m benchmarks.guided [--every 4]

Noise comes from a generator seeded with 0 for every image. Every row says which bound is *proved* with the
guide fixed, and which gain from input to output was *measured*: the largest difference quotient that a
power method and an ascent found from crops of 48 x 48 pixels, a lower bound. Rows of one set are
computed on the same noisy images. "dial" rows scale the log-factors of the maps, at noise 25/255 only; at
0 there is no guide.
"mean maps" and "foreign guide" replace the maps of an image by their means over its pixels, and the guide
by that of the next image: what is lost shows what the guide says about the place. Deblurring is that of
``pnp_lip.recipes.deblur`` with the first Levin kernel, cropped to 256 x 256, by forward-backward in [0, 1]
to a residual of 1e-4; the strengths were chosen on validation images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.record import record, recorded
from pnp_lip import FixedGuide, GuidedDenoiser, LipschitzDenoiser
from pnp_lip.certifier import find_witness, prove
from pnp_lip.data.patches import find_data, read_folder
from pnp_lip.quality import psnr, ssim
from pnp_lip.recipes import deblur
from pnp_lip.solvers import ForwardBackward, GuidedPlugAndPlay, PlugAndPlay

SETS = {"bsd68": (1, (5, 15, 25, 50)), "cbsd68": (3, (15, 25))}
DIALS = (0.0, 0.25, 0.5)
#: Strength of plain and guided denoisers in units of the noise, the best of 0.5, 0.6, 0.75, 0.9 on two
#: validation images.
STRENGTH = {"plain": 0.6, "guided": 0.6}
NOISE = (0.01, 0.03)
#: Crops, and the noise level, for the gain from input to output.
CROPS, SIDE, GAIN_LEVEL = 3, 48, 25

Denoise = Callable[[Tensor, float], Tensor]


def models(channels: int) -> tuple[dict[str, Denoise], GuidedDenoiser]:
    """Every row of a table of denoising, by name."""
    guided = GuidedDenoiser(channels)
    rows: dict[str, Denoise] = {
        "plain": LipschitzDenoiser(channels),
        "plain, large": LipschitzDenoiser(channels, pretrained="large"),
        "guided": guided,
    }
    return rows | {f"dial {dial:g}": turned(channels, dial) for dial in DIALS}, guided


def turned(channels: int, dial: float) -> GuidedDenoiser:
    """The guided denoiser with its dial at ``dial``."""
    return GuidedDenoiser(channels, dial=dial)


def mean_maps(guided: GuidedDenoiser) -> Denoise:
    """With every map replaced by its geometric mean over the pixels."""

    def denoise(noisy: Tensor, sigma: float) -> Tensor:
        fixed = guided.at(guided.plain(noisy, sigma), sigma)
        means = [scale.log().mean(dim=(2, 3), keepdim=True).exp() for scale in fixed.scales]
        flat = [m.expand_as(scale) for m, scale in zip(means, fixed.scales, strict=True)]
        flattened: Tensor = FixedGuide(guided.denoiser, flat)(noisy, sigma)
        return flattened

    return denoise


@torch.no_grad()
def denoising(images: list[Tensor], level: int, denoise: Denoise, label: str) -> dict[str, float]:
    """Mean PSNR in dB and SSIM, and processor seconds an image."""
    values, seconds = [], 0.0
    for image in tqdm(images, desc=label, leave=False, disable=None):
        clean, noisy = image[None].float() / 255, noisy_image(image, level)
        start = time.process_time()
        denoised = denoise(noisy, level / 255)
        seconds += time.process_time() - start
        values.append((psnr(denoised, clean), ssim(denoised, clean)))
    quality = np.mean(values, axis=0)
    return {
        "psnr": float(quality[0]),
        "ssim": float(quality[1]),
        "seconds": seconds / len(images),
    }


@torch.no_grad()
def foreign_guide(images: list[Tensor], level: int, guided: GuidedDenoiser) -> float:
    """Mean PSNR with the guide of the next image, turned and cut to the same size."""
    sigma, values = level / 255, []
    for image, other in zip(images, images[1:] + images[:1], strict=True):
        clean, noisy = image[None].float() / 255, noisy_image(image, level)
        if other.shape != image.shape:
            other = other.transpose(1, 2)
        guide = guided.plain(noisy_image(other, level), sigma)
        values.append(psnr(guided.with_guide(noisy, guide, sigma), clean))
    return float(np.mean(values))


def noisy_image(image: Tensor, level: int) -> Tensor:
    clean = image[None].float() / 255
    generator = torch.Generator().manual_seed(0)
    return clean + level / 255 * torch.randn(clean.shape, generator=generator)


def gain_of(denoise: Denoise, images: list[Tensor]) -> float:
    """The largest gain found from noisy crops of a few images, in float64."""
    sigma, found = GAIN_LEVEL / 255, 0.0
    exact = denoise.double() if isinstance(denoise, nn.Module) else denoise
    for image in images[:CROPS]:
        top, left = (image.shape[-2] - SIDE) // 2, (image.shape[-1] - SIDE) // 2
        crop = noisy_image(image, GAIN_LEVEL)[..., top : top + SIDE, left : left + SIDE].double()
        witness = find_witness(lambda x: exact(x, sigma), crop, steps=20, climbs=15)
        found = max(found, witness.gain)
    if isinstance(denoise, nn.Module):
        denoise.float()
    return found


def deblurring(images: list[Tensor], noise: float, guided: GuidedDenoiser) -> dict[str, Any]:
    """Mean PSNR of the plain and the guided solve, iterations, and processor seconds."""
    kernel = torch.from_numpy(np.load(find_data("kernels") / "levin09.npz")["k1"]).float()
    rows: dict[str, list[tuple[float, int, float, bool]]] = {"plain": [], "guided": []}
    for image in tqdm(images, desc=f"deblurring, noise {noise:g}", leave=False, disable=None):
        clean = image[None, :, :256, :256].float() / 255
        problem = deblur.simulated(clean, kernel[None, None], noise, seed=0)
        for name, solver in _solvers(guided, noise).items():
            start = time.process_time()
            solution = solver.solve(problem.y, problem.physics, init=problem.start)
            seconds = time.process_time() - start
            stages = getattr(solution, "stages", (solution,))
            kept = all(stage.growth is None and stage.plan.guaranteed for stage in stages)
            quality = psnr(solution.x.clamp(0, 1), clean)
            rows[name].append((quality, solution.iterations, seconds, kept))
    return {
        name: {
            "psnr": float(np.mean([row[0] for row in values])),
            "iterations": float(np.mean([row[1] for row in values])),
            "seconds": float(np.mean([row[2] for row in values])),
            "theorem held, no step grew": all(row[3] for row in values),
        }
        for name, values in rows.items()
    }


def _solvers(guided: GuidedDenoiser, noise: float) -> dict[str, Any]:
    def build(denoiser: nn.Module, tol: float) -> PlugAndPlay:
        kind = "guided" if isinstance(denoiser, FixedGuide) else "plain"
        return ForwardBackward(denoiser, STRENGTH[kind] * noise, tol=tol, box=(0, 1), max_iter=1000)

    return {
        "plain": build(guided.plain, 1e-4),
        "guided": GuidedPlugAndPlay(guided, build, tol=1e-4, loose=1e-3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only")
    parser.add_argument("--deblur", type=int, default=4, help="images to deblur, 0 for none")
    parser.add_argument("--levels", type=int, nargs="*", help="noise levels instead of all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = recorded("guided")
    for folder in options.sets:
        channels, levels = SETS[folder]
        everything = read_folder(folder, channels)
        images = everything[:: options.every]
        rows, guided = models(channels)
        statement = prove(guided.denoiser)
        result: dict[str, Any] = results.get(folder, {}) | {
            "images": len(images),
            "taken": f"every {options.every}",
            "fixed_guide_lipschitz_upper": statement.upper,
            "fixed_guide_averagedness": statement.averagedness,
            "parameters": sum(p.numel() for p in guided.parameters()),
        }
        for name, denoise in rows.items():
            row: dict[str, Any] = {"end_to_end_gain_measured": gain_of(denoise, images)}
            for level in (25,) if name.startswith("dial") else options.levels or levels:
                row[str(level)] = denoising(images, level, denoise, f"{name}, {level}")
            result[name] = row
            show(folder, name, row)
        result["mean maps"] = {"25": denoising(images, 25, mean_maps(guided), "mean maps")}
        result["foreign guide"] = {"25": {"psnr": foreign_guide(images, 25, guided)}}
        show(folder, "mean maps", result["mean maps"])
        show(folder, "foreign guide", result["foreign guide"])
        if options.deblur:
            chosen = everything[:: max(1, len(everything) // options.deblur)][: options.deblur]
            result["deblurring"] = {
                f"{noise:g}": deblurring(chosen, noise, guided) for noise in NOISE
            }
            print(folder, result["deblurring"], flush=True)
        results[folder] = result
        print("wrote", record("guided", results, levels=options.levels, deblur=options.deblur))


def show(folder: str, name: str, row: dict[str, Any]) -> None:
    """A row of the table."""
    values = "  ".join(
        f"{level}: {cell['psnr']:.2f}" for level, cell in row.items() if isinstance(cell, dict)
    )
    gain = row.get("end_to_end_gain_measured")
    print(f"{folder} {name:<14} {values}" + (f"  gain {gain:.2f}" if gain else ""), flush=True)


if __name__ == "__main__":
    main()
