"""Rules for functions called inside a traced network: which module computes the same map.

A rule is called with the function's arguments *after* the tensor that depends on the input, and
returns a module (bounded by the rule of its class) or a statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.certifier.resampling_rules import Rearranged, Subset
from pnp_lip.certifier.statement import Statement
from pnp_lip.plain_modules import Refusal

__all__ = ["FunctionRule", "function_rule", "register_function_rule"]

Answer = nn.Module | Statement


@dataclass(frozen=True)
class FunctionRule:
    """What to do with a call; ``keeps_shape`` matters only where the answer is a statement."""

    answer: Callable[..., Answer]
    keeps_shape: bool


_RULES: dict[Any, FunctionRule] = {}


def register_function_rule(
    *targets: Callable[..., Any] | str, keeps_shape: bool = False
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Decorator: this function bounds calls of ``targets`` in networks without a rule of their own.

    Args:
        targets: functions (``torch.relu``), or names of methods of tensors (``"relu"``).
        keeps_shape: the result has the shape of the tensor, if the answer is a statement.

    The decorated function takes the call's arguments after the tensor, and returns a module that
    computes the same map or a :class:`~pnp_lip.certifier.statement.Statement`. It is trusted.
    """

    def add(answer: Callable[..., Answer]) -> Callable[..., Answer]:
        for target in targets:
            _RULES[target] = FunctionRule(answer, keeps_shape)
        return answer

    return add


def function_rule(target: Any) -> FunctionRule | None:
    """The rule of a function or method name, if there is one."""
    return _RULES.get(target)


def _entrywise(kind: Callable[..., nn.Module], *targets: Any) -> None:
    def answer(*args: Any, inplace: bool = False, **kwargs: Any) -> nn.Module:
        return kind(*args, **kwargs)

    register_function_rule(*targets)(answer)


_entrywise(nn.ReLU, torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_")
_entrywise(nn.Tanh, torch.tanh, functional.tanh, "tanh", "tanh_", torch.tanh_)
_entrywise(nn.Sigmoid, torch.sigmoid, functional.sigmoid, "sigmoid", "sigmoid_", torch.sigmoid_)
_entrywise(nn.LeakyReLU, functional.leaky_relu, functional.leaky_relu_)
_entrywise(nn.ReLU6, functional.relu6)
_entrywise(nn.Hardtanh, functional.hardtanh, functional.hardtanh_)
_entrywise(nn.ELU, functional.elu, functional.elu_)
_entrywise(nn.SELU, functional.selu, torch.selu)
_entrywise(nn.GELU, functional.gelu)
_entrywise(nn.SiLU, functional.silu)
_entrywise(nn.Softsign, functional.softsign)
_entrywise(nn.Softshrink, functional.softshrink)


@register_function_rule(torch.clamp, torch.clip, "clamp", "clip", "clamp_", "clip_", torch.clamp_)
def _clamp(min: Any = None, max: Any = None) -> Answer:
    if not all(bound is None or isinstance(bound, (int, float)) for bound in (min, max)):
        raise Refusal("clamp with tensors for bounds has no rule: use numbers")
    return nn.ReLU()  # slopes in [0, 1] as well


@register_function_rule(functional.dropout, functional.dropout2d)
def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> Answer:
    module = nn.Dropout(p)
    return module.train(training)


@register_function_rule(functional.linear)
def _linear(weight: Tensor, bias: Tensor | None = None) -> Answer:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    return _with_weight(module, weight)


def _convolution(kind: Callable[..., nn.Module]) -> Callable[..., Answer]:
    def answer(
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Answer:
        sizes: Any = (weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]))
        return _with_weight(kind(*sizes, stride, padding, dilation, groups, bias=False), weight)

    return answer


def _transposed(
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Answer:
    module = nn.ConvTranspose2d(
        weight.shape[0],
        weight.shape[1] * groups,
        (weight.shape[2], weight.shape[3]),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        bias=False,
        dilation=dilation,
    )
    return _with_weight(module, weight)


for _function, _kind in (
    (functional.conv1d, nn.Conv1d),
    (functional.conv2d, nn.Conv2d),
    (functional.conv3d, nn.Conv3d),
):
    register_function_rule(_function)(_convolution(_kind))
register_function_rule(functional.conv_transpose2d)(_transposed)


def _with_weight(module: nn.Module, weight: Tensor) -> nn.Module:
    if not isinstance(weight, Tensor):
        raise Refusal("the weight depends on the input or on an argument: register a rule")
    module.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return module


register_function_rule(functional.pixel_shuffle, torch.pixel_shuffle)(nn.PixelShuffle)
register_function_rule(functional.pixel_unshuffle, torch.pixel_unshuffle)(nn.PixelUnshuffle)
register_function_rule(functional.avg_pool2d)(nn.AvgPool2d)
register_function_rule(functional.max_pool2d)(nn.MaxPool2d)
register_function_rule(functional.adaptive_avg_pool2d)(nn.AdaptiveAvgPool2d)
for _target in (torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze,
                torch.unsqueeze, "flatten", "reshape", "view", "permute", "transpose", "squeeze",
                "unsqueeze", "unflatten", torch.chunk, torch.split, "chunk",
                "split"):  # fmt: skip
    register_function_rule(_target)(Rearranged)


@register_function_rule("contiguous", "clone", torch.clone, "float", "double")
def _same(*args: Any, **kwargs: Any) -> Answer:
    return nn.Identity()


@register_function_rule(torch.mean, "mean")
def _mean(*args: Any, **kwargs: Any) -> Answer:
    return Subset("mean over axes, |mean| <= |x| / sqrt(n)")


@register_function_rule(functional.interpolate)
def _interpolate(
    size: Any = None, scale_factor: Any = None, mode: str = "nearest", **kwargs: Any
) -> Answer:
    return nn.Upsample(size, scale_factor, mode)


@register_function_rule(functional.pad)
def _pad(pad: Any, mode: str = "constant", value: float | None = None) -> Answer:
    sides = [int(side) for side in pad]
    kinds: dict[str, Callable[..., nn.Module]] = {
        "constant": nn.ZeroPad2d,
        "circular": nn.CircularPad2d,
        "reflect": nn.ReflectionPad2d,
        "replicate": nn.ReplicationPad2d,
    }
    if len(sides) == 2:
        sides = [*sides, 0, 0]
    if len(sides) != 4 or mode not in kinds:
        raise Refusal(f"pad={tuple(pad)} with mode '{mode}' has no rule: two axes at most")
    return kinds[mode](tuple(sides))
