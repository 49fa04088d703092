"""Inverse problems solved plainly, guided, and by classical methods, from the same observations.

    PNP_LIP_DATA=... python -m benchmarks.problems [--parts scans ...] [--every 4 | --turn] [--hours 2]

Every method has one strength, the best on validation images (BSDS500 val32, the phantom "tissue"), which
the rows "validation" record; where the best was the first or the last that was tried, more were tried.
Reporting images are used for nothing else. "plain" is the shipped denoiser in the solver that the plan
names, to a residual of 1e-4 (scans 1e-5); "guided" is the same with a guide from the plain result. Their
rows say whether the theorem applied and the tolerance was met in every solve. "total variation" is the
minimiser that deepinv's primal-dual iteration finds, to the same residual, in CT a primal-dual iteration
with gradient steps, to 1e-4, and for photons deepinv's TVDenoiser in our iteration. CRR-NN is its
authors' convex regulariser, minimised until the gradient is 1e-4 of the image, where PNP_LIP_PEERS is a
folder with the clone that benchmarks.peer_models names. deepinv's learned denoisers load public weights
at run time and are left out.

Rows hold the PSNR of every image by its number in the folder, so a row grows: a later call measures only
images that are missing. Tables compare means over the images that all methods of a problem have.

deblurring, super-resolution: the protocol of benchmarks.protocols on CBSD68. With --turn every image is
blurred with one of the eight kernels in turn, 68 pairs of 544; Tikhonov regularisation is quick enough for
all pairs (--methods Tikhonov), and says how near the mean of those is to the mean of all.
set3c: the eight kernels of Levin et al. 2009 on Set3C at noise 0.01 and 0.03.
scans: MRI of one of four lines, noise 0.005, one coil and eight of known maps, beside the zero-filled
image; CT of 60 views, noise 0.005 of the largest projection, beside filtered back-projection. Set12 is the
middle of every second image, 128 x 128 pixels; "brain" are slices of the ICBM 152 template that comes with
nilearn (pip install nilearn nibabel), left out without it.
poisson: Levin's first kernel, 100 photons at white, Kullback-Leibler, beside Richardson-Lucy
(scikit-image), whose number of steps is chosen on validation images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from benchmarks.choice import best_inside
from benchmarks.harness import Benchmark, Recording
from benchmarks.problem_methods import MOST, TOLERANCE, Method
from benchmarks.problem_ridge import RIDGE_TOLERANCE
from benchmarks.problem_tables import TABLES
from benchmarks.problem_tasks import CT_VARIATION, PARTS, SCANNED, SIDE, VALIDATION, Task
from benchmarks.protocols import eight_bit_psnr, in_turn
from benchmarks.record import Row
from pnp_lip.recipes.problem import Problem

BENCHMARK = Benchmark(
    name="problems",
    about=__doc__ or "",
    tables=TABLES,
    selecting=("parts", "every", "turn", "only", "methods", "hours"),
    packages=("deepinv", "scikit-image"),
)


def strengths_of(recording: Recording, task: Task, methods: Sequence[Method]) -> dict[str, float]:
    """The numbers that are best on validation images, from the record or measured now."""
    found = {}
    problems = [task.validation(image) for image in task.chosen]
    for method in methods:
        # Kernels and objects of one part share a strength.
        key = ("validation", *task.key[:2], method.name)
        row = recording.record.rows.get(key)
        if row is None and method.tries:
            row = chosen(method, problems)
            recording.add(*key, row=row)
        found[method.name] = float(row["best"]) if row is not None else 0.0
    return found


def chosen(method: Method, problems: Sequence[Problem]) -> Row:
    """The number that is best on some problems, and what was tried."""

    def score(value: float) -> float:
        return float(np.mean([_quality(p, method.solve(p, value)[0]) for p in problems]))

    scores = best_inside(score, method.tries)
    tried = {f"{value:.6g}": psnr for value, psnr in scores.items()}
    best = max(scores, key=lambda value: scores[value])
    return {"images": len(problems), "psnr": tried, "best": best}


def _quality(problem: Problem, image: Tensor) -> float:
    if problem.truth is None:
        raise ValueError("expected a problem whose truth is known")
    return eight_bit_psnr(image, problem.truth)


def grown(row: Row | None, number: int, psnr: float, measured: Row) -> Row:
    """A row with one image more: its PSNR by number, means of numbers, and whether all is true."""
    if row is None:
        return {"psnr": {str(number): psnr}, **measured}
    before = len(row["psnr"])
    joined: Row = {"psnr": row["psnr"] | {str(number): psnr}}
    for name, value in measured.items():
        old = row[name]
        if isinstance(value, bool):
            joined[name] = old and value
        else:
            joined[name] = (before * old + value) / (before + 1)
    return joined


def steps(recording: Recording, options: argparse.Namespace) -> Iterator[None]:
    """Measure what was asked for and is not recorded, one image in each step, by all methods."""
    for part in options.parts:
        for task in PARTS[part]():
            if options.only and not set(options.only) <= set(task.key):
                continue
            methods = [m for m in task.methods if not options.methods or m.name in options.methods]
            numbers = [n for n in task.images if _selected(task, n, options)]
            if any(_missing(recording, task, m, n) for m in methods for n in numbers):
                strengths = strengths_of(recording, task, methods)
                for number in numbers:
                    measure(recording, task, methods, number, strengths)
                    yield


def measure(
    recording: Recording,
    task: Task,
    methods: Sequence[Method],
    number: int,
    strengths: dict[str, float],
) -> None:
    """Solve the problem of one image by the methods whose rows do not have it."""
    problem = task.pose(task.images[number])
    for method in methods:
        if _missing(recording, task, method, number):
            strength = strengths[method.name]
            restored, row = method.solve(problem, strength)
            key = (*task.key, method.name)
            before = recording.record.rows.get(key)
            row = grown(before, number, _quality(problem, restored), {"strength": strength, **row})
            recording.add(*key, row=row)


def _missing(recording: Recording, task: Task, method: Method, number: int) -> bool:
    row = recording.record.rows.get((*task.key, method.name))
    return row is None or str(number) not in row["psnr"]


def _selected(task: Task, number: int, options: argparse.Namespace) -> bool:
    """Whether an image is measured: only CBSD68 has many."""
    part, _, name = task.key
    if part == "deblurring" and options.turn:
        return in_turn(number) == name
    return part not in ("deblurring", "super-resolution") or number % options.every == 0


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of CBSD68 only")
    parser.add_argument(
        "--turn", action="store_true", help="blur every image of CBSD68 with one kernel, in turn"
    )
    parser.add_argument("--only", nargs="+", help="tasks of whose names all of these are a part")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--hours", type=float, help="begin nothing after this time")
    options: argparse.Namespace = parser.parse_args()
    recording = BENCHMARK.start(
        options,
        tolerance=TOLERANCE,
        tolerance_scans=SCANNED,
        tolerance_ct_variation=CT_VARIATION,
        tolerance_ridge=RIDGE_TOLERANCE,
        most=MOST,
        side=SIDE,
        validation=VALIDATION,
    )
    began = time.monotonic()
    for _ in steps(recording, options):
        if options.hours is not None and time.monotonic() - began > 3600 * options.hours:
            break
    recording.close()


if __name__ == "__main__":
    main()
