"""Steps that act on single entries: nonlinearities with their arguments, factors, masks, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.programs.draw import Draw, Run, step

__all__ = ["nonlinearity"]

_Map = Callable[[Tensor], Tensor]


def nonlinearity(draw: Draw, u: Tensor) -> _Map:
    """One of the scalar functions, with arguments that are not the defaults where it has some."""
    a, b = draw.of([0.2, 2.5, -0.5, 1.0]), draw.of([0.3, 1.0, 2.0])
    plain: list[Any] = [
        *(torch.relu, torch.sigmoid, torch.tanh, torch.abs, torch.sin, torch.cos, torch.atan),
        *(torch.asinh, torch.erf, functional.relu6, functional.selu, functional.silu),
        *(functional.mish, functional.hardswish, functional.hardsigmoid, functional.logsigmoid),
        *(functional.tanhshrink, functional.softsign),
    ]
    with_arguments: list[_Map] = [
        lambda t: functional.leaky_relu(t, a),
        lambda t: functional.elu(t, a),
        lambda t: functional.celu(t, b),
        lambda t: functional.gelu(t, approximate="tanh"),
        lambda t: functional.gelu(t),
        lambda t: functional.softplus(t, b),
        lambda t: functional.hardtanh(t, -b, 0.5 * b),
        lambda t: functional.softshrink(t, b),
        lambda t: torch.clamp(t, -b, a),
        lambda t: t.clamp_min(a),
        lambda t: functional.threshold(t, 0.1, a),
        lambda t: functional.hardshrink(t, b),
    ]
    modules: list[nn.Module] = [
        *(nn.ReLU(), nn.LeakyReLU(a), nn.ELU(a), nn.PReLU(), nn.CELU(b), nn.Softplus(b)),
        *(nn.GELU(), nn.SiLU(), nn.Hardtanh(-1.0, b), nn.Softshrink(b), nn.SELU(), nn.RReLU()),
        *(nn.Softsign(), nn.Tanhshrink(), nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.Identity()),
    ]
    chosen: Any = draw.of([*plain, *with_arguments, *modules])
    if isinstance(chosen, nn.Module):
        draw.keep(chosen)
        if isinstance(chosen, nn.PReLU):
            chosen.weight.data = torch.randn(1) * 2
    return chosen


@step("nonlinearity")
def _nonlinearity(draw: Draw, u: Tensor, w: Tensor) -> Run:
    sigma = nonlinearity(draw, u)
    return lambda u, w: sigma(u)


@step("slopes by channel")
def _prelu(draw: Draw, u: Tensor, w: Tensor) -> Run:
    held = draw.held(u.shape[1])
    return lambda u, w: functional.prelu(u, held.value)


@step("multiple")
def _multiple(draw: Draw, u: Tensor, w: Tensor) -> Run:
    c = draw.factor()
    gate = draw.held(1)
    return draw.of(
        [lambda u, w: c * u, lambda u, w: u / c, lambda u, w: -u, lambda u, w: u.mul(c).sub(1.5),
         lambda u, w: torch.sigmoid(gate.value) * u, lambda u, w: u * torch.tensor(c),
         lambda u, w: 2.0 - c * u, lambda u, w: torch.rsub(u, c, alpha=2)]
    )  # fmt: skip


@step("factor by entry")
def _factors(draw: Draw, u: Tensor, w: Tensor) -> Run:
    """Of the shape of the tensor, or broadcast in either direction."""
    shape = list(u.shape[1:])
    for axis in range(len(shape)):
        if draw.chance.random() < 0.4:
            shape[axis] = 1
    held = draw.held(*shape)
    wide = draw.held(draw.of([2, 3]), *[1] * (u.ndim - 1))
    return draw.of(
        [lambda u, w: u * held.value, lambda u, w: held.value * u, lambda u, w: u + held.value,
         lambda u, w: u / (held.value.abs() + 0.5), lambda u, w: held.value - u,
         lambda u, w: u[:, None] * wide.value, lambda u, w: u[:, None] + wide.value]
    )  # fmt: skip


@step("mask")
def _mask(draw: Draw, u: Tensor, w: Tensor) -> Run:
    mask = torch.rand(u.shape[1:]) > 0.5
    row = torch.rand(u.shape[-1]) > 0.5
    c = draw.factor()
    return draw.of(
        [lambda u, w: torch.where(mask, u, c * u), lambda u, w: u.masked_fill(mask, c),
         lambda u, w: torch.where(row, u, c * w), lambda u, w: torch.where(row, u, 0.5),
         lambda u, w: torch.where(mask, 0.5, u), lambda u, w: u * mask,
         lambda u, w: torch.where(u > 0, u, c * u)]
    )  # fmt: skip


@step("limits by entry")
def _limits(draw: Draw, u: Tensor, w: Tensor) -> Run:
    held = draw.held(*u.shape[1:])
    return draw.of(
        [lambda u, w: torch.clamp(u, max=held.value), lambda u, w: torch.maximum(u, held.value),
         lambda u, w: torch.minimum(held.value, u), lambda u, w: torch.clamp(u, max=w.mean())]
    )  # fmt: skip


@step("softmax")
def _softmax(draw: Draw, u: Tensor, w: Tensor) -> Run:
    axis, c = draw.axis(u), draw.of([1.0, 5.0, -2.0])
    return lambda u, w: torch.softmax(c * u, axis)


@step("type there and back")
def _types(draw: Draw, u: Tensor, w: Tensor) -> Run:
    return draw.of([lambda u, w: u.double().to(u.dtype), lambda u, w: u.type_as(w).contiguous()])
