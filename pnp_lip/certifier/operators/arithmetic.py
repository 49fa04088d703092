"""Sums, multiples, products with constants, selections by a mask."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.certifier.aten import named
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []


#: Linear combinations, as pairs of coefficients and tensors; ``alpha`` and ``weight`` are numbers.
_COMBINATIONS: dict[str, Callable[..., Any]] = {
    "add.Tensor add.Scalar": lambda x, other, alpha: ((1, x), (alpha, other)),
    "sub.Tensor sub.Scalar": lambda x, other, alpha: ((1, x), (-alpha, other)),
    "rsub.Tensor rsub.Scalar": lambda x, other, alpha: ((1, other), (-alpha, x)),
    "lerp.Scalar lerp.Tensor": lambda x, end, weight: ((1 - weight, x), (weight, end)),
    "neg": lambda x: ((-1, x),),
}


def _combination(op: Operation, parts: Callable[..., Any], **given: Any) -> Dependent:
    numbers = given.keys() & {"alpha", "weight"}
    return op.combination(*parts(**given | {key: op.number(given[key], key) for key in numbers}))


for _names, _parts in _COMBINATIONS.items():
    register_operator(_names)(partial(_combination, parts=_parts))


@register_operator("mul.Tensor mul.Scalar")
def _multiply(op: Operation, x: Any, other: Any) -> Dependent:
    if isinstance(x, Dependent) and isinstance(other, Dependent):
        op.refuse("multiplies tensors that depend on the input, which has no finite constant")
    image, factor = (x, other) if isinstance(x, Dependent) else (other, x)
    value = torch.as_tensor(op.fixed(factor, "a factor"))
    if value.is_complex():
        return op.bounded(image, _largest_size(op, value), "complex factors")
    if value.numel() > 1:
        return op.entrywise(image, *op.extremes(factor, "a factor"))
    return op.combination((op.number(factor, "a factor"), image))


@register_operator("div.Tensor div.Scalar")
def _divide(op: Operation, x: Any, other: Any) -> Dependent:
    softsign = _softsign(op.node)
    if softsign:
        return op.entrywise(x, 0, 1 / softsign)
    low, high = op.extremes(other, "a divisor")
    if low <= 0 <= high:
        op.refuse("divides by zero, or by a tensor with entries of both signs")
    several = torch.as_tensor(op.fixed(other, "a divisor")).numel() > 1
    return op.entrywise(x, 1 / high, 1 / low) if several else op.combination((1 / low, x))


def _softsign(node: fx.Node) -> Fraction | None:
    """``c`` where the node is ``x / (|x| + c)`` with ``c > 0``, whose slope is ``c / (|x| + c)^2``."""
    x, below = node.args
    if not isinstance(below, fx.Node) or below.target not in named("add.Tensor") or below.kwargs:
        return None
    size, c = below.args[:2]
    same = isinstance(size, fx.Node) and size.target in named("abs") and size.args == (x,)
    return Fraction(c) if same and isinstance(c, (int, float)) and c > 0 else None


@register_operator("maximum minimum max.other min.other")
def _extreme(op: Operation, x: Any, other: Any) -> Dependent:
    r"""``|max(a, b) - max(a', b')|^2 <= |a - a'|^2 + |b - b'|^2``, entry by entry."""
    if isinstance(x, Dependent) and isinstance(other, Dependent):
        return op.beside(op.fitted(x, other), "maximum or minimum of two branches")
    return op.entrywise(x if isinstance(x, Dependent) else other, 0, 1)


@register_operator("where.self where.ScalarOther where.ScalarSelf")
def _where(op: Operation, condition: Any, x: Any, other: Any) -> Dependent:
    """Every entry is one of one of the two."""
    if isinstance(condition, Dependent):
        op.refuse("chooses by a mask that depends on the input, so it may jump")
    parts = op.fitted(x, other)
    if len(parts) == 2 and parts[0].terms == parts[1].terms:
        return parts[0]
    return op.beside(parts, "selection by a mask")


@register_operator("masked_fill.Scalar masked_fill.Tensor")
def _filled(op: Operation, x: Any, mask: Any, value: Any) -> Dependent:
    if isinstance(mask, Dependent) or isinstance(value, Dependent):
        op.refuse("has a mask or a value that depends on the input")
    return op.entrywise(x, 0, 1)


def _largest_size(op: Operation, value: Tensor) -> float:
    """At least the largest absolute value of a complex tensor."""
    if not torch.isfinite(value).all():
        op.refuse("scales by entries that are not finite numbers")
    pairs = torch.view_as_real(value.detach().resolve_conj()).double().reshape(-1, 2)
    size = Fraction(float(pairs.square().sum(1).max()))
    return sqrt_up(size * (1 + Fraction(1, 2**50)))  # of three rounded operations
