"""Steps with weights: convolutions, matrices, gradient steps, norm layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.programs.draw import Draw, Run, step

__all__: list[str] = []

_CONVOLUTIONS: dict[int, Any] = {3: functional.conv1d, 4: functional.conv2d}
_TRANSPOSED: dict[int, Any] = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d}
_MODULES: dict[int, Any] = {3: nn.Conv1d, 4: nn.Conv2d}
_MODULES_TRANSPOSED: dict[int, Any] = {3: nn.ConvTranspose1d, 4: nn.ConvTranspose2d}


def _options(draw: Draw) -> dict[str, Any]:
    size = draw.of([1, 2, 3])
    return {
        "kernel_size": size,
        "stride": draw.of([1, 1, 1, 2, 3]),
        "padding": draw.of([0, 1, 1, 2]),
        "dilation": draw.of([1, 1, 2]),
        "bias": draw.of([True, False]),
    }


@step("convolution")
def _convolution(draw: Draw, u: Tensor, w: Tensor) -> Run:
    channels = u.shape[1]
    options = _options(draw)
    options["padding_mode"] = draw.of(["zeros", "zeros", "circular", "reflect", "replicate"])
    if draw.chance.random() < 0.2:
        options |= {"padding": "same", "stride": 1}
    groups = draw.of([1, channels])
    made = _MODULES[u.ndim](channels, draw.of([1, 2, 3]) * groups, groups=groups, **options)
    draw.keep(made)
    return lambda u, w: made(u)


@step("convolution that keeps the shape")
def _shaped(draw: Draw, u: Tensor, w: Tensor) -> Run:
    made = _MODULES[u.ndim](u.shape[1], u.shape[1], 3, padding=1)
    draw.keep(made)
    return lambda u, w: made(u)


@step("transposed convolution")
def _transposed(draw: Draw, u: Tensor, w: Tensor) -> Run:
    options = _options(draw)
    if options["stride"] > 1:
        options["output_padding"] = draw.of([0, 1])
    groups = draw.of([1, u.shape[1]])
    made = _MODULES_TRANSPOSED[u.ndim](
        u.shape[1], groups * draw.of([1, 2]), groups=groups, **options
    )
    draw.keep(made)
    return lambda u, w: made(u)


@step("convolution with a computed weight")
def _computed(draw: Draw, u: Tensor, w: Tensor) -> Run:
    channels, sides = u.shape[1], (3,) * (u.ndim - 2)
    held, call = draw.held(2, channels, *sides), _CONVOLUTIONS[u.ndim]
    change = draw.of(
        [lambda v: 0.3 * v, lambda v: v.flip(-1), lambda v: v[:1], lambda v: v - v.mean(),
         lambda v: v / v.abs().sum(), lambda v: torch.tanh(v)]
    )  # fmt: skip
    return lambda u, w: call(u, change(held.value), padding=1)


@step("matrix")
def _matrix(draw: Draw, u: Tensor, w: Tensor) -> Run:
    last = u.shape[-1]
    if draw.of([True, False]):
        made = draw.keep(nn.Linear(last, draw.of([2, last, 5]), bias=draw.of([True, False])))
        return lambda u, w: made(u)
    held = draw.held(last, last)
    return draw.of([lambda u, w: u @ held.value, lambda u, w: u.matmul(held.value.t())])


@step("matrix from the left")
def _left(draw: Draw, u: Tensor, w: Tensor) -> Run:
    held = draw.held(u.shape[-2], u.shape[-2])
    if u.ndim < 3:
        raise ValueError("mixes images")
    return lambda u, w: torch.matmul(held.value, u)


@step("dense layer on all entries")
def _dense(draw: Draw, u: Tensor, w: Tensor) -> Run:
    count = u[0].numel()
    made = nn.Linear(count, draw.of([count, 4]))
    draw.keep(made)
    if made.weight.shape[0] == count and draw.of([True, False]):
        return lambda u, w: made(u.flatten(1)).view(u.shape)
    return lambda u, w: made(u.reshape(len(u), -1))


@step("gradient step")
def _gradient(draw: Draw, u: Tensor, w: Tensor) -> Run:
    """Tied, or nearly so: another padding, another weight, an expansive nonlinearity, a long step."""
    if u.ndim == 2:
        return _dense_gradient(draw, u)
    channels, sides = u.shape[1], (3,) * (u.ndim - 2)
    held = draw.held(draw.of([1, 3]), channels, *sides, scale=0.2)
    second = draw.of([lambda v: v, lambda v: v, lambda v: v, lambda v: -v, lambda v: v.flip(-1)])
    sigma, tau = _sigma(draw), draw.of([0.5, 1.0, 2.0, 8.0, -1.0])
    first = draw.of([{"padding": 1}, {"padding": 1}, {"padding": 2, "dilation": 2}])
    then = first if draw.chance.random() < 0.8 else {"padding": 1}
    call, back = _CONVOLUTIONS[u.ndim], _TRANSPOSED[u.ndim]

    def run(u: Tensor, w: Tensor) -> Tensor:
        found: Tensor = u - tau * back(
            sigma(call(u, held.value, **first)), second(held.value), **then
        )
        return found

    return run


def _dense_gradient(draw: Draw, u: Tensor) -> Run:
    held = draw.held(4, u.shape[1], scale=0.3)
    sigma, tau = _sigma(draw), draw.of([0.5, 1.0, 2.0, 8.0])
    return lambda u, w: u - tau * (sigma(functional.linear(u, held.value)) @ held.value)


def _sigma(draw: Draw) -> Any:
    return draw.of(
        [torch.relu, torch.tanh, torch.sigmoid, torch.abs, torch.sin, functional.gelu,
         lambda z: functional.leaky_relu(z, 3.0), lambda z: -torch.relu(z), lambda z: z,
         lambda z: torch.relu(z) * torch.tensor(0.5), lambda z: z.roll(1, 1), lambda z: z.flip(-1)]
    )  # fmt: skip


@step("batch norm in eval mode")
def _batch_norm(draw: Draw, u: Tensor, w: Tensor) -> Run:
    kinds: dict[int, Any] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    made = kinds[u.ndim](u.shape[1], eps=draw.of([1e-5, 0.2]), affine=draw.of([True, False]))
    made.running_var = torch.rand(u.shape[1]) + 0.1
    made.running_mean = torch.randn(u.shape[1])
    if made.affine:
        made.weight.data = torch.randn(u.shape[1])
    draw.keep(made)
    return lambda u, w: made(u)


@step("norm by its own statistics")
def _statistics(draw: Draw, u: Tensor, w: Tensor) -> Run:
    made = draw.of([nn.GroupNorm(1, u.shape[1]), nn.LayerNorm(u.shape[-1])])
    draw.keep(made)
    return lambda u, w: made(u)
