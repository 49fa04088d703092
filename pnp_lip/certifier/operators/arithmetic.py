"""Sums, multiples, products with constants, selections by a mask."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, Known, size_of
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []

aten = torch.ops.aten


@register_operator(aten.add.Tensor, aten.add.Scalar)
def _add(op: Operation, x: Any, other: Any, alpha: Any = 1) -> Dependent:
    return _sum(op, x, other, _number(op, alpha, "a factor"))


@register_operator(aten.sub.Tensor, aten.sub.Scalar)
def _subtract(op: Operation, x: Any, other: Any, alpha: Any = 1) -> Dependent:
    return _sum(op, x, other, -_number(op, alpha, "a factor"))


@register_operator(aten.rsub.Scalar, aten.rsub.Tensor)
def _subtract_from(op: Operation, x: Any, other: Any, alpha: Any = 1) -> Dependent:
    weight = _number(op, alpha, "a factor")
    return (
        _inexact(_scaled(op, x, -weight))
        if not isinstance(other, Dependent)
        else _sum(op, other, x, -weight)
    )


def _sum(op: Operation, a: Any, b: Any, weight: Fraction) -> Dependent:
    """``a + weight b``; a constant changes nothing but what float32 rounds."""
    wanted = size_of(op.node)
    if not isinstance(a, Dependent):
        return _inexact(_scaled(op, b, weight))
    first = op.walk.repeated(op.node, a, wanted)
    if not isinstance(b, Dependent):
        return first if _is_zero(b) else _inexact(first)
    second = op.walk.repeated(op.node, b, wanted)
    terms = dict(first.terms)
    for atom, c in second.terms.items():
        terms[atom] = terms.get(atom, Fraction(0)) + weight * c
    kept = {atom: c for atom, c in terms.items() if c} or {next(iter(terms)): Fraction(0)}
    return Dependent(kept, wanted, first.exact and second.exact)


@register_operator(aten.neg.default)
def _negative(op: Operation, x: Any) -> Dependent:
    return op.image(x).times(Fraction(-1))


@register_operator(aten.mul.Tensor, aten.mul.Scalar)
def _multiply(op: Operation, x: Any, other: Any) -> Dependent:
    if isinstance(x, Dependent) and isinstance(other, Dependent):
        op.refuse("multiplies tensors that depend on the input, which has no finite constant")
    image, factor = (x, other) if isinstance(x, Dependent) else (other, x)
    value = op.fixed(factor, "a factor")
    if isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex()):
        return op.bounded(image, _largest_size(op, torch.as_tensor(value)), "complex factors")
    if isinstance(value, Tensor) and value.numel() > 1:
        low, high = _extremes(op, value)
        return op.entrywise(image, low, high)
    return _scaled(op, image, _number(op, factor, "a factor"))


@register_operator(aten.div.Tensor, aten.div.Scalar)
def _divide(op: Operation, x: Any, other: Any) -> Dependent:
    softsign = _softsign(op.node)
    if softsign:
        return op.entrywise(x, 0, 1 / softsign)
    value = op.fixed(other, "a divisor")
    if isinstance(value, Tensor) and value.numel() > 1:
        low, high = _extremes(op, value)
        if low <= 0 <= high:
            op.refuse("divides by a tensor with entries of both signs, or zero")
        return op.entrywise(x, 1 / high, 1 / low)
    number = _number(op, other, "a divisor")
    if number == 0:
        op.refuse("divides by zero")
    return _scaled(op, x, 1 / number)


def _softsign(node: fx.Node) -> Fraction | None:
    """``c`` where the node is ``x / (|x| + c)`` with ``c > 0``, whose slope is ``c / (|x| + c)^2``."""
    x, below = node.args
    if not isinstance(below, fx.Node) or below.target is not aten.add.Tensor or below.kwargs:
        return None
    size, c = below.args[:2]
    same = isinstance(size, fx.Node) and size.target is aten.abs.default and size.args == (x,)
    return Fraction(c) if same and isinstance(c, (int, float)) and c > 0 else None


@register_operator(aten.lerp.Scalar, aten.lerp.Tensor)
def _interpolate(op: Operation, x: Any, end: Any, weight: Any) -> Dependent:
    share, wanted = _number(op, weight, "a weight"), size_of(op.node)
    parts = []
    for value, c in ((x, 1 - share), (end, share)):
        if isinstance(value, Dependent):
            parts.append(op.walk.repeated(op.node, value, wanted).times(c))
    if len(parts) == 1:
        return _inexact(parts[0])
    terms = dict(parts[0].terms)
    for atom, c in parts[1].terms.items():
        terms[atom] = terms.get(atom, Fraction(0)) + c
    return Dependent(terms, wanted, parts[0].exact and parts[1].exact)


@register_operator(aten.maximum.default, aten.minimum.default, aten.max.other, aten.min.other)
def _extreme(op: Operation, x: Any, other: Any) -> Dependent:
    r"""``|max(a, b) - max(a', b')|^2 <= |a - a'|^2 + |b - b'|^2``, entry by entry."""
    if not isinstance(x, Dependent) or not isinstance(other, Dependent):
        return op.entrywise(x if isinstance(x, Dependent) else other, 0, 1)
    parts = [op.walk.repeated(op.node, value, size_of(op.node)) for value in (x, other)]
    return op.walk.gathered(op.node, parts, "maximum or minimum of two branches")


@register_operator(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)
def _where(op: Operation, condition: Any, x: Any, other: Any) -> Dependent:
    """Every entry is one of one of the two."""
    if isinstance(condition, Dependent):
        op.refuse("chooses by a mask that depends on the input, so it may jump")
    wanted = size_of(op.node)
    parts = [op.walk.repeated(op.node, v, wanted) for v in (x, other) if isinstance(v, Dependent)]
    if len(parts) == 2 and parts[0].terms == parts[1].terms:
        return parts[0]
    return op.walk.gathered(op.node, parts, "selection by a mask")


@register_operator(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _filled(op: Operation, x: Any, mask: Any, value: Any) -> Dependent:
    if isinstance(mask, Dependent) or isinstance(value, Dependent):
        op.refuse("has a mask or a value that depends on the input")
    image = op.walk.repeated(op.node, op.image(x), size_of(op.node))
    return op.entrywise(image, 0, 1)


def _scaled(op: Operation, x: Any, factor: Fraction) -> Dependent:
    return op.walk.repeated(op.node, op.image(x), size_of(op.node)).times(factor)


def _inexact(value: Dependent) -> Dependent:
    """Something was added: in float32 its size decides about the rounding."""
    return replace(value, exact=False)


def _is_zero(value: Any) -> bool:
    found = value.value if isinstance(value, Known) else value
    if isinstance(found, Tensor):
        return not bool(found.any())
    return isinstance(found, (int, float)) and found == 0


def _number(op: Operation, value: Any, what: str) -> Fraction:
    """A finite number that does not depend on the image."""
    op.fixed(value, what)
    found = value.number() if isinstance(value, Known) else Known(value).number()
    if found is None:
        op.refuse(f"has {what} that is no finite number")
    return found


def _largest_size(op: Operation, value: Tensor) -> float:
    """At least the largest absolute value of a complex tensor."""
    if not torch.isfinite(value).all():
        op.refuse("scales by entries that are not finite numbers")
    pairs = torch.view_as_real(value.detach().resolve_conj()).double().reshape(-1, 2)
    size = Fraction(float(pairs.square().sum(1).max()))
    return sqrt_up(size * (1 + Fraction(1, 2**50)))  # of three rounded operations


def _extremes(op: Operation, value: Tensor) -> tuple[Fraction, Fraction]:
    if value.is_complex() or not torch.isfinite(value).all():
        op.refuse("scales by entries that are not finite real numbers")
    exact = value.detach().double()
    return Fraction(float(exact.min())), Fraction(float(exact.max()))
