"""Guided denoisers beside plain ones: denoising, deblurring, and what a small change of the input can do.

    PNP_LIP_DATA=... python -m benchmarks.guided
    PNP_LIP_DATA=... python -m benchmarks.guided --every 4 --rows large "dial 0" "mean maps" ...

Noise comes from a generator seeded with 0 for every image; the rows of one set are computed on the same
noisy images. Every row says which bound is *proved* with the guide fixed, and which gain from input to
output was *measured*: the largest difference quotient that a power method and an ascent found from noisy
crops of 32 x 32 pixels, a lower bound. Rows "dial" scale the log-factors of the maps; at 0 there is no
guide. "mean maps", "shuffled maps" and "foreign guide" replace the maps of an image by their means over its
pixels, by the same maps with the pixels in random order, and the guide by that of the next image: what is
lost shows what the guide says about the place.

Deblurring is that of ``pnp_lip.recipes.deblur`` with the first Levin kernel, on parts of 256 x 256 pixels,
by forward-backward in [0, 1] to a residual of 1e-4, with the same strength for both, 0.8 of the noise: the
best of 0.6, 0.8, 1 and 1.3 for both on two validation images at noise 0.01.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import Benchmark, timed
from benchmarks.images import Denoise, mean_quality, noisy
from benchmarks.markdown import down, fixed, table, up
from benchmarks.record import Row, Rows
from pnp_lip import FixedGuide, Frozen, GuidedDenoiser, LipschitzDenoiser
from pnp_lip.certifier import find_witness, prove
from pnp_lip.data.patches import find_data, read_folder
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.solvers import ForwardBackward, GuidedPlugAndPlay, PlugAndPlay

SETS = {"bsd68": 1, "cbsd68": 3}
LEVELS = {"bsd68": (5, 15, 25, 50), "cbsd68": (15, 25)}
TITLES = {"bsd68": "BSD68, grey", "cbsd68": "CBSD68, colour"}
DIALS = (0.0, 0.25, 0.5)
ROWS = (
    "plain",
    "large",
    "guided",
    *(f"dial {dial:g}" for dial in DIALS),
    "mean maps",
    "shuffled maps",
    "foreign guide",
)
#: Rows at every level; the others only explain.
MAIN = ("plain", "large", "guided")
#: The level of rows that only explain, and of the gains; crops and their side.
LEVEL, CROPS, SIDE = 25, 2, 32
STRENGTH, NOISE, PART = 0.8, (0.01, 0.03), 256


def model(channels: int, name: str, images: list[Tensor]) -> Denoise:
    """The denoiser of a row."""
    if name in ("plain", "large"):
        return LipschitzDenoiser(channels, pretrained="default" if name == "plain" else name)
    if name.startswith("dial"):
        return GuidedDenoiser(channels, dial=float(name.split()[1]))
    guided = GuidedDenoiser(channels)
    if name in ("mean maps", "shuffled maps"):
        return other_maps(guided, mean if name == "mean maps" else shuffled)
    return foreign_guide(guided, images) if name == "foreign guide" else guided


def other_maps(guided: GuidedDenoiser, change: Callable[[Tensor], Tensor]) -> Denoise:
    """With every map replaced by another one."""

    def denoise(y: Tensor, sigma: float) -> Tensor:
        maps = guided.at(guided.plain(y, sigma), sigma).scales
        return FixedGuide(guided.denoiser, [change(m) for m in maps])(y, sigma)

    return denoise


def mean(scale: Tensor) -> Tensor:
    """The geometric mean over the pixels, everywhere."""
    return scale.log().mean(dim=(2, 3), keepdim=True).exp().expand_as(scale)


def shuffled(scale: Tensor) -> Tensor:
    """The pixels in random order, the same for all maps of an image."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(scale.shape[-2] * scale.shape[-1], generator=generator)
    return scale.flatten(2)[..., order].view_as(scale)


