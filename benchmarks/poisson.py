"""What the right data term gains on counts: Kullback-Leibler against squares, on the same observations.

    PNP_LIP_DATA=... python -m benchmarks.poisson

A photograph is blurred and counted, with so many photons at white. All terms get the same denoiser; its
level, over the deviation of a mean count, and the step of each (its weight against the data) are chosen on
validation images, each by a search that moves to a better neighbour on a grid until there is none, and the
rows are about other images. "weighted squares" knows the variance of every count, from the counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepinv.optim.data_fidelity import L2, PoissonLikelihood
from deepinv.physics import Blur
from skimage import io
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from benchmarks.strength import images as validation
from pnp_lip import LipschitzDenoiser
from pnp_lip.quality import psnr
from pnp_lip.recipes.deblur import motion_kernel
from pnp_lip.solvers import ADMM, ForwardBackward, PlugAndPlay, PrimalDual

PHOTONS = (3.0, 10.0, 30.0, 100.0)
LEVELS = (0.06, 0.09, 0.14, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5)
WEIGHTS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
#: Where each search begins, as places in the two grids.
_MIDDLE = (4, 3)

Build = Callable[[LipschitzDenoiser, float, float, float, Tensor], PlugAndPlay]


def squares(
    denoiser: LipschitzDenoiser, level: float, weight: float, photons: float, y: Tensor
) -> PlugAndPlay:
    """Squares with one weight; forward-backward allows no longer step than 2/L, ADMM does."""
    options: dict[str, Any] = {"tol": 1e-4, "max_iter": 200, "stepsize": 0.63 * weight}
    if weight > 1:
        return ADMM(denoiser, level, **options)
    return ForwardBackward(denoiser, level, firm=True, box=(0.0, 1.0), **options)


def weighted(
    denoiser: LipschitzDenoiser, level: float, weight: float, photons: float, y: Tensor
) -> PlugAndPlay:
    """Squares over the variance of each count, at least one photon."""
    deviation = (y.clamp(min=1 / photons) / photons).sqrt()
    step = weight * float(y.mean()) / photons
    fidelity = L2(sigma=deviation)
    return PrimalDual(
        denoiser, level, data_fidelity=fidelity, stepsize=step, tol=1e-4, max_iter=200
    )


def likelihood(
    denoiser: LipschitzDenoiser, level: float, weight: float, photons: float, y: Tensor
) -> PlugAndPlay:
    """The likelihood of the counts."""
    fidelity = PoissonLikelihood(gain=1 / photons, denormalize=True)
    step = weight * float(y.mean()) / photons
    return PrimalDual(
        denoiser, level, data_fidelity=fidelity, stepsize=step, tol=1e-4, max_iter=200
    )


TERMS: dict[str, Build] = {
    "squares": squares,
    "weighted squares": weighted,
    "Kullback-Leibler": likelihood,
}


def reporting(count: int, side: int) -> list[Tensor]:
    """The middle of images of Set12."""
    found = []
    for path in sorted((Path(os.environ["PNP_LIP_DATA"]) / "set12").rglob("*.*"))[:count]:
        pixels = torch.from_numpy(io.imread(path).astype(np.float32) / 255)
        top, left = ((n - side) // 2 for n in pixels.shape[:2])
        found.append(pixels[top : top + side, left : left + side][None, None].contiguous())
    return found


def observed(x: Tensor, photons: float, seed: int) -> tuple[Blur, Tensor]:
    """The blurred image and its counts over ``photons``."""
    physics = Blur(motion_kernel(9, 3), padding="circular")
    draw = torch.Generator().manual_seed(seed)
    return physics, torch.poisson(photons * physics.A(x).clamp(min=0), generator=draw) / photons


def quality(
    build: Build,
    denoiser: LipschitzDenoiser,
    level: float,
    weight: float,
    photons: float,
    truths: list[Tensor],
) -> float:
    """Mean PSNR."""
    found = []
    for seed, x in enumerate(truths):
        physics, y = observed(x, photons, seed)
        deviation = float(y.mean() / photons) ** 0.5
        solver = build(denoiser, level * deviation, weight, photons, y)
        found.append(float(psnr(solver.solve(y, physics).x.clamp(0, 1), x)))
    return float(np.mean(found))


def compared(photons: float, chosen_on: list[Tensor], shown_on: list[Tensor]) -> dict[str, Row]:
    """The best setting of every term, and its PSNR on other images."""
    denoiser = LipschitzDenoiser(1).requires_grad_(False)
    rows: dict[str, Row] = {}
    for name, build in TERMS.items():

        def tried(level: float, weight: float, build: Build = build) -> float:
            return quality(build, denoiser, level, weight, photons, chosen_on)

        level, weight, reached = climbed(tried)
        rows[name] = {
            "level": level,
            "weight": weight,
            "inside": LEVELS[0] < level < LEVELS[-1] and WEIGHTS[0] < weight < WEIGHTS[-1],
            "validation": reached,
            "psnr": quality(build, denoiser, level, weight, photons, shown_on),
        }
    return rows


def climbed(value: Callable[[float, float], float]) -> tuple[float, float, float]:
    """Level, weight and value where no neighbour on the grid is better."""
    known: dict[tuple[int, int], float] = {}

    def at(place: tuple[int, int]) -> float:
        if place not in known:
            known[place] = value(LEVELS[place[0]], WEIGHTS[place[1]])
        return known[place]

    here, best = None, _MIDDLE
    while best != here:
        here = best
        moves = ((here[0] + i, here[1] + j) for i in (0, 1, -1) for j in (0, 1, -1))
        near = [(i, j) for i, j in moves if 0 <= i < len(LEVELS) and 0 <= j < len(WEIGHTS)]
        best = max(near, key=at)
    return LEVELS[best[0]], WEIGHTS[best[1]], at(best)


def poisson_table(rows: Rows) -> str:
    """A line for each number of photons."""
    counts = list(dict.fromkeys(names[0] for names in rows))
    return table(
        ["photons at white", *TERMS, "gain over squares", "on the validation images"],
        [
            [
                count,
                *(fixed(rows[count, term]["psnr"], 2) for term in TERMS),
                *(
                    fixed(rows[count, "Kullback-Leibler"][on] - rows[count, "squares"][on], 2)
                    for on in ("psnr", "validation")
                ),
            ]
            for count in counts
        ],
    )


BENCHMARK = Benchmark(
    "poisson",
    __doc__,
    tables={"poisson": poisson_table},
    selecting=("photons",),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--photons", nargs="+", type=float, default=list(PHOTONS))
    parser.add_argument("--validation", type=int, default=2, help="images on which to choose")
    parser.add_argument("--images", type=int, default=6, help="images to report on")
    parser.add_argument("--side", type=int, default=64, help="of the crops, in pixels")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, levels=LEVELS, weights=WEIGHTS)
    chosen_on = validation(options.validation, options.side)
    shown_on = reporting(options.images, options.side)
    for photons in options.photons:
        for term, row in compared(photons, chosen_on, shown_on).items():
            recording.add(f"{photons:g}", term, row=row)
    recording.close()


if __name__ == "__main__":
    main()
