"""A layer of napari as the images or volumes that it consists of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.formats.units import in_unit_range

__all__ = ["Frames"]

Numbers = NDArray[Any]


class Frames:
    """The images ``[1, C, H, W]`` or volumes ``[1, C, D, H, W]`` of a layer, in [0, 1].

    Parameters
    ----------
    data
        ``[..., Y, X]``, for volumes ``[..., Z, Y, X]``, for colours with their axis at the end.
    volume
        whether axis -3 is depth.
    rgb
        whether the last axis holds colours.
    white
        the number that stands for white; the largest of 8- and 16-bit types, 1 for floats.

    Raises
    ------
    InputError
        another shape, or numbers outside [0, white].
    """

    def __init__(self, data: Numbers, volume: bool, rgb: bool, white: float | None) -> None:
        spatial = 3 if volume else 2
        if data.ndim < spatial + rgb or (rgb and data.shape[-1] != 3):
            axes = "[..., " + "Z, " * volume + "Y, X" + ", 3" * rgb + "]"
            raise InputError(f"expected a layer {axes}, got the shape {data.shape}")
        try:
            values = in_unit_range(np.asarray(data), white)
        except ValueError as error:
            raise InputError(str(error)) from error
        self.rgb, self.shape = rgb, data.shape
        self.white = white or (float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else 1.0)
        channelled = np.moveaxis(values, -1, -1 - spatial) if rgb else values[..., None, :, :]
        if volume and not rgb:
            channelled = np.expand_dims(values, -4)
        flat = channelled.reshape(-1, *channelled.shape[-spatial - 1 :]).astype(np.float32)
        self._stacked = channelled.shape
        self.tensors = torch.from_numpy(flat).split(1)

    def joined(self, tensors: list[Tensor]) -> Numbers:
        """The layer of the restored images, in the units of the layer they came from."""
        whole = torch.cat(tensors).cpu().numpy().reshape(self._stacked)
        spatial = self.tensors[0].ndim - 2
        whole = np.moveaxis(whole, -1 - spatial, -1) if self.rgb else whole
        return whole.reshape(self.shape) * np.float32(self.white)
