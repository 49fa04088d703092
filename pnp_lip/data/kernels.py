r"""Blur kernels: ``[1, 1, h, w]`` with sum 1, convolved with the image about the pixel ``(h//2, w//2)``.

.. math:: (k * x)[i] = \sum_j k[j]\, x[i - j + c], \qquad c = (\lfloor h/2\rfloor, \lfloor w/2\rfloor),

so a kernel is the image of a bright point at its centre pixel, as a microscope or a shaking camera
records it, and not that image turned by half a turn. A kernel whose mass lies beside ``c`` moves the
image: the result of a deblurring then lies on the other side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pnp_lip.errors import InputError
from pnp_lip.formats.raster import ImageFileError
from pnp_lip.formats.reading import read_raster

__all__ = ["centred", "displacement", "kernel_remarks", "normalised", "read_kernel", "read_psf"]

#: Above so many pixels a displacement is worth a word; an even kernel cannot avoid half a pixel.
_VISIBLE = 0.5 + 1e-6
#: From this share of pixels at its smallest value on a kernel has a background.
_BACKGROUND = 0.25


def read_kernel(path: str | Path) -> Tensor:
    """Read a kernel: a grey image, or numbers >= 0 of any unit in NPY, NPZ or MAT.

    Returns
    -------
    Tensor
        ``[1, 1, h, w]`` float32 with sum 1.

    Raises
    ------
    ImageFileError
        unreadable, a stack, negative or not finite numbers, or zero everywhere.
    """
    kernel = read_psf(path)
    if kernel.ndim != 4:
        raise ImageFileError(
            f"{path}: a kernel is one image, this is a stack of {kernel.shape[2]} pages: volumes are "
            "restored by pnp-lip deconvolve"
        )
    return kernel


def read_psf(path: str | Path) -> Tensor:
    """Read a kernel of images or of volumes: a stack has its slices as pages, an array as first axis.

    Returns
    -------
    Tensor
        ``[1, 1, h, w]`` or ``[1, 1, d, h, w]``, float32 with sum 1.

    Raises
    ------
    ImageFileError
        unreadable, a stack with more than one axis, negative or not finite numbers, or zero everywhere.
    """
    raster = read_raster(path, volumes=True)
    if len(raster.storage.axes) > 1:
        raise ImageFileError(
            f"{path}: a kernel has one axis besides rows and columns, this stack has "
            f"{raster.storage.axes}"
        )
    values = raster.pages.astype(np.float64).mean(axis=-1)
    values = values if raster.storage.axes else values[0]
    try:
        return normalised(torch.from_numpy(values)[None, None]).float()
    except InputError as error:
        raise ImageFileError(f"{path}: {error}") from error


def normalised(kernel: Tensor) -> Tensor:
    """A kernel ``[1, 1, h, w]``, or ``[1, 1, d, h, w]`` of volumes, scaled to sum 1.

    Raises
    ------
    InputError
        another shape, negative or not finite entries, or zero everywhere.
    """
    if kernel.ndim not in (4, 5) or kernel.shape[:2] != (1, 1):
        raise InputError(
            f"the kernel must be a grey image or volume, got shape {tuple(kernel.shape)}"
        )
    if not bool(kernel.isfinite().all()):
        raise InputError("the kernel contains NaN or infinity")
    if bool((kernel < 0).any()):
        raise InputError(
            f"the kernel has negative entries (smallest {float(kernel.min()):.3g}): set them to zero"
        )
    total = kernel.double().sum()
    if not float(total) > 0:
        raise InputError("the kernel is zero everywhere")
    return (kernel.double() / total).to(kernel.dtype)


def displacement(kernel: Tensor) -> tuple[float, ...]:
    """From the centre pixel to the centre of mass: (slices,) rows and columns."""
    mass = kernel[0, 0].double()
    mass = mass / mass.sum()
    offsets = []
    for axis, side in enumerate(mass.shape):
        others = [other for other in range(mass.ndim) if other != axis]
        places = torch.arange(side, dtype=mass.dtype, device=mass.device)
        offsets.append(float(mass.sum(others) @ places) - side // 2)
    return tuple(offsets)


def centred(kernel: Tensor) -> Tensor:
    """The same kernel in an odd frame whose centre pixel is the one nearest to its centre of mass."""
    margins: list[int] = []
    for side, offset in zip(kernel.shape[2:], displacement(kernel), strict=True):
        before = side // 2 + round(offset)
        after = side - 1 - before
        reach = max(before, after)
        margins = [reach - before, reach - after, *margins]  # torch pads the last axis first
    return _without_margin(pad(kernel, margins))


def kernel_remarks(kernel: Tensor) -> tuple[str, ...]:
    """What should be said of a kernel before it is used: its background, and where its mass lies."""
    return (*_background(kernel), *_off_centre(kernel))


def _without_margin(kernel: Tensor) -> Tensor:
    """Without slices, rows and columns of zeros that lie on both sides of the centre."""
    used = (kernel[0, 0] > 0).nonzero()
    centre = torch.tensor([side // 2 for side in kernel.shape[2:]], device=kernel.device)
    reach = (used - centre).abs().amax(dim=0)
    for axis, (middle, far) in enumerate(zip(centre.tolist(), reach.tolist(), strict=True), 2):
        kernel = kernel.narrow(axis, middle - far, 2 * far + 1)
    return kernel


def _background(kernel: Tensor) -> tuple[str, ...]:
    low = float(kernel.min())
    share = float((kernel == low).double().mean())
    if low <= 0 or share < _BACKGROUND or share == 1:
        return ()
    mass = low * kernel.numel() / float(kernel.sum())
    return (
        f"the kernel stands on a constant background that holds {100 * mass:.3g} % of its sum: if that "
        "is the camera's offset, subtract it first",
    )


#: What each axis is called, and its two directions.
_WORDS = {
    "slices": ("behind", "before"),
    "rows": ("below", "above"),
    "columns": ("right", "left"),
}


def _off_centre(kernel: Tensor) -> tuple[str, ...]:
    offsets = displacement(kernel)
    if max(abs(offset) for offset in offsets) <= _VISIBLE:
        return ()
    named = list(_WORDS.items())[-len(offsets) :]
    parts = [
        f"{abs(offset):.1f} {axis} {words[offset <= 0]}"
        for offset, (axis, words) in zip(offsets, named, strict=True)
    ]
    centre = ", ".join(str(side // 2) for side in kernel.shape[2:])
    return (
        f"the mass of the kernel lies {', '.join(parts[:-1])} and {parts[-1]} of its centre pixel "
        f"({centre}): the result moves by as much; --centre-kernel moves the kernel instead",
    )
