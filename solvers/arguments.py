"""What a caller hands to a solver, checked and brought into one form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.solvers.data_term import DataTerm, ObservationError
from pnp_lip.solvers.images import to_real
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, operator_norm
from pnp_lip.solvers.solution import Solution

__all__ = ["first_variable", "usable_norm"]


def usable_norm(data: DataTerm, x: Tensor, given: float | None) -> OperatorNorm:
    """Bounds of ``|A|``; the upper one is the caller's if there is one.

    Parameters
    ----------
    data
        holds the physics.
    x
        a real variable of the shape to be used.
    given
        the bound that the caller vouches for.

    Raises
    ------
    InputError
        a bound that is not a positive number.
    ObservationError
        the physics sees nothing.
    """
    if given is not None and not (math.isfinite(given) and given > 0):
        raise InputError(f"norm must be a positive bound of |A|, got {given}")
    found = operator_norm(data.physics, data.native(x))
    if found.value == 0:
        raise ObservationError(
            "the physics maps seeded images to zero, so y says nothing about the image: check the mask"
        )
    if given is None:
        return found
    return OperatorNorm(float(given), NormSource.GIVEN, found.lower, found.value)


def first_variable(data: DataTerm, norm: OperatorNorm, init: Any) -> Tensor:
    r"""The first image as a real variable.

    Parameters
    ----------
    data
        the data term.
    norm
        bounds of ``|A|``.
    init
        the image; ``None`` for :math:`A^*y/\|A\|^2`, ``"dagger"`` for :math:`A^\dagger y`; a solution
        stands for the first image that it began with.

    Raises
    ------
    ObservationError
        an image that is not finite, or of another shape than the physics takes.
    """
    if init is None:
        return data.adjoint_of_y / norm.value**2
    if isinstance(init, Solution):
        init = data.native(init.start)
    elif isinstance(init, str):
        init = _pseudo_inverse(data, init)
    if not bool(torch.isfinite(init).all()):
        raise ObservationError("the first image contains NaN or infinity")
    start = to_real(init)
    if start.shape != data.adjoint_of_y.shape:
        raise ObservationError(
            f"expected a first image of shape {tuple(data.native(data.adjoint_of_y).shape)}, got "
            f"{tuple(init.shape)}"
        )
    return start.to(data.adjoint_of_y)


def _pseudo_inverse(data: DataTerm, name: str) -> Tensor:
    """deepinv's ``A_dagger`` of the observation; the solver that the caller chose stays chosen."""
    if name != "dagger":
        raise ObservationError(f"expected a first image, 'dagger' or a solution, got {name!r}")
    physics: Any = data.physics
    chosen = vars(physics).get("solver")
    try:
        found: Tensor = physics.A_dagger(data.y)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as fault:
        raise ObservationError(
            f"the pseudo-inverse of this physics fails ({fault}): leave init out, or pass an image"
        ) from fault
    finally:
        if chosen is not None:
            physics.solver = chosen
    return found
