r"""The norm of an operator on small images, as a dense matrix.

The columns of ``A`` are computed in float64. With at most ``n`` roundings on the path of each term the
matrix :math:`\hat A` differs from ``A`` by at most :math:`nu|A|`, entry by entry, so that

.. math:: \|A\| \le \|\hat A\| + nu\,\||A|\| .

This asks for sums of products of stored factors; operators that run through FFTs are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import (
    Blur,
    ComposedLinearPhysics,
    Decolorize,
    Demosaicing,
    Denoising,
    Downsampling,
    Inpainting,
    LinearPhysics,
    LinearPhysicsMultiScaler,
    PhysicsCropper,
    StackedLinearPhysics,
    Upsampling,
)
from torch import Tensor

from pnp_lip.norms import NormBound, matrix_norm
from pnp_lip.rounding import add_up, multiply_up
from pnp_lip.solvers.absolute_values import ROUNDINGS, absolute_norm
from pnp_lip.solvers.execution import in_double
from pnp_lip.solvers.measurements import parts_of
from pnp_lip.solvers.stock import is_stock

__all__ = ["MOST", "columns", "dense_norm"]

#: Most unknowns of a dense matrix.
MOST = 1024

_FACTORS = (Denoising, Inpainting, Demosaicing, Decolorize, Blur, Downsampling, Upsampling)
_COMPOUNDS = (PhysicsCropper, LinearPhysicsMultiScaler, ComposedLinearPhysics, StackedLinearPhysics)


def dense_norm(physics: LinearPhysics, x: Tensor) -> tuple[float, float] | None:
    """``(upper, lower)`` of ``|A|`` on images like ``x``; ``None`` where they are too large.

    ``None`` also for a physics with a part that is no sum of products of stored factors.
    """
    if x[0].numel() > MOST or x.is_complex() or not _is_direct(physics):
        return None
    try:
        largest = absolute_norm(physics, x[:1])
        found = None if largest is None else _stored(in_double(physics), x[:1].double())
    except (ValueError, RuntimeError, TypeError, NotImplementedError):
        return None
    if largest is None or found is None:
        return None
    room = multiply_up(2 * ROUNDINGS * 2.0**-53, largest[0])
    return add_up(found.upper, room), found.lower


def _stored(physics: Any, x: Tensor) -> NormBound:
    return matrix_norm(columns(physics, x))


def columns(physics: Any, x: Tensor) -> Tensor:
    """The matrix of a linear physics with real measurements, ``[m, n]``."""
    basis = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
    images = (physics.A(one.view_as(x)) for one in basis)
    return torch.stack([torch.cat([p.flatten() for p in parts_of(y)]) for y in images], dim=1)


def _is_direct(physics: Any) -> bool:
    """Whether every part computes sums of products of stored factors, as its class defines it."""
    if not is_stock(physics):
        return False
    if type(physics) in _FACTORS:
        return True
    if type(physics) not in _COMPOUNDS:
        return False
    parts = getattr(physics, "physics_list", None) or [physics.base]
    scaled = physics.upsamplings if type(physics) is LinearPhysicsMultiScaler else []
    return all(_is_direct(part) for part in (*parts, *scaled))
