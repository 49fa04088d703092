"""Inverse problems with the plain, proved denoiser beside classical methods, on the same observations.

    PNP_LIP_DATA=... python -m benchmarks.problems [--parts scans poisson ...] [--every 4]

Every method has one strength, the best on validation images (BSDS500 val32, the phantom "tissue"), which
the rows "validation" record; reporting images are used for nothing else. The rows of a part are computed
on the same observations. "ours" is the shipped denoiser in the solver that the plan names, to a residual of
1e-4; its row says whether the theorem applied and the tolerance was met in every solve. "total variation"
is deepinv's TVDenoiser in the same solver. Set12 is the middle of every second image, 128 x 128 pixels;
"brain" are slices of the ICBM 152 template that comes with nilearn (pip install nilearn nibabel), left out
without it. deepinv's learned denoisers load public weights at run time and are left out.

deblurring, super-resolution: the protocol of benchmarks.protocols on CBSD68.
set3c: the eight kernels of Levin et al. 2009 on Set3C at noise 0.01 and 0.03, beside total variation.
mri: one of four lines, noise 0.005, one coil and eight of known maps, beside the zero-filled image.
ct: 60 views, noise 0.005 of the largest projection, beside filtered back-projection.
poisson: Levin's first kernel, 100 photons at white, Kullback-Leibler, beside 5 to 100 steps of
Richardson-Lucy (scikit-image), the number chosen on validation images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepinv.models import TVDenoiser
from skimage.restoration import richardson_lucy
from torch import Tensor, nn

from benchmarks import protocols
from benchmarks.harness import Benchmark, Recording, timed
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip import LipschitzDenoiser
from pnp_lip.data.patches import read_folder
from pnp_lip.data.phantoms import phantom
from pnp_lip.recipes import ct, deblur, mri, photons
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options

TOLERANCE, MOST, SIDE = 1e-4, 400, 128
TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
OURS, TV = "ours, proved", "total variation"
#: What is tried on validation images, in units of the noise or absolute where there is none.
FACTORS = (0.7, 1.0, 1.4)
#: Weight of total variation over the squared strength of the denoiser.
WEIGHTS = (0.35, 0.7, 1.4)

#: Pixels by which a periodic image is continued for a method that knows no periodic images.
_MARGIN = 32

Restored = tuple[Tensor, Row]
Measure = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Method:
    """A way to solve a problem, with one number to choose.

    Attributes:
        name: of its rows.
        solve: from a problem and that number to an image and what else is recorded.
        tries: the numbers to choose from; none for a method without.
    """

    name: str
    solve: Callable[[Problem, float], Restored]
    tries: Sequence[float] = ()


@dataclass(frozen=True)
class Task:
    """Problems of one kind.

    Attributes:
        key: of its rows, part first.
        validation, reporting: make the problems.
        methods: to compare.
        measure: PSNR as the field has it for these.
    """

    key: tuple[str, ...]
    validation: Callable[[], Iterator[Problem]]
    reporting: Callable[[], Iterator[Problem]]
    methods: Sequence[Method]
    measure: Measure = protocols.eight_bit_psnr


@cache
def shipped(channels: int) -> LipschitzDenoiser:
    """The denoiser, read and proved once."""
    return LipschitzDenoiser(channels, pretrained="default").requires_grad_(False)


def ours(problem: Problem, sigma: float, solver: str = "forward-backward") -> Restored:
    """The plain denoiser in a solver that refuses without a theorem."""
    options = Options(sigma, solver, max_iter=MOST, tol=TOLERANCE)
    found = options.build(problem, shipped(problem.channels))
    seconds, solution = timed(lambda: found.solve(problem.y, problem.physics, init=problem.start))
    row = {
        "iterations": solution.iterations,
        "seconds": seconds,
        "proved": solution.guaranteed,
        "converged": solution.status.name == "CONVERGED",
    }
    return problem.in_frame(solution.x).clamp(0, 1), row


class _Variation(nn.Module):
    """deepinv's proximity operator of total variation, every call from the same start."""

    def __init__(self, steps: int = 25) -> None:
        super().__init__()
        self.steps = steps
        self.in_channels = 1

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        found: Tensor = TVDenoiser(n_it_max=self.steps)(x, sigma)
        return found


def variation(problem: Problem, weight: float, solver: str = "forward-backward") -> Restored:
    """Total variation in the same iteration, which is not checked for it."""
    options = Options(weight, solver, max_iter=40, tol=3e-4, unproved=True)
    denoiser = _Variation()
    denoiser.in_channels = problem.channels
    found = options.build(problem, denoiser)
    seconds, solution = timed(lambda: found.solve(problem.y, problem.physics, init=problem.start))
    row = {"iterations": solution.iterations, "seconds": seconds}
    return problem.in_frame(solution.x).clamp(0, 1), row


def start(problem: Problem, _: float) -> Restored:
    """The image that the iteration starts from."""
    return problem.observation.clamp(0, 1), {"iterations": 0, "seconds": 0.0}


