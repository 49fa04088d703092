"""Test objects of tomography and magnetic resonance, made here: nothing is read or downloaded."""

from __future__ import annotations

import math

import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import downscale_local_mean
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["PHANTOMS", "phantom"]

#: Names that :func:`phantom` knows.
PHANTOMS = ("shepp-logan", "tissue")

_SEED, _ORGANS, _WAVES = 7, 14, 12
#: Grey of the tissue between the organs, and how far texture departs from it.
_GREY, _TEXTURE = 0.35, 0.06


def phantom(name: str = "shepp-logan", size: int = 200) -> Tensor:
    """A phantom on ``size`` x ``size`` pixels, inside the inscribed circle.

    Parameters
    ----------
    name
        ``"shepp-logan"``: constant ellipses, as scikit-image has them. ``"tissue"``: a body of
        overlapping organs with smooth shading and waves of texture, which no total variation favours.
    size
        side in pixels, at least 16.

    Returns
    -------
    Tensor
        ``[1, 1, size, size]`` float32 in [0, 1].

    Raises
    ------
    InputError
        an unknown name, or a size that is too small.
    """
    if name not in PHANTOMS:
        raise InputError(f"unknown phantom '{name}': expected one of {', '.join(PHANTOMS)}")
    if size < 16:
        raise InputError(f"a phantom has at least 16 pixels a side, got {size}")
    return _shepp_logan(size) if name == "shepp-logan" else _tissue(size)


def _shepp_logan(size: int) -> Tensor:
    """The packaged image of 400 pixels, averaged down where that divides, else interpolated."""
    whole = shepp_logan_phantom()
    if len(whole) % size == 0:
        pixels = downscale_local_mean(whole, (len(whole) // size,) * 2)
        return torch.from_numpy(pixels).float()[None, None].clamp(0, 1)
    image = torch.from_numpy(whole).float()[None, None]
    return torch.nn.functional.interpolate(
        image, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    ).clamp(0, 1)


def _tissue(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    line = torch.linspace(-1, 1, size)
    rows, columns = line[:, None], line[None, :]
    body = _ellipse(rows, columns, (0.0, 0.0), (0.9, 0.72), 0.0, size)
    image = _GREY * body
    for number in range(_ORGANS):
        draws = torch.rand(6, generator=generator)
        place = (1.1 * float(draws[0] - 0.5), 0.8 * float(draws[1] - 0.5))
        shrink = 1 / (1 + 0.25 * number)
        axes = (0.08 + 0.3 * shrink * float(draws[2]), 0.06 + 0.24 * shrink * float(draws[3]))
        organ = body * _ellipse(rows, columns, place, axes, math.pi * float(draws[4]), size)
        shading = 1 + 0.3 * (rows * (draws[5] - 0.5) + columns * (draws[0] - 0.5))
        image = torch.lerp(image, (0.15 + 0.75 * draws[5]) * shading, organ)
    for _ in range(_WAVES):
        draws = torch.rand(4, generator=generator)
        angle, speed = 2 * math.pi * float(draws[0]), size * (0.04 + 0.12 * float(draws[1]))
        along = rows * math.cos(angle) + columns * math.sin(angle)
        near = torch.exp(-(((rows - draws[2] + 0.5) ** 2 + (columns - draws[3] + 0.5) ** 2) / 0.06))
        image = image + _TEXTURE * body * near * torch.sin(math.pi * speed * along / 2)
    return image.clamp(0, 1)[None, None]


def _ellipse(
    rows: Tensor,
    columns: Tensor,
    place: tuple[float, float],
    axes: tuple[float, float],
    angle: float,
    size: int,
) -> Tensor:
    """1 inside, 0 outside, and a border of one pixel between."""
    row, column = rows - place[0], columns - place[1]
    first = (row * math.cos(angle) + column * math.sin(angle)) / axes[0]
    second = (column * math.cos(angle) - row * math.sin(angle)) / axes[1]
    distance = (1 - (first**2 + second**2).sqrt()) * min(axes)
    return (distance * size / 2 + 0.5).clamp(0, 1)
