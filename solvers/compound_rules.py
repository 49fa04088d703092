"""Norms of physics that are made of others: products, stacks, and what stands before or around one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from deepinv.physics import (
    ComposedLinearPhysics,
    LinearPhysicsMultiScaler,
    Pansharpen,
    PhysicsCropper,
    StackedLinearPhysics,
    VirtualLinearPhysics,
)
from deepinv.transform import Reflect, Rotate, Shift
from torch import Tensor

from pnp_lip.rounding import multiply_up, sqrt_up
from pnp_lip.solvers.convolution_rules import norm_by_absolute_values
from pnp_lip.solvers.operator_norm import (
    NormSource,
    OperatorNorm,
    norm_rule,
    operator_norm,
    power_method,
)


@norm_rule(PhysicsCropper)
def _cropped(physics: Any, x: Tensor) -> OperatorNorm | None:
    inner = operator_norm(physics.base, physics.remove_pad(x))
    if not inner.source.proved:
        return None
    return OperatorNorm(inner.upper, NormSource.PARTS, value=inner.value)


@norm_rule(VirtualLinearPhysics)
def _moved(physics: Any, x: Tensor) -> OperatorNorm | None:
    """After a transformation that only changes the places of pixels: the same singular values."""
    if not _permutes(physics, x):
        return None
    inner = operator_norm(physics.physics, physics.T(x))
    if not inner.source.proved:
        return None
    return OperatorNorm(inner.upper, NormSource.PARTS, inner.lower, inner.value)


def _permutes(physics: Any, x: Tensor) -> bool:
    """Whether ``T`` is of a class that moves pixels, and gives every one of seeded pixels once."""
    cells = getattr(physics.T, "__closure__", None) or ()
    transforms = [
        cell.cell_contents for cell in cells if isinstance(cell.cell_contents, torch.nn.Module)
    ]
    if not transforms or any(type(one) not in (Rotate, Reflect, Shift) for one in transforms):
        return False
    drawn = torch.rand(x[:1].shape, generator=torch.Generator().manual_seed(0)).to(x.device)
    moved = physics.T(drawn)
    return moved.numel() == drawn.numel() and torch.equal(
        moved.flatten().sort().values, drawn.flatten().sort().values
    )


@norm_rule(LinearPhysicsMultiScaler)
def _scaled(physics: Any, x: Tensor) -> OperatorNorm | None:
    """The physics of a finer image, after upsampling."""
    best = norm_by_absolute_values(physics, x)
    steps = [physics.upsamplings[physics.scale - 1]] if physics.scale else []
    return _at_best(physics, x, [*steps, physics.base], best)


@norm_rule(ComposedLinearPhysics)
def _composed(physics: Any, x: Tensor) -> OperatorNorm | None:
    """Entry by entry, or by the norms of the factors."""
    return _at_best(physics, x, physics.physics_list, norm_by_absolute_values(physics, x))


def _at_best(
    physics: Any, x: Tensor, factors: list[Any], best: OperatorNorm | None
) -> OperatorNorm | None:
    r"""``best``, or :math:`\|A_k \cdots A_1\| \le \prod\|A_i\|` where that is less."""
    upper, image = 1.0, x
    for part in factors:
        bound = operator_norm(part, image)
        if not bound.source.proved:
            return best
        upper, image = multiply_up(upper, bound.upper), part.A(image)
    if best is not None and best.upper <= upper:
        return best
    return OperatorNorm(upper, NormSource.PARTS, value=min(power_method(physics, x), upper))


@norm_rule(StackedLinearPhysics, Pansharpen)
def _stacked(physics: Any, x: Tensor) -> OperatorNorm | None:
    r"""Entry by entry, or :math:`\|A\|^2 \le \sum\|A_i\|^2`."""
    best = norm_by_absolute_values(physics, x)
    square = Fraction(0)
    for part in physics.physics_list:
        bound = operator_norm(part, x)
        if not bound.source.proved:
            return best
        square += Fraction(bound.upper) ** 2
    upper = sqrt_up(square)
    if best is not None and best.upper <= upper:
        return best
    return OperatorNorm(upper, NormSource.PARTS, value=min(power_method(physics, x), upper))