def richardson(problem: Problem, steps: float) -> Restored:
    """Richardson and Lucy's iteration, stopped after some steps; the periodic image is continued for it."""
    kernel = np.array(problem.settings["kernel"])
    image = np.pad(problem.y[0, 0].double().numpy(), _MARGIN, mode="wrap")
    seconds, found = timed(lambda: richardson_lucy(image, kernel, num_iter=int(steps)))
    inner = found[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    pixels = torch.from_numpy(inner).float().clamp(0, 1)[None, None]
    return pixels, {"iterations": int(steps), "seconds": seconds}


def methods(noise: float, solver: str = "forward-backward", scale: float = 1.0) -> list[Method]:
    """Ours and total variation, with strengths about ``scale`` times the noise."""
    unit = scale * noise
    return [
        Method(OURS, partial(ours, solver=solver), [factor * unit for factor in FACTORS]),
        Method(TV, partial(variation, solver=solver), [weight * unit for weight in WEIGHTS]),
    ]


def part_of(image: Tensor) -> Tensor:
    """The middle of a uint8 image, as ``[1, C, 128, 128]`` in [0, 1]."""
    top, left = ((side - SIDE) // 2 for side in image.shape[-2:])
    return image[None, :, top : top + SIDE, left : left + SIDE].float() / 255


def validation_parts(channels: int, count: int = 2) -> list[Tensor]:
    return [part_of(image) for image in read_folder("bsds500/val32", channels)[::11][:count]]


def set12() -> list[Tensor]:
    return [part_of(image) for image in read_folder("set12", 1)[::2]]


@cache
def brain() -> list[Tensor]:
    """Two slices of the template at half its resolution, in the middle of 128 x 128 pixels."""
    package = find_spec("nilearn")
    if package is None or package.origin is None or find_spec("nibabel") is None:
        return []
    import nibabel

    file = Path(package.origin).parent / "datasets" / "data" / TEMPLATE
    volume = np.asarray(nibabel.Nifti1Image.from_filename(str(file)).dataobj, dtype=np.float32)[
        ::2, ::2, ::2
    ]
    slices = []
    for height in (32, 44):
        image = torch.from_numpy(np.rot90(volume[:, :, height]).copy()).float()
        frame = torch.zeros(SIDE, SIDE)
        top, left = ((SIDE - side) // 2 for side in image.shape)
        frame[top : top + image.shape[0], left : left + image.shape[1]] = image
        slices.append((frame / frame.max()).clamp(0, 1)[None, None])
    return slices


def kernels() -> list[str]:
    return list(protocols.KERNELS)


def colour_tasks(every: int) -> Iterator[Task]:
    """The published protocols on CBSD68."""
    images = [protocols.cropped(image) for image in read_folder("cbsd68", 3)[::every]]
    chosen = validation_parts(3)
    for level in protocols.LEVELS:
        for name in kernels():
            pose = partial(protocols.deblurring, kernel=protocols.levin_kernel(name), level=level)
            validation = partial(
                protocols.deblurring, kernel=protocols.levin_kernel("k1"), level=level
            )
            yield Task(
                ("deblurring", f"{level:g}", name),
                partial(_map, validation, chosen),
                partial(_map, pose, images),
                methods(level / 255, scale=0.6)[:1],
            )
    pose = partial(protocols.super_resolution, level=2.55)
    yield Task(
        ("super-resolution", "2.55", "gaussian"),
        partial(_map, pose, chosen),
        partial(_map, pose, images),
        [*methods(0.01, scale=2.0)[:1], Method("bicubic", start)],
    )


def set3c_tasks() -> Iterator[Task]:
    images = [protocols.cropped(image) for image in read_folder("set3c", 3)]
    for noise in (0.01, 0.03):
        for name in kernels():
            pose = partial(_blurred, kernel=protocols.levin_kernel(name), noise=noise)
            first = partial(_blurred, kernel=protocols.levin_kernel("k1"), noise=noise)
            yield Task(
                ("set3c", f"{noise:g}", name),
                partial(_map, first, validation_parts(3)),
                partial(_map, pose, images),
                methods(noise, scale=0.7),
            )


def scan_tasks() -> Iterator[Task]:
    """MRI and CT, on a brain and on photographs."""
    objects = {"brain": brain(), "Set12": set12()}
    chosen = [phantom("tissue", SIDE), *validation_parts(1, 1)]
    for coils in (1, 8):
        scan = partial(mri.simulated, acceleration=4, noise=0.005, seed=0, coils=coils)
        for name, images in objects.items():
            if images:
                yield Task(
                    ("mri", f"{coils} coils" if coils > 1 else "1 coil", name),
                    partial(_map, scan, chosen),
                    partial(_map, scan, images),
                    [*methods(0.005, scale=4.0), Method("zero-filled", start)],
                )
    project = partial(ct.simulated, angles=ct.evenly(60), noise=0.005, seed=0)
    for name, images in objects.items():
        if images:
            yield Task(
                ("ct", "60 views", name),
                partial(_map, project, chosen),
                partial(_map, project, images),
                [*methods(0.005), Method("filtered back-projection", start)],
            )


def poisson_tasks() -> Iterator[Task]:
    kernel = protocols.levin_kernel("k1")
    count = partial(photons.simulated, kernel=kernel, photons=100, seed=0)
    # The noise of half a white pixel.
    noise = (0.5 / 100) ** 0.5
    yield Task(
        ("poisson", "100 photons", "Set12"),
        partial(_map, count, validation_parts(1)),
        partial(_map, count, set12()),
        [
            *methods(noise, solver="primal-dual", scale=0.5),
            Method("Richardson-Lucy", richardson, (5, 10, 20, 40, 100)),
            Method("observation", start),
        ],
    )


PARTS: dict[str, Callable[[int], Iterator[Task]]] = {
    "colour": colour_tasks,
    "set3c": lambda every: set3c_tasks(),
    "scans": lambda every: scan_tasks(),
    "poisson": lambda every: poisson_tasks(),
}


def _map(pose: Callable[[Tensor], Problem], images: Sequence[Tensor]) -> Iterator[Problem]:
    return (pose(image) for image in images)


def _blurred(x: Tensor, kernel: Tensor, noise: float) -> Problem:
    return deblur.simulated(x, kernel, noise, seed=0)


def chosen_strength(recording: Recording, task: Task, method: Method) -> float:
    """The number that is best on validation images, from the record or measured now."""
    if not method.tries:
        return 0.0
    # Kernels and objects of one part share a strength.
    key = ("validation", *task.key[:2], method.name)
    row = recording.record.rows.get(key)
    if row is None:
        scores = {}
        for value in method.tries:
            found = [(method.solve(one, value)[0], one.truth) for one in task.validation()]
            scores[f"{value:.6g}"] = _mean([task.measure(x, t) for x, t in found if t is not None])
        row = {"psnr": scores, "best": max(scores, key=lambda value: scores[value])}
        recording.add(*key, row=row)
    return float(row["best"])


def measured(task: Task, method: Method, value: float) -> Row:
    """The row of a method on the reporting images."""
    scores, rows = [], []
    for problem in task.reporting():
        image, row = method.solve(problem, value)
        if problem.truth is not None:
            scores.append(task.measure(image, problem.truth))
            rows.append(row)
    means: Row = {"images": len(scores), "psnr": _mean(scores), "strength": value}
    for name in rows[0]:
        values = [row[name] for row in rows]
        means[name] = all(values) if isinstance(values[0], bool) else _mean(values)
    return means


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def problems_table(rows: Rows) -> str:
    """One line for each problem and object, one column for each kind of method."""
    heading = [
        "problem",
        "images",
        OURS,
        TV,
        "classical",
        "iterations",
        "theorem and tolerance met",
    ]
    lines = []
    seen = dict.fromkeys(key[:3] for key in rows if key[0] in TITLES and len(key) == 4)
    for task in seen:
        found = {key[3]: row for key, row in rows.items() if key[:3] == task}
        if OURS not in found:
            continue
        own = found[OURS]
        others = [
            f"{name} {fixed(row['psnr'], 2)}"
            for name, row in found.items()
            if name not in (OURS, TV)
        ]
        lines.append(
            [
                f"{TITLES[task[0]]}, {task[1]}, {task[2]}",
                str(own["images"]),
                fixed(own["psnr"], 2),
                fixed(found[TV]["psnr"], 2) if TV in found else "–",
                ", ".join(others) or "–",
                fixed(own["iterations"], 0),
                "all" if own["proved"] and own["converged"] else "not all",
            ]
        )
    return table(heading, lines)


TITLES = {
    "deblurring": "deblurring CBSD68, noise",
    "set3c": "deblurring Set3C, noise",
    "super-resolution": "super-resolution x2, noise",
    "mri": "MRI, one of four lines",
    "ct": "CT",
    "poisson": "deconvolution",
}

BENCHMARK = Benchmark(
    name="problems",
    about=__doc__ or "",
    tables={"problems": problems_table},
    selecting=("parts", "every", "only", "methods", "skip", "limit"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of CBSD68 only")
    parser.add_argument("--only", nargs="+", help="tasks of whose names all of these are a part")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--skip", action="store_true", help="leave out rows that are recorded")
    parser.add_argument(
        "--limit", type=float, default=np.inf, help="begin no row after so many seconds"
    )
    options: argparse.Namespace = parser.parse_args()
    options.limit = float(options.limit) if np.isfinite(options.limit) else None
    recording = BENCHMARK.start(options, tolerance=TOLERANCE, side=SIDE)
    run(recording, options)
    recording.close()


def run(recording: Recording, options: Any) -> None:
    """All tasks that were asked for."""
    import time

    began = time.monotonic()
    for part in options.parts:
        for task in PARTS[part](options.every):
            if options.only and not set(options.only) <= set(task.key):
                continue
            for method in task.methods:
                key = (*task.key, method.name)
                if options.methods and method.name not in options.methods:
                    continue
                if options.skip and key in recording.record.rows:
                    continue
                if options.limit is not None and time.monotonic() - began > options.limit:
                    return
                value = chosen_strength(recording, task, method)
                recording.add(*key, row=measured(task, method, value))


if __name__ == "__main__":
    main()
