"""PSNR and SSIM of the shipped denoisers on BSD68, Set12 and CBSD68, beside total variation.

    PNP_LIP_DATA=... python -m benchmarks.denoising

Noise comes from a generator seeded with 0 for every image. The weight of total variation is, for
each noise level, the best of a grid on the first eight validation images (it is a fraction of the
noise), so that neither method was tuned on the images reported. The denoisers run frozen at each level.
"""

from __future__ import annotations

from typing import Any

import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.images import Denoise, mean_quality, validation_images
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from pnp_lip import Frozen, LipschitzDenoiser, certify
from pnp_lip.data.patches import read_folder
from pnp_lip.weights import SHIPPED_NAMES

LEVELS = (5, 15, 25, 50)
WEIGHTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: Channels of the images of every set.
SETS = {"bsd68": 1, "set12": 1, "cbsd68": 3}
TITLES = {"bsd68": "grey, BSD68", "set12": "grey, Set12", "cbsd68": "colour, CBSD68"}
VARIATION = "total variation"


def by_level(scores: dict[int, dict[str, float]]) -> Row:
    """PSNR and SSIM, each by noise level."""
    return {
        measure: {str(level): score[measure] for level, score in scores.items()}
        for measure in ("psnr", "ssim")
    }


def total_variation(weight: float) -> Denoise:
    """Rudin-Osher-Fatemi denoising with ``weight`` times the noise level."""

    def denoise(y: Tensor, sigma: float) -> Tensor:
        pixels = y[0].permute(1, 2, 0).numpy()
        smooth = denoise_tv_chambolle(
            pixels, weight=weight * sigma, eps=1e-4, max_num_iter=300, channel_axis=-1
        )
        return torch.from_numpy(smooth).permute(2, 0, 1)[None].float()

    return denoise


def best_weight(channels: int, level: int) -> float:
    """The weight of total variation that is best on the validation images."""
    images = validation_images(channels, side=200, count=8)
    scores = {w: mean_quality(total_variation(w), images, level, "weight of TV") for w in WEIGHTS}
    return max(scores, key=lambda w: scores[w]["psnr"])


def evaluate(images: list[Tensor], name: str) -> Row:
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
        "layers": len(denoiser.layers),
        "lipschitz_upper": certificate.upper,
        "lipschitz_lower": certificate.lower,
        "averagedness": certificate.averagedness,
        **by_level(ours),
    }


def evaluate_total_variation(images: list[Tensor], levels: list[int]) -> Row:
    """The quality of total variation at some noise levels."""
    values = {}
    for level in levels:
        weight = best_weight(len(images[0]), level)
        values[level] = mean_quality(total_variation(weight), images, level, f"TV, sigma {level}")
    return {"images": len(images), **by_level(values)}


def quality_table(rows: Rows) -> str:
    """A line for each set and denoiser."""
    lines = []
    for folder, title in TITLES.items():
        for name in (*SHIPPED_NAMES, VARIATION):
            if (folder, name) in rows:
                lines.append([title, *_line(name, rows[folder, name])])
    heading = ["images", "denoiser", "Lip ≤", *(f"σ = {level}" for level in LEVELS)]
    return table(heading, lines)


def _line(name: str, row: Row) -> list[str]:
    title = name if name == VARIATION else f'ours, `pretrained="{name}"`'
    bound = f"{row['lipschitz_upper']:g}, proved" if "lipschitz_upper" in row else "1, by theorem"
    scores = [f"{row['psnr'][key]:.2f}, {row['ssim'][key]:.3f}" for key in map(str, LEVELS)]
    return [title, bound, *scores]


def grey_line(rows: Rows) -> str:
    """PSNR of the default denoiser on BSD68, and of total variation."""
    ours, variation = (
        " / ".join(f"{rows['bsd68', name]['psnr'][str(level)]:.2f}" for level in LEVELS)
        for name in ("default", VARIATION)
    )
    return f"{ours} dB (total variation {variation})"


BENCHMARK = Benchmark(
    "denoising",
    __doc__,
    tables={"denoising": quality_table, "denoising-grey": grey_line},
    selecting=("sets", "weights", "tv"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--weights", nargs="*", default=list(SHIPPED_NAMES), choices=SHIPPED_NAMES)
    parser.add_argument(
        "--tv", type=int, nargs="*", default=LEVELS, help="noise levels at which to run TV as well"
    )
    parser.add_argument("--count", type=int, help="only the first images of every set")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for folder in options.sets:
        images: list[Any] = read_folder(folder, SETS[folder])[: options.count]
        for name in options.weights:
            recording.add(folder, name, row=evaluate(images, name))
        if options.tv:
            row = evaluate_total_variation(images, list(options.tv))
            recording.add(folder, VARIATION, row=row)
    recording.close()


if __name__ == "__main__":
    main()
