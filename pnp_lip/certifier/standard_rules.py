"""Rules for torch's layers and for ours."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import nn

from pnp_lip.certifier.outward import add_up, divide_up, multiply_up
from pnp_lip.certifier.rules import Refusal, Settings, apply_rule, chain, register_rule
from pnp_lip.certifier.slopes import slope_interval
from pnp_lip.certifier.statement import (
    IDENTITY,
    Statement,
    averaged_with_identity,
    compose,
    lipschitz,
)
from pnp_lip.denoiser import LipschitzDenoiser
from pnp_lip.layers import ConvGradientStep, GradientStep
from pnp_lip.norms import NormBound, convolution_norm, matrix_norm, padding_factor
from pnp_lip.relaxation import Relaxed

__all__: list[str] = []


@register_rule(nn.Sequential)
def _sequential(module: nn.Module, name: str, settings: Settings) -> Statement:
    return chain(list(module.named_children()), name, settings)


@register_rule(LipschitzDenoiser)
def _denoiser(module: nn.Module, name: str, settings: Settings) -> Statement:
    prefix = f"{name}.layers" if name else "layers"
    return chain(list(cast(LipschitzDenoiser, module).layers.named_children()), prefix, settings)


@register_rule(Relaxed)
def _relaxed(module: nn.Module, name: str, settings: Settings) -> Statement:
    relaxed = cast(Relaxed, module)
    path = f"{name}.denoiser" if name else "denoiser"
    inner = apply_rule(relaxed.denoiser, path, settings)
    return averaged_with_identity(inner, float(relaxed.relaxation))


@register_rule(nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
def _permutation(module: nn.Module, name: str, settings: Settings) -> Statement:
    return lipschitz("permutation of entries", 1.0)


@register_rule(nn.Dropout, nn.Dropout2d, nn.Dropout3d)
def _dropout(module: nn.Module, name: str, settings: Settings) -> Statement:
    if module.training:
        raise Refusal(f"'{name}' is dropout in training mode: call eval() first")
    return IDENTITY


@register_rule(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def _batch_norm(module: nn.Module, name: str, settings: Settings) -> Statement:
    norm = cast(nn.BatchNorm2d, module)
    if norm.training or norm.running_var is None:
        raise Refusal(f"'{name}' normalises by the batch: call eval() and keep running statistics")
    variance = norm.running_var.double() + norm.eps
    gains = torch.ones_like(variance) if norm.weight is None else norm.weight.detach().double().abs()
    # Three correctly rounded operations: each is off by less than one part in 2**52.
    upper = float((gains / variance.sqrt()).max()) * (1 + 2.0**-49)
    return lipschitz("batch norm in eval mode", upper)


@register_rule(nn.Linear)
def _linear(module: nn.Module, name: str, settings: Settings) -> Statement:
    bound = matrix_norm(cast(nn.Linear, module).weight.detach(), gap=settings.gap)
    return _affine(bound, 1.0)


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
    return _affine(bound, _padding_factor(layer))


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


@register_rule(GradientStep, ConvGradientStep)
def _gradient_step(module: nn.Module, name: str, settings: Settings) -> Statement:
    r""":math:`x - \tau W^\top\sigma(Wx+b)` with slopes in [low, high]."""
    layer = cast(Any, module)
    low, high = slope_interval(layer.activation, f"{name}.activation")
    if low < 0:
        raise Refusal(f"'{name}': the activation decreases somewhere, the rule needs slope >= 0")
    weight = layer.weight.detach()
    dense = isinstance(module, GradientStep)
    bound = (
        matrix_norm(weight, gap=settings.gap) if dense else convolution_norm(weight, gap=settings.gap)
    )
    tau = float(layer.tau)
    step = multiply_up(multiply_up(abs(tau), high), multiply_up(bound.upper, bound.upper))
    return _euler_step(tau, step, bound)


def _euler_step(tau: float, step: float, bound: NormBound) -> Statement:
    r"""The Jacobian is symmetric with spectrum in :math:`[1 - t, 1]`, :math:`t = \tau s^2` (or in
    :math:`[1, 1 + t]` if the flow runs uphill)."""
    norms = {"norm_upper": bound.upper, "norm_lower": bound.lower}
    rule = "gradient step, tau |W|^2 <= " + f"{step:.6g}"
    if tau < 0 < step:
        return Statement("uphill " + rule, add_up(1.0, step), None, **norms)
    if step <= 2:
        return Statement(rule, 1.0, step / 2, **norms)
    return Statement(rule, max(math.nextafter(1.0, 2.0), add_up(step, -1.0)), None, **norms)


def _affine(bound: NormBound, factor: float) -> Statement:
    upper = multiply_up(bound.upper, factor)
    return lipschitz(bound.rule, upper, norm_upper=bound.upper, norm_lower=bound.lower)


def _padding_factor(layer: nn.Conv2d) -> float:
    return padding_factor(
        layer.padding_mode,
        layer.kernel_size,
        layer.padding,
        stride=layer.stride,
        dilation=layer.dilation,
    )
