"""The problems of :mod:`benchmarks.problems`: images to report, images to choose on, methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import protocols
from benchmarks.problem_methods import (
    GUIDED,
    PLAIN,
    RIDGE,
    TIKHONOV,
    TOLERANCE,
    TV,
    Method,
    Ours,
)
from benchmarks.problem_peers import (
    PEERS,
    richardson,
    ridge,
    start,
    tikhonov,
    variation,
    variation_by_gradients,
    variation_of_counts,
)
from pnp_lip.data.patches import read_folder
from pnp_lip.data.phantoms import phantom
from pnp_lip.recipes import ct, deblur, mri, photons
from pnp_lip.recipes.problem import Problem

__all__ = ["CT_VARIATION", "PARTS", "SCANNED", "SIDE", "VALIDATION", "Task"]

#: Sides of the middle parts of photographs that are reported (grey) and of those to choose on.
SIDE, VALIDATION = 128, 192
#: Strengths to begin with, in units of the noise or of a number that stands for it.
_FACTORS = (0.6, 0.72, 0.86, 1.04)
#: The same for total variation, whose weight is not a standard deviation.
_WEIGHTS = (0.35, 0.5, 0.7, 1.0)
#: Residual of scans, whose solves approach their end slowly: at 1e-4 eight coils are 1.7 dB from it.
SCANNED = 1e-5
#: Of total variation in CT, whose steps are short ones of a gradient.
CT_VARIATION = TOLERANCE
_TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


@dataclass(frozen=True)
class Task:
    """Problems of one kind.

    Attributes:
        key: of its rows, part first.
        images: to report, by their numbers.
        pose: a problem of an image.
        chosen: images to choose on, of no set that is reported.
        methods: to compare.
        validation: a problem of a chosen image, shared by tasks of one level of noise.
    """

    key: tuple[str, ...]
    images: Mapping[int, Tensor]
    pose: Callable[[Tensor], Problem]
    chosen: Sequence[Tensor]
    methods: Sequence[Method]
    validation: Callable[[Tensor], Problem]


def part_of(image: Tensor, side: int = SIDE) -> Tensor:
    """The middle of a uint8 image, as ``[1, C, side, side]`` in [0, 1]."""
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[None, :, top : top + side, left : left + side].float() / 255


def validation_parts(channels: int, count: int = 4, side: int = VALIDATION) -> list[Tensor]:
    """Parts of images that are only for choices."""
    images = read_folder("bsds500/val32", channels)
    return [part_of(image, side) for image in images[:: len(images) // count][:count]]


def set12() -> dict[int, Tensor]:
    """Parts of every second image."""
    return {n: part_of(x) for n, x in enumerate(read_folder("set12", 1)) if n % 2 == 0}


@cache
def brain() -> dict[int, Tensor]:
    """Two slices of the template at half its resolution, in the middle of 128 x 128 pixels."""
    package = find_spec("nilearn")
    if package is None or package.origin is None or find_spec("nibabel") is None:
        return {}
    import nibabel

    file = Path(package.origin).parent / "datasets" / "data" / _TEMPLATE
    volume = np.asarray(nibabel.Nifti1Image.from_filename(str(file)).dataobj, dtype=np.float32)[
        ::2, ::2, ::2
    ]
    slices = {}
    for height in (32, 44):
        image = torch.from_numpy(np.rot90(volume[:, :, height]).copy()).float()
        frame = torch.zeros(SIDE, SIDE)
        top, left = ((SIDE - side) // 2 for side in image.shape)
        frame[top : top + image.shape[0], left : left + image.shape[1]] = image
        slices[height] = (frame / frame.max()).clamp(0, 1)[None, None]
    return slices


def methods(
    noise: float,
    solver: str = "forward-backward",
    scale: float = 1.0,
    weight: float = 0.5,
    tolerance: float = TOLERANCE,
) -> list[Method]:
    """Guided and plain with strengths about ``scale`` times the noise, total variation with ``weight``."""
    unit = scale * noise
    tries = [factor * unit for factor in _FACTORS]
    ours = Ours(solver, tolerance)
    smooth = variation_of_counts
    if solver != "primal-dual":
        smooth = partial(variation, tolerance=tolerance)
    return [
        Method(GUIDED, ours.guided, tries),
        Method(PLAIN, ours.plain, tries),
        Method(TV, smooth, [share * weight * noise for share in _WEIGHTS]),
    ]


def deblurring_tasks() -> Iterator[Task]:
    """The published protocol on CBSD68; the strength is chosen with the first kernel."""
    images = _colour("cbsd68")
    for level in protocols.LEVELS:
        blurred = {
            name: partial(protocols.deblurring, kernel=protocols.levin_kernel(name), level=level)
            for name in protocols.KERNELS
        }
        for name, pose in blurred.items():
            key = ("deblurring", f"{level:g}", name)
            compared = [
                *methods(level / 255, scale=0.8),
                Method(TIKHONOV, tikhonov, (4, 8, 16, 32)),
            ]
            yield Task(key, images, pose, validation_parts(3), compared, blurred["k1"])


def super_resolution_tasks() -> Iterator[Task]:
    pose = partial(protocols.super_resolution, level=2.55)
    compared = [*methods(0.01, scale=1.5), *_ridges(0.0004), Method("bicubic", start)]
    key = ("super-resolution", "2.55", "gaussian")
    yield Task(key, _colour("cbsd68"), pose, validation_parts(3), compared, pose)


def set3c_tasks() -> Iterator[Task]:
    images = _colour("set3c")
    for noise in (0.01, 0.03):
        posed = {
            name: partial(
                deblur.simulated, kernel=protocols.levin_kernel(name), noise=noise, seed=0
            )
            for name in protocols.KERNELS
        }
        for name, pose in posed.items():
            key = ("set3c", f"{noise:g}", name)
            compared = [*methods(noise, scale=0.8), *_ridges(0.001 if noise < 0.02 else 0.004)]
            yield Task(key, images, pose, validation_parts(3), compared, posed["k1"])


def scan_tasks() -> Iterator[Task]:
    """MRI and CT, on a brain and on photographs."""
    objects = {"brain": brain(), "Set12": set12()}
    chosen = [phantom("tissue", SIDE), *validation_parts(1, 3, SIDE)]
    for coils in (1, 8):
        scan = partial(mri.simulated, acceleration=4, noise=0.005, seed=0, coils=coils)
        scale = 3.0 if coils == 1 else 0.8
        ours = methods(0.005, scale=scale, weight=0.2, tolerance=SCANNED)
        ridges = _ridges(0.0008 if coils == 1 else 0.0003)
        compared = [*ours, *ridges, Method("zero-filled", start)]
        for name, images in objects.items():
            key = ("mri", f"{coils} coils" if coils > 1 else "1 coil", name)
            yield Task(key, images, scan, chosen, compared, scan)
    project = partial(ct.simulated, angles=ct.evenly(60), noise=0.005, seed=0)
    back_projected = Method("filtered back-projection", start)
    guided, plain, _ = methods(0.005, scale=0.4, tolerance=SCANNED)
    smooth = partial(variation_by_gradients, tolerance=CT_VARIATION)
    total = Method(TV, smooth, [share * 0.0005 for share in _WEIGHTS])
    compared = [guided, plain, total, *_ridges(0.0001), back_projected]
    for name, images in objects.items():
        yield Task(("ct", "60 views", name), images, project, chosen, compared, project)


def _ridges(middle: float) -> list[Method]:
    """CRR-NN, where its weights are, with strengths about one."""
    tries = [share * middle for share in (0.625, 1.0, 1.6)]
    found = (PEERS / "convex_ridge_regularizers").is_dir()
    return [Method(RIDGE, ridge, tries)] if found else []


def poisson_tasks() -> Iterator[Task]:
    kernel = protocols.levin_kernel("k1")
    count = partial(photons.simulated, kernel=kernel, photons=100, seed=0)
    # The noise of half a white pixel.
    noise = (0.5 / 100) ** 0.5
    compared = [
        *methods(noise, solver="primal-dual", scale=0.6),
        Method("Richardson-Lucy", richardson, (2, 4, 8, 16)),
        Method("observation", start),
    ]
    key = ("poisson", "100 photons", "Set12")
    yield Task(key, set12(), count, validation_parts(1, 4, SIDE), compared, count)


#: By the names of the command line.
PARTS: dict[str, Callable[[], Iterator[Task]]] = {
    "deblurring": deblurring_tasks,
    "super-resolution": super_resolution_tasks,
    "set3c": set3c_tasks,
    "scans": scan_tasks,
    "poisson": poisson_tasks,
}


def _colour(folder: str) -> dict[int, Tensor]:
    images = enumerate(read_folder(folder, 3))
    return {number: protocols.cropped(image) for number, image in images}
