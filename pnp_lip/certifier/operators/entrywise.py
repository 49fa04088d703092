"""Scalar nonlinearities, each with the interval of its slopes, as a function of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent
from pnp_lip.plain_modules import Refusal

__all__ = ["SLOPES"]

aten = torch.ops.aten

Interval = tuple[float, float]


def _unit(**given: float) -> Interval:
    """Of monotone functions of slope 1 at most, whatever their arguments."""
    return 0.0, 1.0


def _if(holds: bool, found: Interval, otherwise: str) -> Interval:
    if not holds:
        raise Refusal(f"has {otherwise}")
    return found


def _elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Interval:
    """``scale t`` on the right, ``scale alpha (exp(input_scale t) - 1)`` on the left."""
    left = float(Fraction(alpha) * Fraction(scale) * Fraction(input_scale)) * (1 + 2.0**-50)
    found = min(0.0, scale, left), max(0.0, scale, left)
    return _if(input_scale >= 0, found, "an input_scale below 0: it grows without limit")


#: Slopes by operator; the functions take its arguments after the tensor, which must be numbers.
SLOPES: dict[Any, Callable[..., Interval]] = {
    **dict.fromkeys(
        (
            *(aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.tanh.default),
            *(aten.log_sigmoid.default, aten.atan.default, aten.asinh.default),
        ),
        _unit,
    ),
    **dict.fromkeys((aten.abs.default, aten.sin.default, aten.cos.default), lambda: (-1.0, 1.0)),
    aten.leaky_relu.default: lambda negative_slope=0.01: (
        min(negative_slope, 1.0),
        max(negative_slope, 1.0),
    ),
    aten.elu.default: _elu,
    aten.celu.default: lambda alpha=1.0: _if(
        alpha > 0, _unit(), f"alpha={alpha}: it grows without limit, use alpha > 0"
    ),
    # The largest slope of SELU is scale * alpha = 1.7581 (Klambauer et al. 2017), at 0 from below.
    aten.selu.default: lambda: (0.0, 1.7582),
    # The extreme slopes of t Phi(t) are at t = +-sqrt(2); those of its approximation within 1e-3.
    aten.gelu.default: lambda approximate="none": _if(
        approximate in ("none", "tanh"), (-0.130, 1.130), f"approximate={approximate!r}"
    ),
    # Those of t sigmoid(t) are at t = +-2.3993...
    aten.silu.default: lambda: (-0.100, 1.100),
    aten.mish.default: lambda: (-0.114, 1.090),
    aten.hardswish.default: lambda: (-0.5, 1.5),
    aten.hardsigmoid.default: lambda: (0.0, float(Fraction(1, 6)) * (1 + 2.0**-50)),
    # From threshold on it is computed as its asymptote, off by exp(-threshold)/beta: rounding.
    aten.softplus.default: lambda beta=1.0, threshold=20.0: _if(
        beta > 0 and threshold >= 15,
        _unit(),
        f"beta={beta}, threshold={threshold}: expected beta > 0, threshold >= 15",
    ),
    aten.sigmoid.default: lambda: (0.0, 0.25),
    aten.softshrink.default: lambda lambd=0.5: _if(
        lambd >= 0, _unit(), f"lambd={lambd}: it jumps at 0, use lambd >= 0"
    ),
    aten.erf.default: lambda: (0.0, 1.1284),
}
#: Computed without rounding, and zero at zero unless the bounds of ``hardtanh`` are of one sign.
_EXACT = (aten.relu.default, aten.hardtanh.default, aten.relu6.default)


def _register(operator: Any, slopes: Callable[..., Interval]) -> None:
    def rule(op: Operation, x: Any, **given: Any) -> Dependent:
        fixed = {key: op.fixed(value, f"an argument '{key}'") for key, value in given.items()}
        low, high = slopes(**fixed)
        keeps_zero = fixed.get("min_val", -1) <= 0 <= fixed.get("max_val", 1)
        return op.entrywise(x, low, high, exact=operator in _EXACT and keeps_zero)

    register_operator(operator)(rule)


for _operator, _slopes in SLOPES.items():
    _register(_operator, _slopes)


@register_operator(
    aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default, aten.clamp.Tensor,
    aten.clamp_min.Tensor, aten.clamp_max.Tensor,
)  # fmt: skip
def _clamp(op: Operation, x: Any, min: Any = None, max: Any = None) -> Dependent:
    """Any bounds that do not depend on the image; other ones for other entries."""
    if isinstance(min, Dependent) or isinstance(max, Dependent):
        op.refuse("has bounds that depend on the input")
    return op.entrywise(x, 0, 1)


@register_operator(aten.prelu.default, aten._prelu_kernel.default)
def _prelu(op: Operation, x: Any, weight: Any) -> Dependent:
    slopes = op.fixed(weight, "a slope").detach().double()
    if slopes.numel() == 0 or not torch.isfinite(slopes).all():
        op.refuse("has no slope, or one that is not finite")
    low, high = float(slopes.min()), float(slopes.max())
    return op.entrywise(x, min(low, 1.0), max(high, 1.0))


@register_operator(
    aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
)  # fmt: skip
def _dropout(op: Operation, x: Any, p: Any, train: bool) -> Dependent:
    if train:
        op.refuse("drops entries at random: call eval() first")
    return op.image(x)


@register_operator(
    *(aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other),
    aten.type_as.default,
)
def _cast(
    op: Operation,
    x: Any,
    other: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Dependent:
    """Between real types it is the identity, up to rounding; of complex numbers the real part stays."""
    image, target, source = op.image(x), op.node.meta["val"].dtype, op.node.args[0]
    if not target.is_floating_point:
        op.refuse(f"converts to {target}, which jumps")
    if isinstance(source, fx.Node) and source.meta["val"].is_complex():
        return op.bounded(image, 1.0, "real part")
    return Dependent(image.terms, image.size, exact=False)
