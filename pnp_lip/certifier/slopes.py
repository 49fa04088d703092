"""The interval in which the slope of a scalar nonlinearity lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from torch import nn

from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.rules import Settings, register_rule
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.layers import Clip, MonotoneSpline, NoiseClip, ReLU
from pnp_lip.plain_modules import Refusal, plain_type, require_plain
from pnp_lip.rounding import round_up

__all__ = ["register_slope", "roundings_of", "slope_interval"]

Interval = tuple[float, float]
_SLOPES: dict[type[nn.Module], Callable[[nn.Module], Interval]] = {}


def register_slope(kind: type[nn.Module], interval: Callable[[nn.Module], Interval]) -> None:
    """Declare that modules of exactly this class act entrywise with a slope in ``interval(module)``."""
    _SLOPES[kind] = interval
    register_rule(kind, keeps_shape=True)(_entrywise)


def slope_interval(module: nn.Module, name: str) -> Interval:
    """``(low, high)`` such that every difference quotient of the nonlinearity lies between them.

    Raises:
        Refusal: a nonlinearity nobody has declared, hooks, or parameters that are not finite.
    """
    require_plain(module, name)
    kind = plain_type(module)
    if kind not in _SLOPES:
        raise Refusal(
            f"no slope is known for {kind.__qualname__} at '{name}': declare one with "
            f"pnp_lip.certifier.register_slope"
        )
    return _SLOPES[kind](module)


def roundings_of(module: nn.Module) -> int | None:
    r"""``a`` such that ``module`` computes :math:`\sigma` up to :math:`\gamma_a|t|` in float32.

    A mixture of ``J`` clips: the computed shares sum to :math:`1 + \gamma_{J+2}` at most, and every
    term of the sum sees at most :math:`2J` roundings. Here :math:`\sigma` has the thresholds and the
    shares, scaled to sum 1, *as computed*: it belongs to the same certificate. ``None`` if unknown.
    """
    if type(module) in (ReLU, Clip, nn.ReLU, nn.Identity):
        return 0
    return 3 * len(module.logits) + 4 if type(module) is NoiseClip else None


def _entrywise(module: nn.Module, name: str, settings: Settings) -> Statement:
    low, high = slope_interval(module, name)
    rule = f"entrywise, slope in [{low:g}, {high:g}]"
    if low < -1 or high > 1:
        return lipschitz(rule, max(-low, high))
    averagedness = round_up((1 - Fraction(low)) / 2)
    statement = Statement(rule, max(-low, high, 0.0), averagedness)
    return (
        replace(statement, execution=Execution.exact()) if roundings_of(module) == 0 else statement
    )


def _leaky(module: nn.Module) -> Interval:
    slope = float(module.negative_slope)  # type: ignore[arg-type]
    return min(slope, 1.0), max(slope, 1.0)


def _prelu(module: nn.Module) -> Interval:
    weight = module.weight.detach()  # type: ignore[operator]
    return min(float(weight.min()), 1.0), max(float(weight.max()), 1.0)


def _elu(module: nn.Module) -> Interval:
    if not float(module.alpha) >= 0:  # type: ignore[arg-type]
        raise Refusal(f"ELU with alpha={module.alpha} is not monotone: use alpha >= 0")
    return 0.0, max(1.0, float(module.alpha))  # type: ignore[arg-type]


def _gelu(module: nn.Module) -> Interval:
    if module.approximate != "none":
        raise Refusal("GELU's tanh approximation has no declared slope: use approximate='none'")
    return -0.130, 1.130


def _spline(module: nn.Module) -> Interval:
    """The largest of the learned slopes, which are logistic functions of the parameters."""
    logits = module.logits.detach().double()  # type: ignore[operator]
    return 0.0, logistic_up(float(logits.max()))


def logistic_up(t: float) -> float:
    r"""At least :math:`1/(1+e^{-t})`, because :math:`e^{-t} \ge (1 - t/n)^n` for :math:`t \le n = 2^{20}`.

    The power is 20 squarings, each rounded downward.
    """
    power = math.nextafter(1 - t / 2**20, -math.inf)
    if power <= 0:
        return 1.0
    for _ in range(20):
        power = math.nextafter(power * power, 0.0)
    return min(1.0, math.nextafter(1 / math.nextafter(1 + power, 0.0), math.inf))


_UNIT_SLOPES: tuple[type[nn.Module], ...] = (
    *(ReLU, Clip, NoiseClip),
    *(nn.ReLU, nn.ReLU6, nn.Softshrink, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink),
    nn.LogSigmoid,
)
for _kind in _UNIT_SLOPES:
    register_slope(_kind, lambda _: (0.0, 1.0))
register_slope(MonotoneSpline, _spline)
register_slope(nn.Identity, lambda _: (1.0, 1.0))
register_slope(nn.Sigmoid, lambda _: (0.0, 0.25))
register_slope(nn.LeakyReLU, _leaky)
register_slope(nn.PReLU, _prelu)
register_slope(nn.ELU, _elu)
# The largest slope of SELU is scale * alpha = 1.7581 (Klambauer et al. 2017), at 0 from below.
register_slope(nn.SELU, lambda _: (0.0, 1.7582))
# The extreme slopes of x Phi(x) are at x = +-sqrt(2), those of x sigmoid(x) at x = +-2.3993...;
# rounded outward to three digits.
register_slope(nn.GELU, _gelu)
register_slope(nn.SiLU, lambda _: (-0.100, 1.100))