def foreign_guide(guided: GuidedDenoiser, images: list[Tensor]) -> Denoise:
    """With the guide of another image of the same size, turned if need be."""
    others = iter(images[1:] + images[:1])

    def denoise(y: Tensor, sigma: float) -> Tensor:
        other = next(others)
        if other.shape != y.shape[1:]:
            other = other.transpose(1, 2)
        guide = guided.plain(noisy(other[None].float() / 255, sigma), sigma)
        return guided.with_guide(y, guide, sigma)

    return denoise


def gain_of(denoiser: nn.Module, images: list[Tensor]) -> float:
    """The largest gain found from noisy crops, in float64."""
    found = 0.0
    denoiser.double()
    for image in images[:CROPS]:
        top, left = (image.shape[-2] - SIDE) // 2, (image.shape[-1] - SIDE) // 2
        clean = image[None, :, top : top + SIDE, left : left + SIDE].double() / 255
        witness = find_witness(
            lambda x: denoiser(x, LEVEL / 255), noisy(clean, LEVEL / 255), climbs=15
        )
        found = max(found, witness.gain)
    denoiser.float()
    return found


def denoising(name: str, images: list[Tensor], levels: tuple[int, ...]) -> Row:
    """All numbers of a row."""
    denoise = model(len(images[0]), name, images)
    row: Row = {"images": len(images), "psnr": {}, "ssim": {}, "seconds": {}}
    if isinstance(denoise, nn.Module):
        part = denoise.denoiser if isinstance(denoise, GuidedDenoiser) else denoise
        statement = prove(part)
        row["lipschitz_upper_fixed_guide"] = statement.upper
        row["averagedness_fixed_guide"] = statement.averagedness
        row["parameters"] = sum(p.numel() for p in denoise.parameters())
        row["end_to_end_gain_measured"] = gain_of(denoise, images)
    for level in levels if name in MAIN else (LEVEL,):
        start = time.process_time()
        quality = mean_quality(denoise, images, level, f"{name}, {level}")
        row["seconds"][str(level)] = (time.process_time() - start) / len(images)
        row["psnr"][str(level)], row["ssim"][str(level)] = quality["psnr"], quality["ssim"]
    return row


def deblurring(image: Tensor, noise: float, guided: GuidedDenoiser) -> dict[str, Row]:
    """A plain and a guided solve of one problem."""
    kernel = torch.from_numpy(np.load(find_data("kernels") / "levin09.npz")["k1"]).float()
    clean = image[None, :, :PART, :PART].float() / 255
    problem = deblur.simulated(clean, kernel[None, None], noise, seed=0)

    def build(denoiser: nn.Module, tol: float) -> PlugAndPlay:
        return ForwardBackward(denoiser, STRENGTH * noise, tol=tol, box=(0, 1), max_iter=1000)

    solvers: dict[str, Any] = {
        "plain": build(guided.plain, 1e-4),
        "guided": GuidedPlugAndPlay(guided, build, tol=1e-4, loose=1e-3),
    }
    rows: dict[str, Row] = {}
    for name, solver in solvers.items():
        solve = partial(solver.solve, problem.y, problem.physics, init=problem.start)
        seconds, solution = timed(solve)
        rows[name] = {
            "strength": STRENGTH,
            "psnr": psnr(solution.x.clamp(0, 1), clean),
            "iterations": solution.iterations,
            "seconds": seconds,
            "converged": solution.status.name == "CONVERGED",
            "guaranteed": solution.guaranteed,
        }
    return rows


def mean_row(rows: list[Row]) -> Row:
    """Means of numbers, and whether all that is true or false is true."""
    return {"images": len(rows)} | {
        key: all(row[key] for row in rows)
        if isinstance(rows[0][key], bool)
        else float(np.mean([row[key] for row in rows]))
        for key in rows[0]
    }


def application(channels: int) -> Row:
    """Processor seconds of one application on 256 x 256 pixels: plain, and with a fixed guide."""
    guided = GuidedDenoiser(channels)
    x, sigma = torch.rand(1, channels, PART, PART, generator=torch.Generator().manual_seed(0)), 0.1
    forms: dict[str, Denoise] = {
        "plain": Frozen(guided.plain, sigma),
        "fixed guide": Frozen(guided.at(x, sigma), sigma),
        "maps": lambda x, s: guided.at(x, s).scales[0],
        "guided, end to end": guided,
    }
    with torch.no_grad():
        return {
            name: min(timed(partial(form, x, sigma))[0] for _ in range(4))
            for name, form in forms.items()
        }


