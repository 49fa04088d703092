"""Deblurring and inpainting of the packaged photograph with both solvers.

    python -m benchmarks.restoration

With ``PNP_LIP_DATA`` set, the first kernel of Levin et al. 2009 is run as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.record import record
from pnp_lip.data.patches import DATA_VARIABLE
from pnp_lip.data.photographs import photograph
from pnp_lip.recipes import deblur, inpaint
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import SOLVERS, Options, restore

NOISE = 0.01


def problems(x: Tensor) -> Iterator[tuple[str, Problem, dict[str, float]]]:
    """Name, problem, and the strength of the denoiser for each solver."""
    strengths = {solver: factor * NOISE for solver, factor in deblur.STRENGTH.items()}
    for name, kernel in kernels():
        yield f"deblurring, {name}", deblur.simulated(x, kernel, NOISE, 0), strengths
    mask = inpaint.random_mask(x, 0.5, 0)
    yield "inpainting, 50 % missing", inpaint.simulated(x, mask, 0.0, 0), inpaint.STRENGTH


def kernels() -> Iterator[tuple[str, Tensor]]:
    """The kernel of the recipe, and Levin's first where the data are."""
    yield "camera shake", deblur.motion_kernel()
    file = Path(os.environ.get(DATA_VARIABLE, "")) / "kernels" / "levin09.npz"
    if file.is_file():
        yield "Levin kernel 1", torch.from_numpy(np.load(file)["k1"]).float()[None, None]


def main() -> None:
    results: list[dict[str, Any]] = []
    for name, problem, strengths in problems(photograph("camera")):
        for solver in SOLVERS:
            report = restore(problem, Options(strengths[solver], solver)).to_dict()
            kept = ("psnr_observation", "psnr_restoration", "ssim_restoration", "iterations")
            row = {"problem": name, "solver": solver} | {key: report[key] for key in kept}
            row |= {key: report[key] for key in ("residual", "status", "theorem", "sigma")}
            results.append(row)
            print(
                f"{name:<28} {solver:<17} {row['psnr_observation']:.2f} -> "
                f"{row['psnr_restoration']:.2f} dB, {row['iterations']} iterations, {row['status']}",
                flush=True,
            )
    print("wrote", record("restoration", {"rows": results}, noise=NOISE))


if __name__ == "__main__":
    main()
