"""Scalar nonlinearities with the interval of their slopes, and what else acts on entries alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from pnp_lip.checker.composition import root_up
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Value

__all__: list[str] = []

F = Fraction
Slopes = tuple[Fraction, Fraction]


def _between(*slopes: float | Fraction) -> Slopes:
    """A piecewise linear or monotone map: the least and the largest of its slopes."""
    exact = [Fraction(slope) for slope in slopes]
    return min(exact), max(exact)


def _elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Slopes:
    if input_scale < 0:
        raise NotRecomputed("an input_scale below 0")
    return _between(0, scale, F(alpha) * F(scale) * F(input_scale))


def _only(condition: bool, what: str, found: Slopes) -> Slopes:
    if not condition:
        raise NotRecomputed(what)
    return found


_UNIT = F(0), F(1)
#: The extreme slopes of the smooth ones, to a part in a thousand and outward: of ``t Phi(t)`` and its
#: approximation by tanh, ``t sigma(t)``, ``t tanh(log(1 + e^t))``, and ``2/sqrt(pi)`` of erf.
_SLOPES: dict[str, Callable[..., Slopes]] = {
    "relu.default": lambda: _UNIT,
    "relu6.default": lambda: _UNIT,
    "hardtanh.default": lambda min_val=-1.0, max_val=1.0: _UNIT,
    "leaky_relu.default": lambda negative_slope=0.01: _between(1, negative_slope),
    "elu.default": _elu,
    "celu.default": lambda alpha=1.0: _only(alpha > 0, "alpha below 0", _UNIT),
    "selu.default": lambda: (F(0), F("1.75810")),
    "gelu.default": lambda approximate="none": (F("-0.1299"), F("1.1299")),
    "silu.default": lambda: (F("-0.0999"), F("1.0999")),
    "mish.default": lambda: (F("-0.1135"), F("1.0893")),
    "hardswish.default": lambda: (F(-1, 2), F(3, 2)),
    "hardsigmoid.default": lambda: (F(0), F(1, 6)),
    "softplus.default": lambda beta=1.0, threshold=20.0: _only(
        beta > 0 and threshold >= 15, "beta or threshold out of range", _UNIT
    ),
    "sigmoid.default": lambda: (F(0), F(1, 4)),
    "tanh.default": lambda: _UNIT,
    "log_sigmoid.default": lambda: _UNIT,
    "softshrink.default": lambda lambd=0.5: _only(lambd >= 0, "a jump at 0", _UNIT),
    "abs.default": lambda: (F(-1), F(1)),
    "sin.default": lambda: (F(-1), F(1)),
    "cos.default": lambda: (F(-1), F(1)),
    "atan.default": lambda: _UNIT,
    "asinh.default": lambda: _UNIT,
    "erf.default": lambda: (F(0), F("1.12838")),
}
_EXACT = ("relu.default", "relu6.default", "hardtanh.default")


def _register(name: str, slopes: Callable[..., Slopes]) -> None:
    @rule(name)
    def entrywise(op: Op, x: Any, **rest: Any) -> Value:
        given = {key: op.fixed(value) for key, value in rest.items()}
        zero = given.get("min_val", -1) <= 0 <= given.get("max_val", 1)  # is kept
        return op.entrywise(x, *slopes(**given), exact=name in _EXACT and zero)


for _name, _slopes in _SLOPES.items():
    _register(_name, _slopes)


@rule(
    "clamp.default clamp_min.default clamp_max.default clamp.Tensor clamp_min.Tensor clamp_max.Tensor"
)
def _clamp(op: Op, x: Any, min: Any = None, max: Any = None) -> Value:
    if isinstance(min, Value) or isinstance(max, Value):
        raise NotRecomputed("its bounds depend on the image")
    return op.entrywise(x, *_UNIT)


@rule("prelu.default _prelu_kernel.default")
def _prelu(op: Op, x: Any, weight: Any) -> Value:
    return op.entrywise(x, *_between(1, *op.fixed(weight).double().flatten().tolist()))


@rule("masked_fill.Scalar masked_fill.Tensor")
def _filled(op: Op, x: Any, mask: Any, value: Any) -> Value:
    if isinstance(mask, Value) or isinstance(value, Value):
        raise NotRecomputed("its mask depends on the image")
    return op.entrywise(op.fit(op.image(x)), *_UNIT)


@rule("softmax.int _softmax.default")
def _softmax(op: Op, x: Any, **rest: Any) -> Value:
    """The Jacobian is ``diag(p) - p p^T``: positive, and row sums of absolute values are at most 1/2."""
    return op.symmetric(x, F(0), F(1, 2))


@rule("_native_batch_norm_legit_no_training.default batch_norm.default native_batch_norm.default")
def _batch_norm(
    op: Op, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, eps: Any,
    momentum: Any = None, training: Any = False, cudnn_enabled: Any = False,
) -> Value:  # fmt: skip
    """Slopes ``g / sqrt(v + eps)``, each known to a part in 2^40."""
    if training or running_var is None:
        raise NotRecomputed("it normalises by the batch")
    variances = [F(v) + F(eps) for v in op.fixed(running_var).double().tolist()]
    gains = [F(1)] * len(variances)
    if weight is not None:
        gains = [F(g) for g in op.fixed(weight).double().tolist()]
    if min(variances) <= 0:
        raise NotRecomputed("a variance is not positive")
    slopes = [_over_root(g, v) for g, v in zip(gains, variances, strict=True)]
    ends = min(low for low, _ in slopes), max(high for _, high in slopes)
    return op.symmetric(x, *ends)


def _over_root(gain: Fraction, variance: Fraction) -> Slopes:
    """An interval around ``gain / sqrt(variance)``."""
    high = gain * root_up(1 / variance)
    low = high * (1 - F(1, 2**150))
    return min(low, high), max(low, high)


@rule("amax.default amin.default max.dim min.dim")
def _largest(op: Op, x: Any, **rest: Any) -> Value:
    return op.gain(x, F(1))


@rule("_to_copy.default to.dtype to.dtype_layout to.device to.other type_as.default")
def _cast(op: Op, x: Any, **rest: Any) -> Value:
    image, source = op.image(x), op.node.all_input_nodes[0]
    if not all(node.meta["val"].dtype.is_floating_point for node in (source, op.node)):
        raise NotRecomputed("it converts between real, complex and whole numbers")
    return Value(image.terms, image.shape, exact=False)


@rule("alias.default detach.default clone.default contiguous.default lift_fresh_copy.default")
def _same(op: Op, x: Any, memory_format: Any = None) -> Value:
    return op.image(x)


@rule("dropout.default feature_dropout.default alpha_dropout.default feature_alpha_dropout.default")
def _dropout(op: Op, x: Any, p: Any, train: Any) -> Value:
    if train is not False:
        raise NotRecomputed("it draws random numbers")
    return op.image(x)