def quality_table(folder: str) -> Any:
    """PSNR of every row, with the proved and the measured bound."""

    def made(rows: Rows) -> str:
        levels = [str(level) for level in LEVELS[folder]]
        heading = [
            "",
            "images",
            *(f"σ = {level}" for level in levels),
            f"SSIM at {LEVEL}",
            f"s an image at {LEVEL}",
            "proved, guide fixed",
            "end to end ≥",
        ]
        lines = []
        for name in ROWS:
            if (folder, name) not in rows:
                continue
            row = rows[(folder, name)]
            cells = [fixed(row["psnr"].get(level), 2) for level in levels]
            cells += [fixed(row["ssim"][str(LEVEL)], 3), fixed(row["seconds"][str(LEVEL)], 2)]
            bounds = (
                up(row.get("lipschitz_upper_fixed_guide"), 4),
                down(row.get("end_to_end_gain_measured"), 2),
            )
            lines.append([name, str(row["images"]), *cells, *bounds])
        return table(heading, lines)

    return made


def deblurring_table(rows: Rows) -> str:
    """Plain and guided solves."""
    heading = [
        "",
        "images",
        "noise",
        "PSNR",
        "applications",
        "seconds",
        "theorem and tolerance met",
    ]
    lines = []
    for folder in SETS:
        for noise in NOISE:
            for name in ("plain", "guided"):
                row = rows.get((folder, "deblurring", f"{noise:g}", name))
                if row is not None:
                    met = "all" if row["converged"] and row["guaranteed"] else "not all"
                    numbers = [fixed(row[key], 2) for key in ("psnr", "iterations", "seconds")]
                    title = f"{TITLES[folder]}, {name}"
                    lines.append([title, str(row["images"]), f"{noise:g}", *numbers, met])
    return table(heading, lines)


def guided_line(rows: Rows) -> str:
    """Grey images with a guide, in a few words."""
    row = rows["bsd68", "guided"]
    psnr = " / ".join(fixed(row["psnr"][str(level)], 2) for level in LEVELS["bsd68"])
    plain = " / ".join(
        fixed(rows["bsd68", "plain"]["psnr"][str(level)], 2) for level in LEVELS["bsd68"]
    )
    gain = down(row["end_to_end_gain_measured"], 1)
    return f"{psnr} dB (without {plain}); gain from data to result ≥ {gain}, measured"


BENCHMARK = Benchmark(
    name="guided",
    about=__doc__ or "",
    tables={f"guided-{folder}": quality_table(folder) for folder in SETS}
    | {"guided-deblurring": deblurring_table, "guided-line": guided_line},
    selecting=("sets", "rows", "deblur", "every", "application"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only")
    parser.add_argument("--deblur", type=int, default=4, help="images to deblur, 0 for none")
    parser.add_argument("--application", action="store_true", help="time single applications")
    options: argparse.Namespace = parser.parse_args()
    recording = BENCHMARK.start(options, level=LEVEL, crops=CROPS, side=SIDE)
    for folder in options.sets:
        everything = read_folder(folder, SETS[folder])
        if options.application:
            recording.add(folder, "seconds of an application", row=application(SETS[folder]))
        for name in options.rows:
            row = denoising(name, everything[:: options.every], LEVELS[folder])
            recording.add(folder, name, row=row)
            print(row["psnr"], flush=True)
        if options.deblur:
            chosen = everything[:: len(everything) // options.deblur][: options.deblur]
            guided = GuidedDenoiser(SETS[folder])
            for noise in NOISE:
                found = [deblurring(image, noise, guided) for image in chosen]
                for name in ("plain", "guided"):
                    row = mean_row([rows[name] for rows in found])
                    recording.add(folder, "deblurring", f"{noise:g}", name, row=row)
    recording.close()


if __name__ == "__main__":
    main()
