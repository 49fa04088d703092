"""Scalar nonlinearities with the intervals of their slopes; sums, multiples, products with constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import fx

from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, named
from pnp_lip.certifier.walk import Walk
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import round_up

__all__ = ["SLOPES"]


def _unit(**given: float) -> tuple[float, float]:
    """Of monotone functions of slope 1 at most, whatever their arguments."""
    return 0.0, 1.0


def _if(holds: bool, otherwise: str, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    if not holds:
        raise Refusal(f"has {otherwise}")
    return low, high


def _elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> tuple[float, float]:
    """``scale t`` on the right, ``scale alpha (exp(input_scale t) - 1)`` on the left."""
    left = float(Fraction(alpha) * Fraction(scale) * Fraction(input_scale)) * (1 + 2.0**-50)
    limits = "an input_scale below 0: it grows without limit"
    return _if(input_scale >= 0, limits, min(0.0, scale, left), max(0.0, scale, left))


def _gelu(approximate: str = "none") -> tuple[float, float]:
    """The extreme slopes of ``t Phi(t)`` are at ``t = +-sqrt(2)``; its approximation's within 1e-3."""
    return _if(approximate in ("none", "tanh"), f"approximate={approximate!r}", -0.130, 1.130)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> tuple[float, float]:
    """From threshold on it is its asymptote, off by ``exp(-threshold)/beta``: rounding."""
    otherwise = f"beta={beta}, threshold={threshold}: expected beta > 0, threshold >= 15"
    return _if(beta > 0 and threshold >= 15, otherwise)


#: Slopes by names; the functions take an operator's arguments after the tensor, which must be numbers.
_SLOPES: dict[str, Callable[..., tuple[float, float]]] = {
    "relu relu6 hardtanh tanh log_sigmoid atan asinh": _unit,
    "abs sin cos": lambda: (-1.0, 1.0),
    "leaky_relu": lambda negative_slope=0.01: (min(negative_slope, 1.0), max(negative_slope, 1.0)),
    "elu": _elu,
    "celu": lambda alpha=1.0: _if(alpha > 0, f"alpha={alpha} <= 0: it grows without limit"),
    # The largest slope of SELU is scale * alpha = 1.7581 (Klambauer et al. 2017), at 0 from below.
    "selu": lambda: (0.0, 1.7582),
    "gelu": _gelu,
    # Those of t sigmoid(t) are at t = +-2.3993...
    "silu": lambda: (-0.100, 1.100),
    "mish": lambda: (-0.114, 1.090),
    "hardswish": lambda: (-0.5, 1.5),
    "hardsigmoid": lambda: (0.0, float(Fraction(1, 6)) * (1 + 2.0**-50)),
    "softplus": _softplus,
    "sigmoid": lambda: (0.0, 0.25),
    "softshrink": lambda lambd=0.5: _if(lambd >= 0, f"lambd={lambd} < 0: it jumps at 0"),
    "erf": lambda: (0.0, 1.1284),
}
#: The same by operator.
SLOPES = {one: slopes for names, slopes in _SLOPES.items() for one in named(names)}


@register_operator(*SLOPES)
def _scalar(op: Operation, x: Any, **given: Any) -> Dependent:
    """Without rounding, and zero at zero, are three, unless the bounds are of one sign."""
    fixed = {key: op.fixed(value, f"an argument '{key}'") for key, value in given.items()}
    keeps_zero = fixed.get("min_val", -1) <= 0 <= fixed.get("max_val", 1)
    exact = op.node.target in named("relu hardtanh relu6") and keeps_zero
    return op.entrywise(x, *SLOPES[op.node.target](**fixed), exact=exact)


@register_operator(
    "clamp clamp_min clamp_max clamp.Tensor clamp_min.Tensor clamp_max.Tensor masked_fill.Scalar "
    "masked_fill.Tensor"
)
def _limited(op: Operation, x: Any, **given: Any) -> Dependent:
    """By any bounds that do not depend on the image, other ones for other entries; or to one value."""
    return op.entrywise(x, 0, 1)


@register_operator("prelu _prelu_kernel")
def _prelu(op: Operation, x: Any, weight: Any) -> Dependent:
    low, high = op.extremes(weight, "a slope")
    return op.entrywise(x, min(low, Fraction(1)), max(high, Fraction(1)))


@register_operator("_to_copy to.dtype to.dtype_layout to.device to.other type_as")
def _cast(op: Operation, x: Any, other: Any = None, **given: Any) -> Dependent:
    """Between real types it is the identity, up to rounding; of complex numbers the real part stays."""
    image = op.image(x)
    if op.node.all_input_nodes[0].meta["val"].is_complex():
        return op.bounded(image, 1.0, "real part")
    return replace(image, exact=False)


#: Linear combinations, as pairs of coefficients and tensors; ``alpha`` and ``weight`` are numbers.
_COMBINATIONS: dict[str, Callable[..., Any]] = {
    "add.Tensor add.Scalar": lambda x, other, alpha: ((1, x), (alpha, other)),
    "sub.Tensor sub.Scalar": lambda x, other, alpha: ((1, x), (-alpha, other)),
    "rsub.Tensor rsub.Scalar": lambda x, other, alpha: ((1, other), (-alpha, x)),
    "lerp.Scalar lerp.Tensor": lambda x, end, weight: ((1 - weight, x), (weight, end)),
    "neg": lambda x: ((-1, x),),
}


def _combination(op: Operation, parts: Callable[..., Any], **everything: Any) -> Dependent:
    numbers = everything.keys() & {"alpha", "weight"}
    return op.combination(
        *parts(**everything | {key: op.number(everything[key], key) for key in numbers})
    )


for _names, _parts in _COMBINATIONS.items():
    register_operator(_names)(partial(_combination, parts=_parts))


@register_operator("mul.Tensor mul.Scalar")
def _multiply(op: Operation, x: Any, other: Any) -> Dependent:
    if isinstance(x, Dependent) and isinstance(other, Dependent):
        op.refuse("multiplies tensors that depend on the input, which has no finite constant")
    image, factor = (x, other) if isinstance(x, Dependent) else (other, x)
    value = torch.as_tensor(op.fixed(factor, "a factor"))
    if value.is_complex():
        # Of three rounded operations: off by less than four parts in 2**52.
        largest = op.extremes(value.to(torch.cdouble).abs(), "a factor")[1] * Fraction(1 + 2**-50)
        return op.bounded(op.broadcast(image), round_up(largest), "complex factors")
    if value.numel() > 1:
        return op.entrywise(image, *op.extremes(factor, "a factor"))
    return op.combination((op.number(factor, "a factor"), image))


@register_operator("div.Tensor div.Scalar")
def _divide(op: Operation, x: Any, other: Any) -> Dependent:
    softsign = _softsign(op.walk, op.node)
    if softsign:
        return op.entrywise(x, 0, 1 / softsign)
    low, high = op.extremes(other, "a divisor")
    if low <= 0 <= high:
        op.refuse("divides by zero, or by a tensor with entries of both signs")
    several = torch.as_tensor(op.fixed(other, "a divisor")).numel() > 1
    return op.entrywise(x, 1 / high, 1 / low) if several else op.combination((1 / low, x))


def _softsign(walk: Walk, node: fx.Node) -> Fraction | None:
    """``c`` where the node is ``x / (|x| + c)`` with ``c > 0``, whose slope is ``c / (|x| + c)^2``."""
    x, below = node.args
    if not isinstance(below, fx.Node) or below.target not in named("add.Tensor") or below.kwargs:
        return None
    size, c = walk.program.read(below)[0][:2]
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
