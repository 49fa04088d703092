"""PSNR and SSIM of the shipped denoisers on BSD68, Set12 and CBSD68, beside total variation.

    PNP_LIP_DATA=... python -m benchmarks.denoising

Noise comes from a generator seeded with 0 for every image. The weight of total variation is, for
each noise level, the best of a grid on the first eight validation images (it is a fraction of the
noise), so that neither method was tuned on the images reported. The denoisers run frozen at each level.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor
from tqdm import tqdm

from benchmarks.record import record, recorded
from pnp_lip import Frozen, LipschitzDenoiser, certify
from pnp_lip.data.patches import read_folder
from pnp_lip.quality import psnr, ssim
from pnp_lip.weights import SHIPPED_NAMES

LEVELS = (5, 15, 25, 50)
WEIGHTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: Channels of the images of every set.
SETS = {"bsd68": 1, "set12": 1, "cbsd68": 3}

Denoise = Callable[[Tensor, float], Tensor]


def mean_quality(
    denoise: Denoise, images: list[Tensor], level: int, label: str
) -> tuple[float, float]:
    """Mean PSNR in dB and SSIM; images are uint8 ``[C, H, W]``, ``level`` in units of 1/255."""
    values = []
    for image in tqdm(images, desc=label, leave=False, disable=None):
        clean = image[None].float() / 255
        generator = torch.Generator().manual_seed(0)
        noisy = clean + level / 255 * torch.randn(clean.shape, generator=generator)
        denoised = denoise(noisy, level / 255)
        values.append((psnr(denoised, clean), ssim(denoised, clean)))
    means = np.mean(values, axis=0)
    return float(means[0]), float(means[1])


def by_level(scores: dict[int, tuple[float, float]]) -> dict[str, dict[int, float]]:
    """PSNR and SSIM, each by noise level."""
    return {
        "psnr": {level: score[0] for level, score in scores.items()},
        "ssim": {level: score[1] for level, score in scores.items()},
    }


def total_variation(weight: float) -> Denoise:
    """Rudin-Osher-Fatemi denoising with ``weight`` times the noise level."""

    def denoise(noisy: Tensor, sigma: float) -> Tensor:
        pixels = noisy[0].permute(1, 2, 0).numpy()
        smooth = denoise_tv_chambolle(
            pixels, weight=weight * sigma, eps=1e-4, max_num_iter=300, channel_axis=-1
        )
        return torch.from_numpy(smooth).permute(2, 0, 1)[None].float()

    return denoise


def best_weight(channels: int, level: int) -> float:
    """The weight of total variation that is best on the validation images."""
    images = [image[:, :200, :200] for image in read_folder("bsds500/val32", channels)[:8]]
    scores = {w: mean_quality(total_variation(w), images, level, "weight of TV") for w in WEIGHTS}
    return max(scores, key=lambda w: scores[w][0])


def evaluate(images: list[Tensor], name: str) -> dict[str, Any]:
    """All numbers of the shipped weights ``name`` for the channels of the images."""
    denoiser = LipschitzDenoiser(len(images[0]), pretrained=name)
    certificate = certify(denoiser)
    ours = {
        level: mean_quality(Frozen(denoiser, level / 255), images, level, f"sigma {level}")
        for level in LEVELS
    }
    return {
        "images": len(images),
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "lipschitz_upper": certificate.upper,
        "lipschitz_lower": certificate.lower,
        "averagedness": certificate.averagedness,
        **by_level(ours),
    }


def evaluate_total_variation(images: list[Tensor], levels: list[int]) -> dict[str, Any]:
    """The quality of total variation at some noise levels."""
    values = {}
    for level in levels:
        weight = best_weight(len(images[0]), level)
        values[level] = mean_quality(total_variation(weight), images, level, f"TV, sigma {level}")
    return {"images": len(images), **by_level(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--weights", nargs="*", default=list(SHIPPED_NAMES), choices=SHIPPED_NAMES)
    parser.add_argument(
        "--tv", type=int, nargs="*", default=LEVELS, help="noise levels at which to run TV as well"
    )
    options = parser.parse_args()
    results = recorded("denoising")
    for folder in options.sets:
        images = read_folder(folder, SETS[folder])
        rows = results.setdefault(folder, {})
        rows |= {name: evaluate(images, name) for name in options.weights}
        if options.tv:
            rows["total variation"] = evaluate_total_variation(images, list(options.tv))
        print(folder)
        for name, row in rows.items():
            values = "  ".join(
                f"{level}: {row['psnr'][level]:.2f}, {row['ssim'][level]:.3f}"
                for level in row["psnr"]
            )
            bounds = ""
            if "lipschitz_upper" in row:
                bounds = f"  Lip in [{row['lipschitz_lower']:.6f}, {row['lipschitz_upper']:.6f}]"
            print(f"  {name:<16} {values}{bounds}", flush=True)
    print("wrote", record("denoising", results, tv=list(options.tv)))


if __name__ == "__main__":
    main()
