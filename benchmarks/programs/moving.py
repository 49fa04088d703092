"""Steps that move, select, repeat, pad, pool or resize."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.programs.draw import Draw, Run, step

__all__: list[str] = []


@step("reshaped")
def _reshaped(draw: Draw, u: Tensor, w: Tensor) -> Run:
    shape = u.shape[1:]
    a, b = draw.axis(u), draw.axis(u)
    return draw.of(
        [lambda u, w: u.flatten(1).view(len(u), *shape), lambda u, w: u.transpose(a, b),
         lambda u, w: u.transpose(a, b).reshape(len(u), -1), lambda u, w: u.movedim(a, b),
         lambda u, w: u.unsqueeze(a).squeeze(a), lambda u, w: u.reshape(len(u), *shape[::-1]),
         lambda u, w: u.permute(0, *range(u.ndim - 1, 0, -1)), lambda u, w: u.flatten(1),
         lambda u, w: u.unflatten(a, (1, -1)).flatten(a, a + 1), lambda u, w: u.swapaxes(a, b)]
    )  # fmt: skip


@step("moved")
def _moved(draw: Draw, u: Tensor, w: Tensor) -> Run:
    a, b, n = draw.axis(u), draw.axis(u), draw.of([1, -1, 2])
    return draw.of(
        [lambda u, w: u.flip(a), lambda u, w: u.roll(n, a), lambda u, w: u.rot90(n, (a, b)),
         lambda u, w: u.tril(), lambda u, w: u.triu(n), lambda u, w: u.diagonal(0, a, b),
         lambda u, w: functional.pixel_unshuffle(u, 2), lambda u, w: functional.pixel_shuffle(u, 2),
         lambda u, w: functional.channel_shuffle(u, 2), lambda u, w: u.roll((1, n), (a, b))]
    )  # fmt: skip


@step("selected")
def _selected(draw: Draw, u: Tensor, w: Tensor) -> Run:
    a, side = draw.axis(u), 0
    side = u.shape[a]
    start, pace = draw.chance.randrange(side), draw.of([1, 2])
    every: Any = [slice(None)] * u.ndim
    every[a] = slice(start, None, pace)
    picked, wide = tuple(every), draw.of([-1, 0])
    return draw.of(
        [lambda u, w: u[picked], lambda u, w: u.narrow(a, start, side - start),
         lambda u, w: u.select(a, wide), lambda u, w: u.chunk(2, a)[wide],
         lambda u, w: u.split([1, side - 1], a)[wide], lambda u, w: u.unbind(a)[wide],
         lambda u, w: torch.cat(u.chunk(2, a)[::-1], a), lambda u, w: u[:, :, None],
         lambda u, w: torch.stack(u.unbind(a)[::-1], a), lambda u, w: u[..., start:]]
    )  # fmt: skip


@step("repeated")
def _repeated(draw: Draw, u: Tensor, w: Tensor) -> Run:
    n, a = draw.of([2, 3]), draw.axis(u)
    counts = [1] * u.ndim
    counts[a] = n
    return draw.of(
        [lambda u, w: u.repeat(counts), lambda u, w: u.tile(counts),
         lambda u, w: u.repeat_interleave(n, a), lambda u, w: u.unsqueeze(1).expand(-1, n, *u.shape[1:]),
         lambda u, w: u.unsqueeze(1) + torch.ones(n, *[1] * (u.ndim - 1)),
         lambda u, w: torch.cat([u] * n, a), lambda u, w: u.mean(a, keepdim=True).expand_as(u)]
    )  # fmt: skip


@step("padded")
def _padded(draw: Draw, u: Tensor, w: Tensor) -> Run:
    sides = draw.of([[1, 1], [2, 0], [1, 1] * (u.ndim - 2), [0, 2] + [1, 0] * (u.ndim - 3)])
    mode = draw.of(["constant", "circular", "reflect", "replicate"])
    crop = [-1, draw.of([0, 2])]
    return draw.of(
        [lambda u, w: functional.pad(u, sides, mode), lambda u, w: functional.pad(u, sides, mode),
         lambda u, w: functional.pad(u, sides, value=3.0), lambda u, w: functional.pad(u, crop)]
    )  # fmt: skip


@step("padded, then convolved")
def _padded_convolution(draw: Draw, u: Tensor, w: Tensor) -> Run:
    axes = u.ndim - 2
    sides = [draw.of([0, 1, 2])] * 2 * draw.of([axes, axes, 1])
    mode = draw.of(["circular", "reflect", "replicate"])
    held = draw.held(2, u.shape[1], *[draw.of([2, 3])] * axes)
    call: Any = {3: functional.conv1d, 4: functional.conv2d}[u.ndim]
    pace = draw.of([1, 1, 2])
    if draw.chance.random() < 0.2:

        def both(u: Tensor, w: Tensor) -> Tensor:
            padded = functional.pad(u, sides, mode)
            found: Tensor = call(padded, held.value) + padded.sum(1, keepdim=True).mean()
            return found

        return both
    return lambda u, w: call(functional.pad(u, sides, mode), held.value, stride=pace)


@step("pooled")
def _pooled(draw: Draw, u: Tensor, w: Tensor) -> Run:
    kinds: Any = {
        3: (functional.avg_pool1d, functional.max_pool1d, functional.adaptive_avg_pool1d,
            functional.adaptive_max_pool1d),
        4: (functional.avg_pool2d, functional.max_pool2d, functional.adaptive_avg_pool2d,
            functional.adaptive_max_pool2d),
    }  # fmt: skip
    average, largest, adaptive, adaptive_largest = kinds[u.ndim]
    size, pace = draw.of([2, 3]), draw.of([1, 2, 3])
    border, ceiling, include = draw.of([0, 1]), draw.of([True, False]), draw.of([True, False])
    apart, target = draw.of([1, 1, 2]), draw.of([1, 2, 3, 5])
    return draw.of(
        [lambda u, w: average(u, size, pace, border, ceiling, include),
         lambda u, w: average(u, size), lambda u, w: largest(u, size),
         lambda u, w: largest(u, size, pace, border, apart, ceiling),
         lambda u, w: adaptive(u, target), lambda u, w: adaptive_largest(u, target)]
    )  # fmt: skip


@step("resized")
def _resized(draw: Draw, u: Tensor, w: Tensor) -> Run:
    factor = draw.of([2, 3, 0.5, 1.5, 2.5, 0.4])
    smooth = {3: "linear", 4: "bilinear"}[u.ndim]
    mode = draw.of(["nearest", "nearest-exact", "area", smooth, smooth, "bicubic"])
    corners = draw.of([True, False]) if mode == smooth else None
    target = draw.of([2, 3, 5, 6, 8])
    return draw.of(
        [lambda u, w: functional.interpolate(u, scale_factor=factor, mode=mode, align_corners=corners),
         lambda u, w: functional.interpolate(u, size=target, mode=mode, align_corners=corners)]
    )  # fmt: skip


@step("reduced")
def _reduced(draw: Draw, u: Tensor, w: Tensor) -> Run:
    a, keep = draw.axis(u), draw.of([True, False])
    axes = list(range(1, u.ndim))
    return draw.of(
        [lambda u, w: u.sum(a, keepdim=keep), lambda u, w: u.mean(a, keepdim=keep),
         lambda u, w: u.amax(a, keepdim=keep), lambda u, w: u.amin(axes[1:], keepdim=keep),
         lambda u, w: u.max(a, keepdim=keep).values, lambda u, w: u.min(a).values,
         lambda u, w: u.mean(axes, keepdim=True), lambda u, w: u.sum(axes[-2:], keepdim=keep),
         lambda u, w: u + u.mean(a, keepdim=True), lambda u, w: u - u.sum(1, keepdim=True)]
    )  # fmt: skip
