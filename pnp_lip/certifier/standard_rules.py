"""Rules for torch's layers with weights and for gradient steps."""

from __future__ import annotations

import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, nn

from pnp_lip.certifier.execution import (
    Execution,
    affine_execution,
    step_execution,
)
from pnp_lip.certifier.rules import Settings, chain, register_rule
from pnp_lip.certifier.slopes import roundings_of, slope_interval
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.layers import ConvGradientStep, GradientStep
from pnp_lip.norms import NormBound, convolution_norm, matrix_norm, padding_factor
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import format_up, multiply_up, round_up, sqrt_up

__all__: list[str] = []


@register_rule(nn.Sequential)
def _sequential(module: nn.Module, name: str, settings: Settings) -> Statement:
    # Not named_children(), which lists a module that is applied twice only once.
    return chain(cast(Any, module)._modules.items(), name, settings)


@register_rule(nn.Dropout, nn.Dropout2d, nn.Dropout3d, keeps_shape=True)
def _dropout(module: nn.Module, name: str, settings: Settings) -> Statement:
    if module.training:
        raise Refusal(f"'{name}' is dropout in training mode: call eval() first")
    return Statement("dropout in eval mode, the identity", 1.0, 0.0, execution=Execution.exact())


@register_rule(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, keeps_shape=True)
def _batch_norm(module: nn.Module, name: str, settings: Settings) -> Statement:
    r"""Entrywise with slopes :math:`g_c/\sqrt{v_c + \epsilon}`."""
    norm = cast(nn.BatchNorm2d, module)
    if norm.training or norm.running_var is None:
        raise Refusal(f"'{name}' normalises by the batch: call eval() and keep running statistics")
    variance = norm.running_var.double() + norm.eps
    if not (variance > 0).all():
        raise Refusal(f"'{name}' has a running variance that is not positive")
    gains = (
        torch.ones_like(variance) if norm.weight is None else norm.weight.detach().double().abs()
    )
    # Three correctly rounded operations: each is off by less than one part in 2**52.
    upper = float((gains / variance.sqrt()).max()) * (1 + 2.0**-49)
    return lipschitz("batch norm in eval mode", upper)


@register_rule(nn.Linear)
def _linear(module: nn.Module, name: str, settings: Settings) -> Statement:
    layer = cast(nn.Linear, module)
    statement = _affine(matrix_norm(layer.weight.detach(), gap=settings.gap), 1.0)
    return replace(statement, execution=_affine_execution(layer, statement.upper, 1.0))


@register_rule(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _convolution(module: nn.Module, name: str, settings: Settings) -> Statement:
    layer = cast(nn.Conv2d, module)
    bound = convolution_norm(
        layer.weight.detach(),
        stride=layer.stride,
        dilation=layer.dilation,
        groups=layer.groups,
        gap=settings.gap,
    )
    factor = padding_factor(
        layer.padding_mode,
        layer.kernel_size,
        layer.padding,
        stride=layer.stride,
        dilation=layer.dilation,
    )
    if factor > 1:
        warnings.warn(
            f"'{name}': {layer.padding_mode} padding multiplies the bound by {factor:.4g}; zero "
            f"padding costs nothing",
            stacklevel=2,
        )
    statement = _affine(bound, factor)
    if _adds_pixels(layer):
        return statement
    return replace(statement, execution=_affine_execution(layer, statement.upper, factor))


@register_rule(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _transposed(module: nn.Module, name: str, settings: Settings) -> Statement:
    layer = cast(nn.ConvTranspose2d, module)
    bound = convolution_norm(
        layer.weight.detach(),
        stride=layer.stride,
        dilation=layer.dilation,
        groups=layer.groups,
        transposed=True,
        gap=settings.gap,
    )
    return _affine(bound, 1.0)


@register_rule(GradientStep, ConvGradientStep, keeps_shape=True)
def _gradient_step(module: nn.Module, name: str, settings: Settings) -> Statement:
    r""":math:`x - \tau W^\top\sigma(Wx+b)` with slopes in [low, high]."""
    layer = cast(Any, module)
    low, high = slope_interval(layer.activation, f"{name}.activation" if name else "activation")
    if low < 0:
        raise Refusal(f"'{name}': the activation decreases somewhere, the rule needs slope >= 0")
    weight = layer.weight.detach()
    dense = isinstance(module, GradientStep)
    norm = matrix_norm if dense else convolution_norm
    bound: NormBound = norm(weight, gap=settings.gap)
    tau = float(layer.tau)
    step = Fraction(tau) * Fraction(high) * Fraction(bound.upper) ** 2
    statement = _euler_step(step, bound)
    return replace(statement, execution=_step_execution(layer, bound, statement.upper))


def _euler_step(step: Fraction, bound: NormBound) -> Statement:
    r"""The Jacobian is symmetric with spectrum in :math:`[1 - t, 1]`, :math:`t = \tau s^2` (or in
    :math:`[1, 1 - t]` for a negative ``t``, where the flow runs uphill)."""
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
    taps = _taps(layer)
    rows, columns, size = taps.shape
    return step_execution(
        norm=bound.upper,
        absolute_norm=_absolute_norm(taps),
        bias=_bias_norm(layer),
        tau=tau,
        growth=growth,
        terms=(columns * size, rows * size),
        roundings=roundings,
    )


def _affine_execution(layer: Any, norm: float, factor: float) -> Execution | None:
    """Of a dense or convolutional layer that adds no pixels; ``factor`` is that of its padding."""
    if layer.weight.dtype != torch.float32:
        return None
    taps = _taps(layer)
    return affine_execution(
        norm=norm,
        absolute_norm=multiply_up(factor, _absolute_norm(taps)),
        bias=_bias_norm(layer),
        terms=taps.shape[1] * taps.shape[2],
    )


def _adds_pixels(layer: nn.Conv2d) -> bool:
    """Whether the responses may have more pixels than the image."""
    if isinstance(layer.padding, str):
        return False
    extents = zip(layer.padding, layer.dilation, layer.kernel_size, strict=True)
    return any(2 * p > d * (k - 1) for p, d, k in extents)


def _taps(layer: Any) -> Tensor:
    """The weight as ``[rows, columns, taps]`` in float64."""
    weight: Tensor = layer.weight.detach().double()
    return weight.flatten(2) if weight.ndim > 2 else weight[..., None]


def _bias_norm(layer: Any) -> float:
    bias = [] if layer.bias is None else layer.bias.detach().tolist()
    return sqrt_up(sum((Fraction(b) ** 2 for b in bias), Fraction(0)))


def _absolute_norm(taps: Tensor) -> float:
    r"""At least :math:`\||W|\|`: of the matrix of tap sums, because
    :math:`|\hat w_{ij}(\omega)| \le \sum_a |w_{ij}(a)|`, and :math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`."""
    sums = taps.abs().sum(2)
    slack = 1 + Fraction(1, 2**30)  # float64 sums of fewer than 2**20 terms
    largest = Fraction(float(sums.sum(0).max())) * Fraction(float(sums.sum(1).max()))
    return sqrt_up(largest * slack)


def _affine(bound: NormBound, factor: float) -> Statement:
    return lipschitz(bound.rule, multiply_up(bound.upper, factor), bound=bound)
