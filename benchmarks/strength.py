"""The strength of the denoiser, the residual it leaves, and the discrepancy principle, on validation.

    python -m benchmarks.strength

For every problem the validation images are restored with strengths (levels of the denoiser over the noise)
on a grid. A row holds their PSNR and discrepancy ``|Ax - y|^2 / (m s^2)`` on that grid; the table compares
the best strength of each image with the default and with the one that each target of the discrepancy
principle would choose.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from deepinv.physics import LinearPhysics
from skimage import io
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip import LipschitzDenoiser
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur, inpaint, superresolve
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers import ADMM, ForwardBackward, PlugAndPlay
from pnp_lip.solvers.discrepancy import default_target
from pnp_lip.solvers.misfit import discrepancy
from pnp_lip.solvers.strength import DEFAULT_STRENGTH

GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.6, 2.0)
TARGETS = (0.5, 0.75, 1.0)


def images(count: int, side: int) -> list[Tensor]:
    """Crops of grey validation images ``[1, 1, side, side]``."""
    folder = Path(os.environ["PNP_LIP_DATA"]) / "bsds500" / "val32"
    found = []
    for path in sorted(folder.rglob("*.*"))[:: max(1, 32 // count)][:count]:
        pixels = torch.from_numpy(io.imread(path).astype(np.float32) / 255)
        grey = pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)
        top, left = ((n - side) // 2 for n in grey.shape)
        found.append(grey[top : top + side, left : left + side][None, None].contiguous())
    return found


def problems() -> dict[str, tuple[float, Callable[[Tensor, int], Problem]]]:
    """By name, the noise and how it is posed for an image and a seed."""
    found: dict[str, tuple[float, Callable[[Tensor, int], Problem]]] = {}
    for noise in (0.01, 0.03, 0.05):
        found[f"deblurring, {noise:g}"] = (
            noise,
            lambda x, seed, s=noise: deblur.simulated(
                x, deblur.motion_kernel(15, 20 + seed), s, seed
            ),  # type: ignore[misc]
        )
        found[f"super-resolution x2, {noise:g}"] = (
            noise,
            lambda x, seed, s=noise: superresolve.simulated(x, 2, s, seed),  # type: ignore[misc]
        )
    found["inpainting 50 %, 0.05"] = (
        0.05,
        lambda x, seed: inpaint.simulated(x, inpaint.random_mask(x, 0.5, seed), 0.05, seed),
    )
    return found


def curves(
    kind: type[PlugAndPlay], noise: float, posed: list[Problem], denoiser: LipschitzDenoiser
) -> Row:
    """PSNR and discrepancy of every image on the grid of strengths."""
    quality: list[list[float]] = []
    left: list[list[float]] = []
    for problem in posed:
        start: Tensor | None = problem.start
        quality.append([])
        left.append([])
        for strength in GRID:
            solver = kind(denoiser, strength * noise, tol=1e-4)
            start = solver.solve(problem.y, problem.physics, init=start).x
            shown = problem.in_frame(start).clamp(0, 1)
            assert problem.truth is not None
            quality[-1].append(float(psnr(shown, problem.truth)))
            left[-1].append(_left(problem.physics, start, problem.y, noise))
    return {"noise": noise, "psnr": quality, "discrepancy": left}


def _left(physics: LinearPhysics, x: Tensor, y: Tensor, noise: float) -> float:
    return discrepancy(physics, x, y, noise)


def at(strength: float, curve: list[float]) -> float:
    """A curve on the grid, linear in the logarithm of the strength."""
    return float(np.interp(np.log(strength), np.log(GRID), curve))


def chosen(left: list[float], target: float) -> float:
    """The strength at which the discrepancy principle ends."""
    heights = np.maximum.accumulate(left)
    return float(np.exp(np.interp(target, heights, np.log(GRID))))


def strength_table(rows: Rows) -> str:
    """The best strength of a problem, and what the other ways to choose it lose."""
    lines = []
    for names, row in rows.items():
        curves, left = np.array(row["psnr"]), row["discrepancy"]
        mean = curves.mean(0)
        best, each = int(mean.argmax()), curves.max(1).mean()
        default = np.mean([at(DEFAULT_STRENGTH, c) for c in row["psnr"]])
        found = [
            np.mean([at(chosen(d, target), c) for c, d in zip(row["psnr"], left, strict=True)])
            for target in (default_target(row["noise"]), *TARGETS)
        ]
        lines.append(
            [
                *names,
                f"{GRID[best]:g}",
                fixed(float(np.mean([d[best] for d in left])), 2),
                fixed(float(each), 2),
                fixed(float(each - default), 2),
                *(fixed(float(each - value), 2) for value in found),
            ]
        )
    heads = ["best strength", "its discrepancy", "best of each image", "0.75 loses", "auto loses"]
    return table(["problem", "solver", *heads, *(f"target {t:g}" for t in TARGETS)], lines)


BENCHMARK = Benchmark(
    "strength",
    __doc__,
    tables={"strength": strength_table},
    selecting=("problems",),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--problems", nargs="+", help="only these")
    parser.add_argument("--images", type=int, default=6, help="number of validation images")
    parser.add_argument("--side", type=int, default=96, help="of the crops, in pixels")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, grid=GRID)
    denoiser = LipschitzDenoiser(1).requires_grad_(False)
    truths = images(options.images, options.side)
    for name, (noise, pose) in problems().items():
        if options.problems and name not in options.problems:
            continue
        posed = [pose(x, seed) for seed, x in enumerate(truths)]
        for kind in (ForwardBackward, ADMM):
            recording.add(name, kind.method, row=curves(kind, noise, posed, denoiser))
    recording.close()


if __name__ == "__main__":
    main()
