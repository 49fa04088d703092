"""Sums, multiples, products with constants, selections by a mask, reductions."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.abstract import JUMPING, Dependent, Known, size_of
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.statement import lipschitz, symmetric
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
    if isinstance(value, Tensor) and value.numel() > 1:
        low, high = _extremes(op, value)
        return op.entrywise(image, low, high)
    return _scaled(op, image, _number(op, factor, "a factor"))


@register_operator(aten.div.Tensor, aten.div.Scalar)
def _divide(op: Operation, x: Any, other: Any) -> Dependent:
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


@register_operator(aten.sum.default, aten.sum.dim_IntList)
def _total(op: Operation, x: Any, dim: Any = None, keepdim: bool = False) -> Dependent:
    r"""``k`` entries each: :math:`\sqrt k`."""
    sides = [op.image(x).size[axis] for axis in _axes(op, x, dim)]
    if not all(isinstance(side, int) for side in sides):
        op.refuse("sums over a side of unknown length: use the mean, or prove it at one size")
    count = math.prod(int(side) for side in sides)
    return op.bounded(x, sqrt_up(Fraction(count)), f"sum of {count} entries")


@register_operator(aten.mean.default, aten.mean.dim)
def _mean(op: Operation, x: Any, dim: Any = None, keepdim: bool = False) -> Dependent:
    r"""``k`` entries each: :math:`1/\sqrt k`, with the sides that are known."""
    sides = [op.image(x).size[axis] for axis in _axes(op, x, dim)]
    count = math.prod(side for side in sides if isinstance(side, int))
    return op.bounded(x, sqrt_up(Fraction(1, max(count, 1))), "mean over axes")


@register_operator(aten.amax.default, aten.amin.default)
def _largest(op: Operation, x: Any, dim: Any = (), keepdim: bool = False) -> Dependent:
    return op.bounded(x, 1.0, "largest or smallest of disjoint sets of entries")


@register_operator(aten.max.dim, aten.min.dim)
def _largest_along(op: Operation, x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    size = tuple(op.node.meta["val"][0].shape)
    leaf = lipschitz("largest or smallest along an axis", 1.0)
    return op.walk.add(op.node, op.image(x), leaf, size=size), JUMPING


@register_operator(aten.softmax.int, aten._softmax.default)
def _softmax(
    op: Operation, x: Any, dim: Any, half_to_float: bool = False, dtype: Any = None
) -> Dependent:
    r"""The Jacobian ``diag(p) - p p^T`` is symmetric; by Gershgorin its spectrum lies in
    :math:`[0, \max_i 2p_i(1-p_i)] \subseteq [0, 1/2]`."""
    statement = symmetric("softmax", Fraction(0), Fraction(1, 2))
    image = op.image(x)
    identity = op.walk.spectrum(image.terms) == (1, 1)
    spectrum = (Fraction(0), Fraction(1, 2)) if identity else None
    return op.walk.add(op.node, image, statement, spectrum=spectrum)


@register_operator(
    aten._native_batch_norm_legit_no_training.default, aten.batch_norm.default,
    aten.native_batch_norm.default,
)  # fmt: skip
def _batch_norm(
    op: Operation,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: Any,
    eps: Any,
    training: bool = False,
    cudnn_enabled: bool = False,
) -> Any:
    r"""Entrywise with slopes :math:`g_c/\sqrt{v_c + \epsilon}`."""
    if training or running_var is None:
        op.refuse("normalises by the batch: call eval() and keep running statistics")
    variance = op.fixed(running_var, "a variance").double() + eps
    if not (variance > 0).all():
        op.refuse("has a running variance that is not positive")
    gains = torch.ones_like(variance) if weight is None else op.fixed(weight, "a scale").double()
    slopes = gains / variance.sqrt()
    # Three correctly rounded operations: each is off by less than one part in 2**52.
    slack = Fraction(1) + Fraction(1, 2**49)
    low, high = Fraction(float(slopes.min())), Fraction(float(slopes.max()))
    low, high = low * (slack if low < 0 else 1 / slack), high * (slack if high > 0 else 1 / slack)
    value = op.node.meta["val"]
    size = tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)
    image = op.image(x)
    statement = symmetric("batch norm in eval mode", low, high)
    identity = op.walk.spectrum(image.terms) == (1, 1)
    found = op.walk.add(
        op.node, image, statement, size=size, spectrum=(low, high) if identity else None
    )
    return found if not isinstance(value, (tuple, list)) else (found, Known(), Known())


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


def _extremes(op: Operation, value: Tensor) -> tuple[Fraction, Fraction]:
    if value.is_complex() or not torch.isfinite(value).all():
        op.refuse("scales by entries that are not finite real numbers")
    exact = value.detach().double()
    return Fraction(float(exact.min())), Fraction(float(exact.max()))


def _axes(op: Operation, x: Any, dim: Any) -> list[int]:
    ndim = len(op.image(x).size)
    axes = [] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return [axis % ndim for axis in axes] or list(range(ndim))
