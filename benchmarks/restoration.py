"""Deblurring and inpainting of the packaged photograph with both solvers.

    python -m benchmarks.restoration

With ``PNP_LIP_DATA`` set, the first kernel of Levin et al. 2009 is run as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import fixed, table
from benchmarks.record import Rows
from pnp_lip.data.patches import DATA_VARIABLE
from pnp_lip.data.photographs import photograph
from pnp_lip.recipes import deblur, inpaint
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, restore

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


#: Of a report, what is recorded.
KEPT = (
    "psnr_observation", "psnr_restoration", "ssim_restoration", "iterations", "residual", "status",
    "theorem", "sigma",
)  # fmt: skip


def restoration_table(rows: Rows) -> str:
    """A line for each problem and solver."""
    return table(
        ["problem", "solver", "observation", "restoration", "iterations", "theorem"],
        [
            [
                *names,
                fixed(row["psnr_observation"], 2),
                fixed(row["psnr_restoration"], 2),
                str(row["iterations"]),
                row["theorem"],
            ]
            for names, row in rows.items()
        ],
    )


def deblurring_line(rows: Rows) -> str:
    """The example of the first page in a few words."""
    row = rows["deblurring, camera shake", "forward-backward"]
    return (
        f"{row['psnr_observation']:.2f} → {row['psnr_restoration']:.2f} dB "
        f"in {row['iterations']} iterations"
    )


BENCHMARK = Benchmark(
    "restoration",
    __doc__,
    tables={"restoration": restoration_table, "deblurring": deblurring_line},
    selecting=("problems",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--problems", nargs="+", help="only these")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, noise=NOISE)
    for name, problem, strengths in problems(photograph("camera")):
        if options.problems and name not in options.problems:
            continue
        for solver, strength in strengths.items():
            report = restore(problem, Options(strength, solver)).to_dict()
            recording.add(name, solver, row={key: report[key] for key in KEPT})
    recording.close()


if __name__ == "__main__":
    main()
