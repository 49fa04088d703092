r"""Maps of factors, whole or stored at half the resolution and interpolated at the rows that are needed.

.. math:: m_{2i} = \tfrac14 a_{i-1} + \tfrac34 a_i, \qquad m_{2i+1} = \tfrac34 a_i + \tfrac14 a_{i+1}

along both axes, the border repeated: bilinear interpolation to twice the size. Rows ``2i`` and ``2i + 1``
rest on three rows of ``a``, so a strip of maps is interpolated by itself, within the cache, to the same
numbers as the whole; the whole maps of all filters take four times the memory of ``a`` and never exist.

The weights are positive and sum to 1, so factors stay between the least and the largest stored number. In
floating point a sum of four such terms is off by a few units in the last place, so they stay positive and
finite where the stored numbers keep a factor of four from the ends of the range of normal numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import channels_last as _channels_last
from torch.nn import functional

from pnp_lip.errors import InputError

__all__ = ["Maps"]

#: Distance, as a factor, that stored numbers keep from underflow and overflow.
_MARGIN = 4


class Maps:
    """Maps ``[B, K, H, W]``, stored as they are or as ``[B, K, ceil(H/2), ceil(W/2)]``.

    Parameters
    ----------
    stored
        the maps, or the numbers to interpolate.
    size
        height and width of the maps; those of ``stored`` if ``None``.

    Raises
    ------
    InputError
        a tensor of neither size.

    Examples
    --------
    >>> import torch
    >>> maps = Maps(torch.rand(1, 8, 5, 6), (9, 12))
    >>> torch.allclose(maps.rows(3, 4), maps.whole()[:, :, 3:7])
    True
    """

    def __init__(self, stored: Tensor, size: tuple[int, int] | None = None) -> None:
        height, width = size or tuple(stored.shape[-2:]) if stored.ndim == 4 else (0, 0)
        half = -(-height // 2), -(-width // 2)
        if stored.ndim != 4 or stored.shape[-2:] not in ((height, width), half):
            wanted = "H, W" if size is None else ", ".join(map(str, size))
            raise InputError(
                f"expected maps [B, K, {wanted}], or half of them, got {list(stored.shape)}"
            )
        self.halved = stored.shape[-2:] != (height, width)
        # Filters lie next to each other in responses, and slices interpolate slowly.
        self.stored = stored.contiguous(memory_format=_channels_last)
        self.height, self.width = height, width

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``[B, K, H, W]``."""
        return self.stored.shape[0], self.stored.shape[1], self.height, self.width

    def are_positive(self) -> bool:
        """Whether all factors are positive and finite, those that are interpolated included."""
        if self.stored.numel() == 0:
            return True
        least, most = self.stored.aminmax()
        if not self.halved:
            return bool((least > 0) & torch.isfinite(most))
        numbers = torch.finfo(self.stored.dtype)
        return bool((least >= _MARGIN * numbers.tiny) & (most <= numbers.max / _MARGIN))

    def minus(self, other: Maps) -> Maps:
        """The differences to other maps of the same size, in float64."""
        pair = [self.stored, other.stored]
        if self.halved != other.halved:
            pair = [self.whole(), other.whole()]
        return Maps(pair[0].double() - pair[1].double(), (self.height, self.width))

    def whole(self) -> Tensor:
        """All rows, differentiable in what is stored."""
        if self.halved and torch.is_grad_enabled():
            doubled = functional.interpolate(self.stored, scale_factor=2.0, mode="bilinear")
            return doubled[:, :, : self.height, : self.width]
        return self.rows(0, self.height)

    @torch.no_grad()
    def rows(self, top: int, count: int) -> Tensor:
        """Rows ``top`` to ``top + count``, or to the last one."""
        bottom = min(top + count, self.height)
        if not self.halved:
            return self.stored[:, :, top:bottom]
        first, last = top // 2, -(-bottom // 2)
        before, after = max(0, first - 1), min(self.stored.shape[2], last + 1)
        part = self.stored[:, :, before:after].permute(0, 2, 3, 1)
        wide = _doubled(part, 2, 0, part.shape[2])
        doubled = _doubled(wide, 1, first - before, last - before)
        rows = doubled[:, top - 2 * first : bottom - 2 * first, : self.width]
        return rows.permute(0, 3, 1, 2)


def _doubled(x: Tensor, axis: int, first: int, last: int) -> Tensor:
    """Entries ``first`` to ``last`` along an axis, interpolated to twice as many."""
    size, border = x.shape[axis], x.shape[axis] - 1
    shape = (*x.shape[:axis], last - first, 2, *x.shape[axis + 1 :])
    out = x.new_empty(shape)
    even, odd = out.unbind(axis + 1)

    def between(start: int, stop: int, shift: int) -> None:
        """A quarter of the neighbour."""
        one, other = (x.narrow(axis, start + s, stop - start) for s in (0, shift))
        target = even if shift < 0 else odd
        torch.lerp(one, other, 0.25, out=target.narrow(axis, start - first, stop - start))

    between(max(first, 1), last, -1)
    between(first, min(last, border), 1)
    if first == 0:
        even.select(axis, 0).copy_(x.select(axis, 0))
    if last == size:
        odd.select(axis, last - first - 1).copy_(x.select(axis, border))
    return out.flatten(axis, axis + 1)
