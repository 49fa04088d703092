"""Scalar nonlinearities, each with the interval of its slopes, as a function of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from pnp_lip.certifier.aten import named
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent
from pnp_lip.plain_modules import Refusal

__all__ = ["SLOPES"]

Interval = tuple[float, float]


def _unit(**given: float) -> Interval:
    """Of monotone functions of slope 1 at most, whatever their arguments."""
    return 0.0, 1.0


def _if(holds: bool, otherwise: str, low: float = 0.0, high: float = 1.0) -> Interval:
    if not holds:
        raise Refusal(f"has {otherwise}")
    return low, high


def _elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Interval:
    """``scale t`` on the right, ``scale alpha (exp(input_scale t) - 1)`` on the left."""
    left = float(Fraction(alpha) * Fraction(scale) * Fraction(input_scale)) * (1 + 2.0**-50)
    limits = "an input_scale below 0: it grows without limit"
    return _if(input_scale >= 0, limits, min(0.0, scale, left), max(0.0, scale, left))


def _gelu(approximate: str = "none") -> Interval:
    """The extreme slopes of ``t Phi(t)`` are at ``t = +-sqrt(2)``; its approximation's within 1e-3."""
    return _if(approximate in ("none", "tanh"), f"approximate={approximate!r}", -0.130, 1.130)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Interval:
    """From threshold on it is its asymptote, off by ``exp(-threshold)/beta``: rounding."""
    otherwise = f"beta={beta}, threshold={threshold}: expected beta > 0, threshold >= 15"
    return _if(beta > 0 and threshold >= 15, otherwise)


#: Slopes by names; the functions take an operator's arguments after the tensor, which must be numbers.
_SLOPES: dict[str, Callable[..., Interval]] = {
    "relu relu6 hardtanh tanh log_sigmoid atan asinh": _unit,
    "abs sin cos": lambda: (-1.0, 1.0),
    "leaky_relu": lambda negative_slope=0.01: (min(negative_slope, 1.0), max(negative_slope, 1.0)),
    "elu": _elu,
    "celu": lambda alpha=1.0: _if(
        alpha > 0, f"alpha={alpha}: it grows without limit, use alpha > 0"
    ),
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
    "softshrink": lambda lambd=0.5: _if(
        lambd >= 0, f"lambd={lambd}: it jumps at 0, use lambd >= 0"
    ),
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


@register_operator("clamp clamp_min clamp_max clamp.Tensor clamp_min.Tensor clamp_max.Tensor")
def _clamp(op: Operation, x: Any, min: Any = None, max: Any = None) -> Dependent:
    """Any bounds that do not depend on the image; other ones for other entries."""
    if isinstance(min, Dependent) or isinstance(max, Dependent):
        op.refuse("has bounds that depend on the input")
    return op.entrywise(x, 0, 1)


@register_operator("prelu _prelu_kernel")
def _prelu(op: Operation, x: Any, weight: Any) -> Dependent:
    low, high = op.extremes(weight, "a slope")
    return op.entrywise(x, min(low, Fraction(1)), max(high, Fraction(1)))


@register_operator("dropout feature_dropout alpha_dropout feature_alpha_dropout")
def _dropout(op: Operation, x: Any, p: Any, train: bool) -> Dependent:
    if train:
        op.refuse("drops entries at random: call eval() first")
    return op.image(x)


@register_operator("_to_copy to.dtype to.dtype_layout to.device to.other type_as")
def _cast(op: Operation, x: Any, **given: Any) -> Dependent:
    """Between real types it is the identity, up to rounding; of complex numbers the real part stays."""
    image, target = op.image(x), op.node.meta["val"].dtype
    if not target.is_floating_point:
        op.refuse(f"converts to {target}, which jumps")
    if op.node.all_input_nodes[0].meta["val"].is_complex():
        return op.bounded(image, 1.0, "real part")
    return replace(image, exact=False)
