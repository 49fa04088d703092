"""A volume as one picture: a slice, and the two planes across it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["crossing", "sections"]

#: Pixels between the three planes, white.
_GAP = 2


def crossing(volume: Tensor) -> tuple[int, int, int]:
    """The slice, the row and the column with most light in them (of ``[1, C, D, H, W]``)."""
    light = volume[0].clamp(0, 1).square().sum(0)
    places = [light.sum([a for a in range(3) if a != axis]).argmax() for axis in range(3)]
    return int(places[0]), int(places[1]), int(places[2])


def sections(volume: Tensor, at: tuple[int, int, int]) -> Tensor:
    """Rows and columns, below them slices and columns, and on the right rows and slices.

    Parameters
    ----------
    volume
        ``[1, C, D, H, W]``.
    at
        the slice, row and column that are shown.

    Returns
    -------
    Tensor
        ``[1, C, H + D + 2, W + D + 2]``.
    """
    _, channels, depth, height, width = volume.shape
    slice_, row, column = at
    picture = torch.ones(1, channels, height + _GAP + depth, width + _GAP + depth)
    picture[..., :height, :width] = volume[:, :, slice_].cpu()
    picture[..., height + _GAP :, :width] = volume[:, :, :, row].cpu()
    picture[..., :height, width + _GAP :] = volume[..., column].transpose(2, 3).cpu()
    return picture
