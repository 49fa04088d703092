r"""Norms of operators from the absolute values of their entries.

:math:`\|A\| \le \||A|\|`, and the second is bounded by Collatz and Wielandt, because :math:`|A|` has no
negative entry; where the stored factors of ``A`` have none, both are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import BlurFFT, LinearPhysics, LinearPhysicsMultiScaler
from torch import Tensor

from pnp_lip.solvers.absolute_operators import Forward, absolute_operator
from pnp_lip.solvers.nonnegative import collatz_wielandt

__all__ = ["ROUNDINGS", "absolute_norm"]

#: More than the roundings on the path of one term in any of these operators.
ROUNDINGS = 10**6


def absolute_norm(physics: LinearPhysics, x: Tensor) -> tuple[float, float, bool] | None:
    """``(upper, value, exact)`` of ``|A|`` on images like ``x``; ``exact`` says that ``|A|`` is ``A``.

    ``None`` where some part of the physics is of a class without an entry here.
    """
    forward = absolute_operator(physics)
    if forward is None:
        return None
    v = torch.ones(x.shape, dtype=torch.float64, device=x.device)
    upper, value = collatz_wielandt(lambda u: _normal(forward, u), v, roundings=ROUNDINGS)
    return upper, value, _is_nonnegative(physics)


def _normal(forward: Forward, v: Tensor) -> Tensor:
    """The transpose of a linear ``forward`` applied to its value, by automatic differentiation."""
    v = v.detach().requires_grad_()
    with torch.enable_grad():
        value = forward(v)
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    (image,) = torch.autograd.grad(parts, v, [part.detach() for part in parts])
    return image


#: Where the signed factors of these classes are stored.
_FACTORS = ("mask", "filter", "filters", "multipliers", "M", "srf")


def _is_nonnegative(physics: Any) -> bool:
    """Whether no stored factor is negative, so that ``|A|`` is ``A``."""
    parts = list(
        getattr(physics, "physics_list", None) or [getattr(physics, "base", None) or physics]
    )
    if type(physics) is LinearPhysicsMultiScaler and physics.scale:
        parts.append(physics.upsamplings[physics.scale - 1])
    if parts != [physics]:
        return all(_is_nonnegative(part) for part in parts)
    stored = [getattr(physics, name, None) for name in _FACTORS]
    if type(physics) is BlurFFT:
        stored = [physics.filter]
    return not any(isinstance(s, Tensor) and bool((s < 0).any()) for s in stored)
