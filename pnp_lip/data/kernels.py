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

__all__ = ["centred", "displacement", "kernel_remarks", "normalised", "read_kernel"]

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
    raster = read_raster(path)
    if len(raster.pages) != 1:
        raise ImageFileError(
            f"{path}: a kernel is one image, this is a stack of {len(raster.pages)} pages"
        )
    values = raster.pages[0].astype(np.float64).mean(axis=-1)
    try:
        return normalised(torch.from_numpy(values)[None, None]).float()
    except InputError as error:
        raise ImageFileError(f"{path}: {error}") from error


def normalised(kernel: Tensor) -> Tensor:
    """A kernel ``[1, 1, h, w]`` scaled to sum 1.

    Raises
    ------
    InputError
        another shape, negative or not finite entries, or zero everywhere.
    """
    if kernel.ndim != 4 or kernel.shape[:2] != (1, 1):
        raise InputError(f"the kernel must be a grey image, got shape {tuple(kernel.shape)}")
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


def displacement(kernel: Tensor) -> tuple[float, float]:
    """Rows and columns from the centre pixel ``(h//2, w//2)`` to the centre of mass."""
    mass = kernel[0, 0].double()
    mass = mass / mass.sum()
    rows, columns = (
        torch.arange(side, dtype=mass.dtype, device=mass.device) for side in mass.shape
    )
    row, column = float(mass.sum(1) @ rows), float(mass.sum(0) @ columns)
    return row - mass.shape[0] // 2, column - mass.shape[1] // 2


def centred(kernel: Tensor) -> Tensor:
    """The same kernel in an odd frame whose centre pixel is the one nearest to its centre of mass."""
    height, width = kernel.shape[2:]
    offsets = displacement(kernel)
    row, column = (
        side // 2 + round(offset) for side, offset in zip((height, width), offsets, strict=True)
    )
    above, below, left, right = row, height - 1 - row, column, width - 1 - column
    tall, wide = max(above, below), max(left, right)
    framed = pad(kernel, (wide - left, wide - right, tall - above, tall - below))
    return _without_margin(framed)


def kernel_remarks(kernel: Tensor) -> tuple[str, ...]:
    """What should be said of a kernel before it is used: its background, and where its mass lies."""
    return (*_background(kernel), *_off_centre(kernel))


def _without_margin(kernel: Tensor) -> Tensor:
    """Without rows and columns of zeros that lie on both sides of the centre."""
    used = (kernel[0, 0] > 0).nonzero()
    centre = torch.tensor([side // 2 for side in kernel.shape[2:]], device=kernel.device)
    reach = [int(far) for far in (used - centre).abs().amax(dim=0)]
    (row, column), (tall, wide) = (int(c) for c in centre), reach
    return kernel[..., row - tall : row + tall + 1, column - wide : column + wide + 1]


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


def _off_centre(kernel: Tensor) -> tuple[str, ...]:
    down, across = displacement(kernel)
    if max(abs(down), abs(across)) <= _VISIBLE:
        return ()
    row, column = (side // 2 for side in kernel.shape[2:])
    return (
        f"the mass of the kernel lies {abs(down):.1f} rows {'below' if down > 0 else 'above'} and "
        f"{abs(across):.1f} columns {'right' if across > 0 else 'left'} of its centre pixel "
        f"({row}, {column}): the result moves by as much; --centre-kernel moves the kernel instead",
    )
