"""The rule of our gradient steps."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from pnp_lip.certifier.digest import tensor_bytes
from pnp_lip.certifier.execution import Execution, sizes_of, step_execution
from pnp_lip.certifier.rules import Settings, register_rule
from pnp_lip.certifier.slopes import roundings_of, slope_interval
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.layers import ConvGradientStep, GradientStep
from pnp_lip.norms import NormBound, convolution_norm, matrix_norm
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import format_up, round_up

__all__: list[str] = []


@register_rule(GradientStep, ConvGradientStep, keeps_shape=True)
def _gradient_step(module: nn.Module, name: str, settings: Settings) -> Statement:
    r""":math:`x - \tau W^\top\sigma(Wx+b)` with slopes in [low, high]."""
    layer: Any = module
    low, high = slope_interval(layer.activation, f"{name}.activation" if name else "activation")
    if low < 0:
        raise Refusal(f"'{name}': the activation decreases somewhere, the rule needs slope >= 0")
    weight = layer.weight.detach()
    dense = isinstance(module, GradientStep)
    norm: Any = matrix_norm if dense else convolution_norm
    key = (tensor_bytes(weight), dense)
    bound: NormBound = settings.norm(key, lambda: norm(weight, gap=settings.gap))
    tau = float(layer.tau)
    step = Fraction(tau) * Fraction(high) * Fraction(bound.upper) ** 2
    statement = _euler_step(step, bound)
    return replace(statement, execution=_step_execution(layer, bound, statement.upper))


def _euler_step(step: Fraction, bound: NormBound) -> Statement:
    r"""The Jacobian is symmetric with spectrum in :math:`[1 - t, 1]`, :math:`t = \tau s^2`.

    For a negative ``t``, where the flow runs uphill, in :math:`[1, 1 - t]`.
    """
    rule = f"gradient step, tau |W|^2 <= {format_up(round_up(step))}"
    if step < 0:
        return lipschitz("uphill " + rule, round_up(1 - step), bound=bound)
    if step <= 2:
        return Statement(rule, 1.0, round_up(step / 2), bound=bound)
    return lipschitz(rule, round_up(step - 1), bound=bound)


def _step_execution(layer: Any, bound: NormBound, growth: float) -> Execution | None:
    roundings, tau = roundings_of(layer.activation), float(layer.tau)
    if roundings is None or tau < 0 or layer.weight.dtype != torch.float32:
        return None
    absolute, bias, terms = sizes_of(layer.weight, layer.bias)
    return step_execution(
        norm=bound.upper,
        absolute_norm=absolute,
        bias=bias,
        tau=tau,
        growth=growth,
        terms=terms,
        roundings=roundings,
    )
