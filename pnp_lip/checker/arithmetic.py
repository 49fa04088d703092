"""Sums, multiples, and products with constants."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Constant, Value

__all__: list[str] = []


@rule("add.Tensor add.Scalar")
def _add(op: Op, x: Any, other: Any, alpha: Any = 1) -> Value:
    return _combined(op, (Fraction(1), x), (op.number(alpha), other))


@rule("sub.Tensor sub.Scalar")
def _subtract(op: Op, x: Any, other: Any, alpha: Any = 1) -> Value:
    return _combined(op, (Fraction(1), x), (-op.number(alpha), other))


@rule("rsub.Scalar rsub.Tensor")
def _subtract_from(op: Op, x: Any, other: Any, alpha: Any = 1) -> Value:
    return _combined(op, (Fraction(1), other), (-op.number(alpha), x))


@rule("lerp.Scalar lerp.Tensor")
def _interpolate(op: Op, x: Any, end: Any, weight: Any) -> Value:
    return _combined(op, (1 - op.number(weight), x), (op.number(weight), end))


@rule("neg.default")
def _negative(op: Op, x: Any) -> Value:
    return op.image(x).times(Fraction(-1))


def _combined(op: Op, *parts: tuple[Fraction, Any]) -> Value:
    """``sum_i c_i x_i``. A constant changes nothing but what is rounded, unless it is zero."""
    terms: dict[str, Fraction] = {}
    exact = True
    for c, x in parts:
        part = op.fit(x) if isinstance(x, Value) else Value({}, (), _is_zero(x))
        exact = exact and part.exact
        for name, own in part.terms.items():
            terms[name] = terms.get(name, Fraction(0)) + c * own
    kept = {name: c for name, c in terms.items() if c} or {next(iter(terms)): Fraction(0)}
    return Value(kept, op.shape, exact)


def _is_zero(value: Any) -> bool:
    found = value.value if isinstance(value, Constant) else value
    if isinstance(found, Tensor):
        return not bool(found.any())
    return isinstance(found, (int, float)) and found == 0


@rule("mul.Tensor mul.Scalar")
def _multiply(op: Op, x: Any, other: Any) -> Value:
    image, factor = (x, other) if isinstance(x, Value) else (other, x)
    low, high = _ends(op, factor)
    if low is not None:
        return op.entrywise(image, low, high)
    return op.fit(op.image(image)).times(op.number(factor))


@rule("div.Tensor div.Scalar")
def _divide(op: Op, x: Any, other: Any) -> Value:
    if isinstance(other, Value):
        return op.entrywise(x, Fraction(0), 1 / _offset_of_softsign(op))
    low, high = _ends(op, other)
    if low is not None:
        if low <= 0 <= high:
            raise NotRecomputed("it divides by zero, or by both signs")
        return op.entrywise(x, 1 / high, 1 / low)
    number = op.number(other)
    if number == 0:
        raise NotRecomputed("it divides by zero")
    return op.fit(op.image(x)).times(1 / number)


def _offset_of_softsign(op: Op) -> Fraction:
    """``c`` of ``x / (|x| + c)``: the slopes are ``c / (|x| + c)^2``, from 0 to ``1 / c``."""
    x, below = op.node.args
    if isinstance(below, fx.Node) and str(below.target) == "aten.add.Tensor" and not below.kwargs:
        size, c = below.args[:2]
        of_x = isinstance(size, fx.Node) and str(size.target) == "aten.abs.default"
        if of_x and size.args[0] is x and isinstance(c, (int, float)) and c > 0:  # type: ignore[union-attr]
            return Fraction(c)
    raise NotRecomputed("two of its arguments depend on the image")


def _ends(op: Op, factor: Any) -> tuple[Any, Any]:
    """The least and the largest entry of a tensor with several."""
    value = op.fixed(factor)
    if not isinstance(value, Tensor) or value.numel() == 1:
        return None, None
    if value.is_complex() or not bool(torch.isfinite(value).all()):
        raise NotRecomputed("it scales by what is not finite")
    exact = value.detach().double()
    return Fraction(float(exact.min())), Fraction(float(exact.max()))
