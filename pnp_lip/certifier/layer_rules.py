"""The rules of our layers: gradient steps, and scalar nonlinearities with the interval of their slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from pnp_lip.certifier.execution import EXACT, sizes_of, step_execution
from pnp_lip.certifier.operators import OPERATORS
from pnp_lip.certifier.rules import RULES, Settings, register_rule
from pnp_lip.certifier.statement import Statement, symmetric
from pnp_lip.layers import Clip, ConvGradientStep, GradientStep, NoiseClip, ReLU
from pnp_lip.plain_modules import Refusal, plain_type, require_plain
from pnp_lip.rounding import format_up, round_up

__all__ = ["local_rules", "register_slope", "slope_interval"]

_SLOPES: dict[type[nn.Module], Callable[[nn.Module], tuple[float, float]]] = {}


def register_slope(
    kind: type[nn.Module], interval: Callable[[nn.Module], tuple[float, float]]
) -> None:
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


def slope_interval(module: nn.Module, name: str) -> tuple[float, float]:
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
            f"'{name}' is a {kind.__qualname__}, of which no slope is known: see register_slope"
        )
    return _SLOPES[kind](module)


def _roundings_of(module: nn.Module) -> int | None:
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
    return replace(statement, execution=EXACT) if _roundings_of(module) == 0 else statement


# The last two are written as quotients or differences, which are not seen to have these slopes.
for _kind in (ReLU, Clip, NoiseClip, nn.Softsign, nn.Tanhshrink):
    register_slope(_kind, lambda _: (0.0, 1.0))


@register_rule(GradientStep, ConvGradientStep, keeps_shape=True)
def _gradient_step(layer: Any, name: str, settings: Settings) -> Statement:
    r""":math:`x - \tau W^\top\sigma(Wx+b)` with slopes in [low, high]."""
    low, high = slope_interval(layer.activation, f"{name}.activation".strip("."))
    if low < 0:
        raise Refusal("has an activation that decreases somewhere: the rule needs slopes >= 0")
    weight, tau = layer.weight.detach(), float(layer.tau)
    bound = settings.norm(weight)
    # The Jacobian is symmetric with spectrum in [1 - t, 1]; in [1, 1 - t] where the flow runs uphill.
    step = Fraction(tau) * Fraction(high) * Fraction(bound.upper) ** 2
    rule = f"{'uphill ' * (step < 0)}gradient step, tau |W|^2 <= {format_up(round_up(step))}"
    statement = replace(symmetric(rule, *sorted((Fraction(1), 1 - step))), bound=bound)
    roundings = _roundings_of(layer.activation)
    if roundings is None or tau < 0 or weight.dtype != torch.float32:
        return statement
    sizes, growth = sizes_of(weight, layer.bias), statement.upper
    execution = step_execution(
        norm=bound.upper, sizes=sizes, tau=tau, growth=growth, roundings=roundings
    )
    return replace(statement, execution=execution)


@contextmanager
def local_rules() -> Iterator[None]:
    """Undo, at the end of the block, every rule that was registered in it.

    That is every rule of modules, slopes and operators.

    Examples
    --------
    >>> from torch import nn
    >>> from pnp_lip.certifier import Refusal, local_rules, prove, register_slope
    >>> class Sign(nn.Module):
    ...     def forward(self, x):
    ...         return x.sign()
    >>> with local_rules():
    ...     register_slope(Sign, lambda module: (0.0, 1.0))  # wrong, and forgotten
    >>> prove(Sign())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pnp_lip.plain_modules.Refusal: ...
    """
    registries: list[dict[Any, Any]] = [RULES, OPERATORS, _SLOPES]
    before = [dict(registry) for registry in registries]
    try:
        yield
    finally:
        for registry, rules in zip(registries, before, strict=True):
            registry.clear()
            registry.update(rules)
