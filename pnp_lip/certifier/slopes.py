"""The interval in which the slope of a scalar nonlinearity lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from torch import nn

from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.rules import Settings, register_rule, undone
from pnp_lip.certifier.statement import Statement, symmetric
from pnp_lip.layers import Clip, NoiseClip, ReLU
from pnp_lip.plain_modules import Refusal, plain_type, require_plain

__all__ = ["register_slope", "roundings_of", "slope_interval"]

Interval = tuple[float, float]
_SLOPES: dict[type[nn.Module], Callable[[nn.Module], Interval]] = undone({})


def register_slope(kind: type[nn.Module], interval: Callable[[nn.Module], Interval]) -> None:
    """Declare that modules of exactly this class act entrywise with a slope in ``interval(module)``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from pnp_lip.certifier import local_rules, prove
    >>> class Half(nn.Module):
    ...     def forward(self, x):
    ...         return x - 0.5 * torch.sin(x)
    >>> with local_rules():
    ...     register_slope(Half, lambda module: (0.5, 1.5))
    ...     print(prove(Half()).upper)
    1.5
    """
    _SLOPES[kind] = interval
    register_rule(kind, keeps_shape=True)(_entrywise)


def slope_interval(module: nn.Module, name: str) -> Interval:
    """``(low, high)`` such that every difference quotient of the nonlinearity lies between them.

    Raises
    ------
    Refusal
        a nonlinearity nobody has declared, hooks, or parameters that are not finite.
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
    statement = symmetric(rule, Fraction(low), Fraction(high))
    exact = roundings_of(module) == 0
    return replace(statement, execution=Execution.exact()) if exact else statement


for _kind in (ReLU, Clip, NoiseClip):
    register_slope(_kind, lambda _: (0.0, 1.0))
# Written as quotients or differences, which are not seen to have these slopes.
register_slope(nn.Softsign, lambda _: (0.0, 1.0))
register_slope(nn.Tanhshrink, lambda _: (0.0, 1.0))
