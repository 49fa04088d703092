r"""Maps that are stored at half the resolution, and interpolated at the rows where they are needed.

.. math:: m_{2i} = \tfrac14 a_{i-1} + \tfrac34 a_i, \qquad m_{2i+1} = \tfrac34 a_i + \tfrac14 a_{i+1}

along both axes, the border repeated: bilinear interpolation to twice the size. Rows ``2i`` and ``2i + 1``
rest on three rows of ``a``, so a strip of maps is interpolated by itself, within the cache, to the same
numbers as the whole; the whole maps of all filters take four times the memory of ``a`` and never exist.
"""

from __future__ import annotations

from torch import Tensor
from torch import channels_last as _channels_last
from torch.nn import functional

__all__ = ["HalfMaps"]


class HalfMaps:
    """Maps ``[B, K, H, W]`` of what is stored as ``[B, K, ceil(H/2), ceil(W/2)]``.

    Parameters
    ----------
    stored
        the numbers to interpolate.
    height, width
        of the maps.

    Examples
    --------
    >>> import torch
    >>> maps = HalfMaps(torch.rand(1, 8, 5, 6), 9, 12)
    >>> bool((maps.rows(3, 4) == maps.whole()[:, :, 3:7]).all())
    True
    """

    def __init__(self, stored: Tensor, height: int, width: int) -> None:
        # Slices of a tensor with more channels interpolate three times as slowly.
        self.stored = stored.contiguous(memory_format=_channels_last)
        self.height, self.width = height, width

    def whole(self) -> Tensor:
        """All rows."""
        return self.rows(0, self.height)

    def rows(self, top: int, count: int) -> Tensor:
        """Rows ``top`` to ``top + count``, or to the last one."""
        bottom = min(top + count, self.height)
        first, last = max(0, (top - 1) // 2), bottom // 2 + 1
        part = self.stored[:, :, first:last]
        doubled = functional.interpolate(part, scale_factor=2.0, mode="bilinear")
        return doubled[:, :, top - 2 * first : bottom - 2 * first, : self.width]
