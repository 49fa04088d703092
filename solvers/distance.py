r"""How far the only fixed point is, rounding included.

For a map that contracts with :math:`q`, evaluated with an error of at most ``E``,

.. math:: \|w - w^*\| \le \frac{\|w - \mathrm{fl}\,T(w)\| + E}{1 - q} .

The map is evaluated once more in float64, where the error is taken to be below :math:`2^{-29}` of the size
of what goes in and comes out: the certified execution error of a denoiser is below that there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pnp_lip.solvers.growth import norms
from pnp_lip.solvers.plan import Plan

__all__ = ["certified_distance"]

_DOUBLE = 2.0**-29


def certified_distance(
    w: Tensor, plan: Plan, exact: Callable[[], Callable[[Tensor], Tensor]]
) -> float | None:
    """The largest bound of the batch; ``None`` without a contraction or an evaluation in float64."""
    if not plan.guaranteed or plan.contraction is None:
        return None
    point = w.double()
    try:
        image = exact()(point)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    if image.dtype != torch.float64 or not bool(image.isfinite().all()):
        return None
    error = _DOUBLE * (norms(point) + norms(image))
    return float(((norms(point - image) + error) / (1 - plan.contraction)).max()) * (1 + 1e-9)
