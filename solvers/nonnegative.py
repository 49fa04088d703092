r"""Norms of operators without negative entries.

If :math:`M = A^\top A` has no negative entry, then for every vector :math:`v > 0`

.. math:: \|A\|^2 = \rho(M) \le \max_i (Mv)_i / v_i

(Collatz 1942, Wielandt 1950; Horn and Johnson 2013, theorem 8.1.26). For signed entries the bound of the
operator of absolute values holds, because :math:`\|A\| \le \||A|\|`. Power steps make ``v`` close to the
vector where the bound is attained.

Sums of nonnegative terms have no cancellation: with at most ``n`` roundings on the path of each term the
computed :math:`(Mv)_i` is at least :math:`(1 - nu)` times the exact one, entry by entry, and dividing by
that, and by one more rounding for the quotient, makes the bound sound. This excludes FFTs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["collatz_wielandt"]

#: Smallest entry of ``v``, relative to its largest; any positive number is allowed.
_SMALLEST = 1e-7


def collatz_wielandt(
    normal: Callable[[Tensor], Tensor],
    v: Tensor,
    *,
    roundings: int,
    gap: float = 1e-3,
    steps: int = 100,
) -> tuple[float, float]:
    r"""``(upper, value)`` with :math:`\|A\| \le` ``upper``.

    Parameters
    ----------
    normal
        :math:`v \mapsto A^\top Av`, with nonnegative entries, computed by sums of products.
    v
        a tensor of the shape, type and device to compute with; its values are not used.
    roundings
        at least the roundings on the path of each term of :math:`A^\top Av`.
    gap
        stop when the bound of the square exceeds the Rayleigh quotient by less than this share.
    steps
        most power steps.

    Raises
    ------
    ValueError
        the operator gives a negative or infinite entry.
    """
    v = torch.ones_like(v)
    lost = (roundings + 2) * torch.finfo(v.dtype).eps
    if not lost < 0.5:
        return math.inf, 0.0
    best, rayleigh = math.inf, 0.0
    for _ in range(steps):
        image = normal(v)
        if not bool(((image >= 0) & image.isfinite()).all()):
            raise ValueError("expected an operator without negative entries")
        largest = float(image.max())
        if largest == 0:
            return 0.0, 0.0
        best = min(best, float((image / v).max()))
        value = float((v.double() * image).sum() / v.double().square().sum())
        rayleigh = max(rayleigh, value)
        if best <= (1 + gap) * rayleigh:
            break
        v = (image / largest).clamp(min=_SMALLEST)
    return math.sqrt(best / (1 - lost)) * (1 + 2.0**-50), math.sqrt(rayleigh)
