"""What a caller hands to a solver, checked and brought into one form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier import Statement, admits
from pnp_lip.solvers.data_term import DataTerm, ObservationError
from pnp_lip.solvers.images import to_real
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, operator_norm

__all__ = ["condition_violations", "first_variable", "noise_level", "usable_norm"]


def noise_level(sigma: Any) -> float | Tensor:
    """A number, or a tensor with one level per image.

    Raises
    ------
    ValueError
        a schedule, another shape, or a level that is negative or not finite.
    """
    if isinstance(sigma, (list, tuple)):
        raise ValueError(
            "sigma must be a noise level, got a list: a schedule changes the map in every step, so "
            "that no fixed-point theorem applies; run deepinv's iterations for that"
        )
    level = torch.as_tensor(sigma)
    if not bool((level.isfinite() & (level >= 0)).all()) or level.ndim > 1:
        raise ValueError(f"sigma must be a finite noise level >= 0, or one per image, got {sigma}")
    return float(level) if level.numel() == 1 else level


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
    ValueError
        a bound that is not a positive number.
    ObservationError
        the physics sees nothing.
    """
    if given is not None and not (math.isfinite(given) and given > 0):
        raise ValueError(f"norm must be a positive bound of |A|, got {given}")
    found = operator_norm(data.physics, data.native(x))
    if found.value == 0:
        raise ObservationError(
            "the physics maps seeded images to zero, so y says nothing about the image: check the mask"
        )
    if given is None:
        return found
    return OperatorNorm(float(given), NormSource.GIVEN, found.lower, found.value)


def first_variable(data: DataTerm, norm: OperatorNorm, init: Tensor | None) -> Tensor:
    r"""The first image as a real variable; :math:`A^*y/\|A\|^2` without one.

    Raises
    ------
    ObservationError
        an image that is not finite, or of another shape than the physics takes.
    """
    if init is None:
        return data.adjoint_of_y / norm.value**2
    if not bool(torch.isfinite(init).all()):
        raise ObservationError("the first image contains NaN or infinity")
    start = to_real(init)
    if start.shape != data.adjoint_of_y.shape:
        raise ObservationError(
            f"expected a first image of shape {tuple(data.native(data.adjoint_of_y).shape)}, got "
            f"{tuple(init.shape)}"
        )
    return start.to(data.adjoint_of_y)


def condition_violations(statement: Statement | None, shape: tuple[int, ...]) -> list[str]:
    """Conditions of a statement that images ``[B, C, H, W]`` of this shape do not meet."""
    return [
        f"the statement about the denoiser holds for images with {condition}, got {shape}: crop or pad "
        f"the image"
        for condition in (() if statement is None else statement.conditions)
        if not admits((condition,), shape)
    ]
