"""Rules for layers without weights that move, repeat, average or select samples."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, nn

from pnp_lip.certifier.rules import Settings, register_rule
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.norms import convolution_norm, padding_factor
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import multiply_up, round_up, sqrt_up

__all__ = ["Rearranged", "Subset"]


class Rearranged(nn.Module):
    """Stands for a call that only permutes the entries of its tensor; arguments are not needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError("stands for a call in a graph, is never executed")


class Subset(nn.Module):
    """Stands for a linear call of norm at most 1."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError("stands for a call in a graph, is never executed")


@register_rule(
    nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, Rearranged
)
def _permutation(module: nn.Module, name: str, settings: Settings) -> Statement:
    return lipschitz("permutation of entries", 1.0)


@register_rule(Subset)
def _subset(module: nn.Module, name: str, settings: Settings) -> Statement:
    return lipschitz(cast(Subset, module).reason, 1.0)


@register_rule(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def _average_pool(module: nn.Module, name: str, settings: Settings) -> Statement:
    """A convolution of every channel with ones, divided by the number of taps."""
    pool: Any = module
    axes = int(type(module).__name__[-2])
    size, stride = _tuple(pool.kernel_size, axes), _tuple(pool.stride, axes)
    padded = any(_tuple(pool.padding, axes))
    if pool.ceil_mode or (padded and not pool.count_include_pad):
        raise Refusal(
            f"'{name}' averages over fewer samples at the border: use ceil_mode=False and, with "
            f"padding, count_include_pad=True"
        )
    divisor = getattr(pool, "divisor_override", None) or math.prod(size)
    ones = torch.ones(1, 1, *size, dtype=torch.float64)
    bound = convolution_norm(ones, stride=stride, gap=settings.gap)
    return lipschitz("average pooling", round_up(Fraction(bound.upper) / abs(Fraction(divisor))))


@register_rule(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
def _max_pool(module: nn.Module, name: str, settings: Settings) -> Statement:
    """``|max_W a - max_W b|^2 <= sum_W (a - b)^2``, and a sample lies in at most ``m`` windows."""
    pool: Any = module
    axes = int(type(module).__name__[-2])
    if pool.return_indices:
        raise Refusal(f"'{name}' returns indices, which jump: use return_indices=False")
    windows = 1
    for k, s, d in zip(
        _tuple(pool.kernel_size, axes),
        _tuple(pool.stride, axes),
        _tuple(pool.dilation, axes),
        strict=True,
    ):
        windows *= min(k, -(-(d * (k - 1) + 1) // s))
    return lipschitz(f"max pooling, at most {windows} windows a sample", sqrt_up(Fraction(windows)))


@register_rule(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
def _adaptive(module: nn.Module, name: str, settings: Settings) -> Statement:
    size = cast(Any, module).output_size
    if any(side != 1 for side in (size if isinstance(size, tuple) else (size,))):
        raise Refusal(f"'{name}' pools to {size}, which repeats samples of small images: pool to 1")
    return lipschitz("mean over an image, 1/sqrt(pixels)", 1.0)


@register_rule(nn.Upsample, nn.UpsamplingNearest2d)
def _upsample(module: nn.Module, name: str, settings: Settings) -> Statement:
    """Every sample is repeated ``prod(scale)`` times."""
    layer: Any = module
    factors = layer.scale_factor
    if not isinstance(factors, tuple):
        # A single number acts on one to three axes; a tuple says on how many.
        factors = (factors,) * (2 if type(module) is nn.UpsamplingNearest2d else 3)
    whole = all(f is not None and float(f).is_integer() and f >= 1 for f in factors)
    if layer.mode != "nearest" or layer.size is not None or not whole:
        raise Refusal(
            f"'{name}' resizes by mode '{layer.mode}', size {layer.size}, factor "
            f"{layer.scale_factor}: there is a rule for mode 'nearest' with a whole factor"
        )
    copies = math.prod(int(factor) for factor in factors)
    return lipschitz(f"each sample at most {copies} times", sqrt_up(Fraction(copies)))


@register_rule(nn.ZeroPad2d)
def _zero_pad(module: nn.Module, name: str, settings: Settings) -> Statement:
    return lipschitz("zero padding", 1.0)


@register_rule(nn.CircularPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)
def _repeating_pad(module: nn.Module, name: str, settings: Settings) -> Statement:
    """Counted for the larger of two sides: more padding never means fewer copies."""
    modes: dict[type, str] = {
        nn.CircularPad2d: "circular",
        nn.ReflectionPad2d: "reflect",
        nn.ReplicationPad2d: "replicate",
    }
    left, right, top, bottom = cast(Any, module).padding
    if min(left, right, top, bottom) < 0:
        raise Refusal(f"'{name}' crops and repeats at once: no rule for negative padding")
    mode = modes[type(module)]
    factor = multiply_up(
        padding_factor(mode, (1,), (max(top, bottom),)),
        padding_factor(mode, (1,), (max(left, right),)),
    )
    return lipschitz(f"{mode} padding", factor)


def _tuple(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)
