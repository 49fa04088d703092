"""Deconvolution of generated volumes of cells from photon counts, beside Richardson-Lucy.

    python -m benchmarks.microscopy

A larger volume is blurred and cut, so that light enters from outside of the frame, as in a microscope.
Richardson-Lucy has the same model of the blur, and is stopped after the number of iterations that was best
on a validation volume; the strengths of the denoiser are those of the recipe, chosen on validation volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from deepinv.physics import Blur
from torch import Tensor

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import fixed, table
from benchmarks.record import Rows
from pnp_lip.data.cells import cells
from pnp_lip.data.psf import Optics
from pnp_lip.quality import psnr
from pnp_lip.recipes import deconvolve
from pnp_lip.recipes.restoration import Options, restore

SHAPE = (8, 40, 40)
VALIDATION, SEEDS = 5, (11, 12)
LUCY = (2, 4, 8, 16, 32, 64, 128)
#: Where nothing is divided by less.
_TINY = 1e-6
METHODS = ("Richardson-Lucy", "slice by slice", "volume")


def observation(seed: int, photons: float, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The truth in the frame, and what the microscope counts there."""
    margin = [side - 1 for side in kernel.shape[2:]]
    around = tuple(side + extra for side, extra in zip(SHAPE, margin, strict=True))
    x = cells((around[0], around[1], around[2]), seed=seed)
    blurred = Blur(kernel, padding="valid", use_fft=True).A(x).clamp(min=0)
    counts = torch.poisson(photons * blurred, torch.Generator().manual_seed(seed))
    for axis, (extra, side) in enumerate(zip(margin, SHAPE, strict=True), 2):
        x = x.narrow(axis, extra // 2, side)
    return x, counts / photons


def lucy(y: Tensor, kernel: Tensor, iterations: int) -> Tensor:
    r""":math:`x \leftarrow x \odot A^\top(y \oslash Ax) \oslash A^\top 1` (Richardson 1972, Lucy 1974)."""
    problem = deconvolve.observed(y, kernel)
    A, x = problem.physics, problem.start.clamp(min=_TINY)
    weight = A.A_adjoint(torch.ones_like(y)).clamp(min=_TINY)
    for _ in range(iterations):
        x = x * A.A_adjoint(y / A.A(x).clamp(min=_TINY)).clamp(min=0) / weight
    return problem.in_frame(x).clamp(0, 1)


def ours(y: Tensor, kernel: Tensor, photons: float) -> tuple[Tensor, int]:
    """With the denoiser, and the iterations it took."""
    problem = deconvolve.observed(y, kernel, photons=photons)
    sigma = deconvolve.STRENGTH["photons"] * problem.noise
    found = restore(problem, Options(sigma, "primal-dual", tol=3e-4))
    return found.image, found.solution.iterations


def microscopy_table(rows: Rows) -> str:
    """A line for each number of photons and method."""
    return table(
        ["photons at white", "method", "observation", "restoration", "iterations", "proof"],
        [
            [
                photons,
                method,
                fixed(row["observation"], 2),
                fixed(row["restoration"], 2),
                str(row["iterations"]),
                row["proof"],
            ]
            for (photons, method), row in rows.items()
        ],
    )


BENCHMARK = Benchmark(
    "microscopy",
    __doc__,
    tables={"microscopy": microscopy_table},
    selecting=("photons", "methods"),
    packages=("psf",),
)


def run(
    method: str, photons: float, kernel: Tensor
) -> tuple[Callable[[Tensor], tuple[Tensor, int]], str]:
    """A method for observations with so many photons, and what is proved of it."""
    if method == "Richardson-Lucy":
        x, y = observation(VALIDATION, photons, kernel)
        best = max(LUCY, key=lambda count: psnr(lucy(y, kernel, count), x))
        return lambda y: (lucy(y, kernel, best), best), "none: stopped early"
    if method == "volume":
        return lambda y: ours(y, kernel, photons), "convergence"
    flat = kernel[:, :, kernel.shape[2] // 2]

    def by_slices(y: Tensor) -> tuple[Tensor, int]:
        found = [ours(y[:, :, k], flat / flat.sum(), photons) for k in range(y.shape[2])]
        return torch.stack([image for image, _ in found], dim=2), max(n for _, n in found)

    return by_slices, "convergence"


def _each(
    solve: Callable[[Tensor], tuple[Tensor, int]], observed: list[Tensor]
) -> list[tuple[Tensor, int]]:
    return [solve(y) for y in observed]


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--photons", nargs="+", type=float, default=[50.0, 500.0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    recording = BENCHMARK.start(options, shape=SHAPE, seeds=SEEDS, validation=VALIDATION)
    kernel = Optics(wavelength=520, aperture=0.7, pixel=260, step=1000, index=1.0).kernel()
    for photons in options.photons:
        pairs = [observation(seed, photons, kernel) for seed in SEEDS]
        for method in options.methods:
            solve, proof = run(method, photons, kernel)
            seconds, found = timed(partial(_each, solve, [y for _, y in pairs]))
            row = {
                "observation": float(np.mean([psnr(y, x) for x, y in pairs])),
                "restoration": float(
                    np.mean([psnr(z, x) for (x, _), (z, _) in zip(pairs, found, strict=True)])
                ),
                "iterations": max(count for _, count in found),
                "seconds": seconds / len(pairs),
                "proof": proof,
            }
            recording.add(f"{photons:g}", method, row=row)
    recording.close()


if __name__ == "__main__":
    main()
