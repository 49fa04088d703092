"""What a guide gains inside Plug-and-Play: guided and plain solves of the same problems.

    PNP_LIP_DATA=... python -m benchmarks.guided_restoration [--tasks levin set3c mri ct superresolution]

levin: the protocol of :mod:`benchmarks.protocols` on CBSD68, eight kernels, noise 12.75 and 17.85.
set3c: its three images, first Levin kernel, noise 0.01 and 0.03.
mri: one of four lines, one coil, noise 0.005, photographs as magnitudes with a smooth phase.
ct: 60 parallel views, noise 0.005 of the largest projection, photographs inside the circle.
superresolution: half the sides after a Gaussian blur, noise 2.55, the protocol again.

Every solve is forward-backward in a box to a residual of 1e-4. Plain and guided each take the strength, in
units of the noise (of 0.01 for mri and ct), that is best for them on a validation image, with the first
kernel and for each level of noise. How many reporting images there are, and from which every-n-th, stands
in each row. Other methods on the same problems are in :mod:`benchmarks.problems`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import protocols
from benchmarks.harness import Benchmark, timed
from benchmarks.images import validation_images
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip import GuidedDenoiser
from pnp_lip.data.patches import read_folder
from pnp_lip.quality import psnr
from pnp_lip.recipes import ct, deblur, mri
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers import ForwardBackward, Solution

TOLERANCE, MOST, PART = 1e-4, 600, 256
NAMES = ("plain", "guided")
#: Strengths to choose from.
STRENGTHS = (0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Task:
    """Problems of one kind.

    Attributes:
        folder, channels: images to report.
        variants: of each image, by the names of their rows; the last name is the level of noise.
        problem: of an image uint8 ``[C, H, W]`` and a variant.
        unit: of the strength, for a problem.
        measure: PSNR as the field has it for these.
    """

    folder: str
    channels: int
    variants: tuple[tuple[str, ...], ...]
    problem: Callable[[Tensor, tuple[str, ...]], Problem]
    unit: Callable[[Problem], float]
    measure: Callable[[Tensor, Tensor], float] = psnr


def _levin(image: Tensor, variant: tuple[str, ...]) -> Problem:
    kernel, level = variant
    return protocols.deblurring(
        protocols.cropped(image), protocols.levin_kernel(kernel), float(level)
    )


def _set3c(image: Tensor, variant: tuple[str, ...]) -> Problem:
    kernel, noise = variant
    clean = image[None].float() / 255
    return deblur.simulated(clean, protocols.levin_kernel(kernel), float(noise), seed=0)


def _mri(image: Tensor, variant: tuple[str, ...]) -> Problem:
    return mri.simulated(_part(image), 4, float(variant[0]), seed=0)


def _ct(image: Tensor, variant: tuple[str, ...]) -> Problem:
    return ct.simulated(_part(image), ct.evenly(60), float(variant[0]), seed=0)


def _superresolution(image: Tensor, variant: tuple[str, ...]) -> Problem:
    return protocols.super_resolution(protocols.cropped(image), float(variant[0]))


def _part(image: Tensor) -> Tensor:
    return image[None, :, :PART, :PART].float() / 255


def _noise(problem: Problem) -> float:
    return problem.noise


def _missing(problem: Problem) -> float:
    return 0.01


TASKS = {
    "levin": Task(
        "cbsd68",
        3,
        tuple((k, f"{level:g}") for level in protocols.LEVELS for k in protocols.KERNELS),
        _levin,
        _noise,
        protocols.eight_bit_psnr,
    ),
    "set3c": Task("set3c", 3, (("k1", "0.01"), ("k1", "0.03")), _set3c, _noise),
    "mri": Task("bsd68", 1, (("0.005",),), _mri, _missing),
    "ct": Task("bsd68", 1, (("0.005",),), _ct, _missing),
    "superresolution": Task(
        "cbsd68", 3, (("2.55",),), _superresolution, _noise, protocols.eight_bit_psnr
    ),
}
TITLES = {
    "levin": "deblurring, eight Levin kernels",
    "set3c": "deblurring Set3C, first Levin kernel",
    "mri": "MRI, a quarter of the lines",
    "ct": "tomography, 60 views",
    "superresolution": "super-resolution x2",
}


@cache
def denoiser(channels: int) -> GuidedDenoiser:
    """The shipped one."""
    return GuidedDenoiser(channels)


def solve(task: Task, name: str, problem: Problem, strength: float) -> Solution:
    """A plain or a guided solve."""
    guided = denoiser(task.channels)
    inner: nn.Module = guided if name == "guided" else guided.plain
    solver = ForwardBackward(
        inner,
        strength * task.unit(problem),
        box=problem.box,
        data_fidelity=problem.fidelity,
        tol=TOLERANCE,
        max_iter=MOST,
    )
    return solver.solve(problem.y, problem.physics, init=problem.start)


def quality(task: Task, problem: Problem, x: Tensor) -> float:
    """PSNR of a solution; of a complex one, of its magnitude."""
    if problem.truth is None:
        raise ValueError("expected a problem whose truth is known")
    shown = torch.linalg.vector_norm(x, dim=1, keepdim=True) if problem.complex_image else x
    return task.measure(problem.in_frame(shown).clamp(0, 1), problem.truth)


def chosen_strength(task: Task, name: str, variant: tuple[str, ...], images: list[Tensor]) -> Row:
    """The best strength of a few for one level of noise, on validation images, with what was tried."""
    first = next(v for v in task.variants if v[-1] == variant[-1])
    problems = [task.problem(image, first) for image in images]
    tried = {}
    for strength in STRENGTHS:
        solutions = (solve(task, name, problem, strength).x for problem in problems)
        values = [quality(task, p, x) for p, x in zip(problems, solutions, strict=True)]
        tried[f"{strength:g}"] = float(np.mean(values))
    best = max(tried, key=lambda key: tried[key])
    return {"strength": float(best), "tried": tried}


def measured(
    task: Task, name: str, variant: tuple[str, ...], strength: float, images: list[Tensor]
) -> Row:
    """Means over images."""
    rows = []
    for image in images:
        problem = task.problem(image, variant)
        seconds, solution = timed(
            lambda problem=problem: solve(task, name, problem, strength)  # type: ignore[misc]
        )
        met = solution.status.name == "CONVERGED"
        found = quality(task, problem, solution.x)
        rows.append((found, seconds, solution.iterations, met and solution.guaranteed))
    means = np.mean(rows, axis=0)
    return {
        "images": len(rows),
        "strength": strength,
        "psnr": float(means[0]),
        "seconds": float(means[1]),
        "iterations": float(means[2]),
        "theorem_and_tolerance_met": bool(means[3] == 1),
    }


def restoration_table(rows: Rows) -> str:
    """A line for each task and level of noise: means over the kernels that were measured."""
    heading = ["", "noise", "images x kernels", "plain", "guided", "gain"]
    heading += ["applications", "seconds", "theorem and tolerance met"]
    lines = []
    for title, task in TASKS.items():
        for level in dict.fromkeys(variant[-1] for variant in task.variants):
            both = [
                (rows[title, *v, "plain"], rows[title, *v, "guided"])
                for v in task.variants
                if v[-1] == level and all((title, *v, name) in rows for name in NAMES)
            ]
            if both:
                lines.append([TITLES[title], level, *_cells(both)])
    return table(heading, lines)


def _cells(both: list[tuple[Row, Row]]) -> list[str]:
    plain, guided = (
        {key: float(np.mean([pair[i][key] for pair in both])) for key in _MEANS} for i in (0, 1)
    )
    met = all(row["theorem_and_tolerance_met"] for pair in both for row in pair)
    return [
        f"{both[0][0]['images']} x {len(both)}",
        fixed(plain["psnr"], 2),
        fixed(guided["psnr"], 2),
        fixed(guided["psnr"] - plain["psnr"], 2),
        f"{plain['iterations']:.0f} / {guided['iterations']:.0f}",
        f"{plain['seconds']:.1f} / {guided['seconds']:.1f}",
        "all" if met else "not all",
    ]


_MEANS = ("psnr", "iterations", "seconds")

BENCHMARK = Benchmark(
    "guided_restoration",
    __doc__ or "",
    tables={"guided-restoration": restoration_table},
    selecting=("tasks", "variants", "every", "first"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--variants", nargs="*", default=(), help="kernels or levels of noise")
    parser.add_argument("--every", type=int, default=17, help="take every n-th image of 68")
    parser.add_argument("--first", type=int, default=0, help="start with this image")
    options: argparse.Namespace = parser.parse_args()
    recording = BENCHMARK.start(options, tolerance=TOLERANCE, part=PART)
    for title in options.tasks:
        task = TASKS[title]
        images = read_folder(task.folder, task.channels)
        images = images if len(images) < 10 else images[options.first :: options.every]
        validation = validation_images(task.channels, PART, 1)
        for name in NAMES:
            strengths: dict[str, Row] = {}
            for variant in task.variants:
                if options.variants and not set(variant) & set(options.variants):
                    continue
                if variant[-1] not in strengths:
                    found = chosen_strength(task, name, variant, validation)
                    strengths[variant[-1]] = found
                    recording.add(title, "validation", variant[-1], name, row=found)
                strength = strengths[variant[-1]]["strength"]
                row = measured(task, name, variant, strength, images)
                recording.add(title, *variant, name, row=row)
    recording.close()


if __name__ == "__main__":
    main()
