"""A volume that looks like stained cells, made here: nothing is read or downloaded."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from pnp_lip.errors import InputError

__all__ = ["cells"]

#: Brightness of the nuclei, of the membranes, of the filaments and points, and of the medium.
_NUCLEUS, _MEMBRANE, _FILAMENT, _MEDIUM = 0.35, 0.55, 0.9, 0.03
#: Sizes as shares of the smaller side of a slice.
_RADIUS, _SHELL = 0.17, 0.03
_SMALLEST = 8


def cells(shape: tuple[int, int, int] = (24, 96, 96), seed: int = 0) -> Tensor:
    """Nuclei inside membranes, crossed by filaments, with bright points.

    Parameters
    ----------
    shape
        slices, rows and columns, each at least 8.
    seed
        which cells.

    Returns
    -------
    Tensor
        ``[1, 1, D, H, W]`` float32 in [0, 1].

    Raises
    ------
    InputError
        a side below 8.

    Examples
    --------
    >>> from pnp_lip.data.cells import cells
    >>> cells((8, 32, 40)).shape
    torch.Size([1, 1, 8, 32, 40])
    """
    if min(shape) < _SMALLEST:
        raise InputError(f"a volume of cells has at least {_SMALLEST} pixels a side, got {shape}")
    generator = torch.Generator().manual_seed(seed)
    volume = torch.full(shape, _MEDIUM)
    side = min(shape[1:])
    for _ in range(max(3, shape[1] * shape[2] // (3 * int(_RADIUS * side) ** 2 + 1) // 3)):
        distance = _ellipsoid(shape, _RADIUS * side, generator)
        texture = 0.75 + 0.25 * torch.sin(9 * distance + 6 * _draw(generator))
        volume = torch.where(distance < 0.55, _NUCLEUS * texture, volume)
        shell = torch.exp(-(((distance - 1) / (2 * _SHELL / _RADIUS)) ** 2))
        volume = torch.maximum(volume, _MEMBRANE * shell)
    for _ in range(6):
        _draw_filament(volume, generator)
    for _ in range(12):
        place = tuple(int(_draw(generator) * length) for length in shape)
        volume[place] = 1.0
    return volume[None, None]


def _draw(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))


def _ellipsoid(shape: tuple[int, int, int], radius: float, generator: Generator) -> Tensor:
    """Distance from a random centre, 1 at the membrane."""
    total = torch.zeros(shape)
    for axis, length in enumerate(shape):
        reach = min(radius, 0.45 * length) * (0.8 + 0.5 * _draw(generator))
        centre = _draw(generator) * (length - 1)
        line = ((torch.arange(length) - centre) / reach).square()
        total = total + line.reshape([-1 if other == axis else 1 for other in range(3)])
    return total.sqrt()


def _draw_filament(volume: Tensor, generator: Generator) -> None:
    """A smooth curve of one pixel, from a random place in a slowly turning direction."""
    sides = torch.tensor(volume.shape, dtype=torch.float32)
    place = torch.rand(3, generator=generator) * (sides - 1)
    direction = torch.randn(3, generator=generator) * torch.tensor([0.2, 1.0, 1.0])
    for _ in range(2 * int(sides.max())):
        direction = direction + 0.1 * torch.randn(3, generator=generator)
        direction = direction / direction.norm()
        place = place + 0.5 * direction
        index = tuple(int(i) for i in place.round())
        if all(0 <= i < n for i, n in zip(index, volume.shape, strict=True)):
            volume[index] = _FILAMENT
