"""The interval in which the slope of a scalar nonlinearity lies."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pnp_lip.certifier.rules import Refusal, Settings, register_rule
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.layers import Clip, MonotoneSpline, NoiseClip, ReLU

__all__ = ["register_slope", "slope_interval"]

Interval = tuple[float, float]
_SLOPES: dict[type[nn.Module], Callable[[nn.Module], Interval]] = {}


def register_slope(kind: type[nn.Module], interval: Callable[[nn.Module], Interval]) -> None:
    """Declare that modules of exactly this class act entrywise with a slope in ``interval(module)``."""
    _SLOPES[kind] = interval
    register_rule(kind)(_entrywise)


def slope_interval(module: nn.Module, name: str) -> Interval:
    """``(low, high)`` such that every difference quotient of the nonlinearity lies between them.

    Raises:
        Refusal: a nonlinearity nobody has declared.
    """
    if type(module) not in _SLOPES:
        raise Refusal(
            f"no slope is known for {type(module).__qualname__} at '{name}': declare one with "
            f"pnp_lip.certifier.register_slope"
        )
    return _SLOPES[type(module)](module)


def _entrywise(module: nn.Module, name: str, settings: Settings) -> Statement:
    low, high = slope_interval(module, name)
    rule = f"entrywise, slope in [{low:g}, {high:g}]"
    if -1 <= low and high <= 1:
        return Statement(rule, max(-low, high, 0.0), (1 - low) / 2)
    return lipschitz(rule, max(-low, high))


def _leaky(module: nn.Module) -> Interval:
    slope = float(module.negative_slope)  # type: ignore[arg-type]
    return min(slope, 1.0), max(slope, 1.0)


def _gelu(module: nn.Module) -> Interval:
    if module.approximate != "none":
        raise Refusal("GELU's tanh approximation has no declared slope: use approximate='none'")
    return -0.130, 1.130


for _kind in (ReLU, Clip, NoiseClip, MonotoneSpline, nn.ReLU, nn.ReLU6, nn.Softshrink):
    register_slope(_kind, lambda _: (0.0, 1.0))
for _kind in (nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink, nn.LogSigmoid):
    register_slope(_kind, lambda _: (0.0, 1.0))
register_slope(nn.Identity, lambda _: (1.0, 1.0))
register_slope(nn.Sigmoid, lambda _: (0.0, 0.25))
register_slope(nn.LeakyReLU, _leaky)
# The extreme slopes of x Phi(x) are at x = +-sqrt(2), those of x sigmoid(x) at x = +-2.3993...;
# rounded outward to three digits.
register_slope(nn.GELU, _gelu)
register_slope(nn.SiLU, lambda _: (-0.100, 1.100))
