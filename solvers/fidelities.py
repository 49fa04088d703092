r"""Convex data terms ``g(v; y)`` of a measurement ``v = Ax``, with their proximity operators.

deepinv's data fidelities name them; the operators are written here, because those of deepinv 0.5 are not
all what they say (that of the Poisson likelihood is not). For every one

.. math:: p = \mathrm{prox}_{\lambda g}(v) \iff (v - p)/\lambda \in \partial g(p) .

============================  =========================================================================
``L2(sigma)``                 :math:`\frac{1}{2s^2}\|v - y\|^2`
``L1``                        :math:`\|v - y\|_1`
``IndicatorL2(radius)``       0 if :math:`\|v - y\| \le r`, else infinite
``PoissonLikelihood(...)``    :math:`\sum q - \tilde y\log q` with :math:`q = v/g + b \ge 0`
``ZeroFidelity``              0
============================  =========================================================================

In the Poisson likelihood ``g`` is the gain, ``b`` the background, and :math:`\tilde y = y/g` if
``denormalize``, else ``y``; its operator solves a quadratic equation in ``q`` (Combettes and Pesquet 2007).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from deepinv.optim.data_fidelity import (
    L1,
    L2,
    DataFidelity,
    IndicatorL2,
    PoissonLikelihood,
    StackedPhysicsDataFidelity,
    ZeroFidelity,
)
from torch import Tensor

from pnp_lip.solvers.data_term import DataTermError
from pnp_lip.solvers.growth import norms

__all__ = ["Prox", "proximity_operators"]

#: ``(v, lambda) -> prox``.
Prox = Callable[[Tensor, float], Tensor]


def proximity_operators(fidelity: DataFidelity, parts: list[Tensor]) -> list[Prox]:
    """One proximity operator for every part of the observation.

    Raises
    ------
    DataTermError
        a fidelity that is not convex or not known here, or of another number of parts.
    """
    if isinstance(fidelity, StackedPhysicsDataFidelity):
        each = list(fidelity.data_fidelity_list)
    else:
        each = [fidelity] * len(parts)
    if len(each) != len(parts):
        raise DataTermError(
            f"expected one data fidelity for each of {len(parts)} observations, got {len(each)}"
        )
    return [_proximity_operator(one, part) for one, part in zip(each, parts, strict=True)]


def _proximity_operator(fidelity: Any, y: Tensor) -> Prox:
    build = _BUILDERS.get(type(fidelity))
    if build is None:
        known = ", ".join(kind.__name__ for kind in _BUILDERS)
        raise DataTermError(
            f"expected one of deepinv's convex data fidelities {known}, got {type(fidelity).__name__}: "
            f"no proximity operator is known that the theorem could rest on"
        )
    return build(fidelity, y)


def _square(fidelity: Any, y: Tensor) -> Prox:
    weight = torch.as_tensor(fidelity.norm).to(y.device, y.dtype)
    if weight.numel() == len(y) > 1:
        weight = weight.reshape(-1, *[1] * (y.ndim - 1))
    if not bool((weight > 0).all() and weight.isfinite().all()):
        raise DataTermError("expected a finite noise level sigma > 0 in L2")
    return lambda v, size: (v + size * weight * y) / (1 + size * weight)


def _modulus(fidelity: Any, y: Tensor) -> Prox:
    return lambda v, size: y + torch.nn.functional.softshrink(v - y, size)


def _ball(fidelity: Any, y: Tensor) -> Prox:
    radius = fidelity.d.radius
    if radius is None or not radius >= 0:
        raise DataTermError(f"expected IndicatorL2 with a radius >= 0, got {radius}")

    def project(v: Tensor, size: float) -> Tensor:
        length = norms(v - y).view(-1, *[1] * (v.ndim - 1))
        return y + (v - y) * (radius / length.clamp(min=1e-30)).clamp(max=1)

    return project


def _poisson(fidelity: Any, y: Tensor) -> Prox:
    gain, background = float(fidelity.d.gain), float(fidelity.d.bkg)
    counts = y / gain if fidelity.d.denormalize else y
    if not (gain > 0 and background >= 0) or bool((counts < 0).any()):
        raise DataTermError(
            "expected a Poisson likelihood with gain > 0, background >= 0 and no negative observation"
        )

    def prox(v: Tensor, size: float) -> Tensor:
        # gain^2 q^2 - (gain (v + gain bkg) - size) q - size counts = 0, divided by gain^2.
        half = (v / gain + background - size / gain**2) / 2
        root = (half.square() + size * counts / gain**2).sqrt()
        # The larger root without cancellation.
        q = torch.where(
            half > 0, half + root, size * counts / gain**2 / (root - half).clamp(min=1e-30)
        )
        return gain * (q - background)

    return prox


def _nothing(fidelity: Any, y: Tensor) -> Prox:
    return lambda v, size: v


_BUILDERS: dict[type, Callable[[Any, Tensor], Prox]] = {
    L2: _square,
    L1: _modulus,
    IndicatorL2: _ball,
    PoissonLikelihood: _poisson,
    ZeroFidelity: _nothing,
}
