r"""Padding, pooling and interpolation.

An average over windows is a matrix ``A`` of nonnegative entries: :math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch

from pnp_lip.checker.composition import of_linear, root_up
from pnp_lip.checker.padding import copies_of
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Value, equal_sizes
from pnp_lip.checker.weighted import padding_left_to_convolutions

__all__: list[str] = []


@rule("pad.default")
def _pad(op: Op, x: Any, pad: Any, mode: Any = "constant", value: Any = None) -> Value:
    if mode == "constant":
        return op.gain(x, Fraction(1))
    if padding_left_to_convolutions(op.node) is not None:
        return op.image(x)
    return _copies(op, x, pad, mode)


@rule(
    "reflection_pad1d.default reflection_pad2d.default reflection_pad3d.default "
    "replication_pad1d.default replication_pad2d.default replication_pad3d.default"
)
def _named_pad(op: Op, x: Any, padding: Any) -> Value:
    return _copies(
        op, x, padding, "reflect" if "reflection" in str(op.node.target) else "replicate"
    )


def _copies(op: Op, x: Any, pad: Any, mode: str) -> Value:
    """Counted for the larger of two sides: more padding never means fewer copies."""
    if not all(isinstance(side, int) and side >= 0 for side in pad):
        raise NotRecomputed("it crops and repeats at once")
    larger = [max(pair) for pair in zip(pad[0::2], pad[1::2], strict=True)]
    return op.gain(
        x, math.prod((copies_of(mode, [(n, n)], [0], [1]) for n in larger), start=Fraction(1))
    )


@rule("avg_pool1d.default avg_pool2d.default avg_pool3d.default")
def _average(
    op: Op, x: Any, kernel_size: Any, stride: Any = (), padding: Any = (0,), ceil_mode: Any = False,
    count_include_pad: Any = True, divisor_override: Any = None,
) -> Value:  # fmt: skip
    """A convolution with ones, divided by their number."""
    size, steps, pads = _windows(op, kernel_size, stride, padding)
    if ceil_mode or not (count_include_pad or not any(pads)):
        raise NotRecomputed("its windows at the border have divisors of their own")
    layer = op.layer()
    norm = op.walk.ledger.norm(layer, torch.ones(1, 1, *size, dtype=torch.float64), stride=steps)
    claim = of_linear(norm / abs(Fraction(divisor_override or math.prod(size))))
    op.walk.ledger.confirm(layer, claim, None, weighted=True)
    return op.walk.atom(op.node, op.image(x), claim)


@rule("max_pool1d.default max_pool2d.default max_pool3d.default")
def _largest(
    op: Op, x: Any, kernel_size: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,),
    ceil_mode: Any = False,
) -> Value:  # fmt: skip
    """``|max_W a - max_W b|^2 <= sum_W (a - b)^2``, and the windows over a sample are counted."""
    size, steps, spacings = _windows(op, kernel_size, stride, dilation)
    over = 1
    for k, s, d in zip(size, steps, spacings, strict=True):
        taps = range(0, d * (k - 1) + 1, d)
        over *= max(sum((place - tap) % s == 0 for tap in taps) for place in range(s))
    return op.gain(x, root_up(Fraction(over)))


@rule(
    "adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_avg_pool3d.default "
    "_adaptive_avg_pool2d.default adaptive_max_pool1d.default adaptive_max_pool2d.default"
)
def _adaptive_pool(op: Op, x: Any, output_size: Any) -> Value:
    return op.gain(x, root_up(_adaptive(op, x, average="avg" in str(op.node.target))))


def _adaptive(op: Op, x: Any, *, average: bool) -> Fraction:
    """The largest column sum of every axis, multiplied: means of whole windows, or what is counted."""
    axes, square = _axes(op), Fraction(1)
    for source, target in zip(op.image(x).shape[-axes:], op.shape[-axes:], strict=True):
        if equal_sizes(source, target) or (average and equal_sizes(target, 1)):
            continue
        if isinstance(source, int) and isinstance(target, int):
            square *= _columns(source, target, average)
            continue
        whole = [f for f in range(2, 9) if equal_sizes(source, f * target)]
        if not whole:
            raise NotRecomputed(f"it resizes from {source} to {target}")
        square *= Fraction(1, whole[0]) if average else 1
    return square


def _columns(source: int, target: int, average: bool) -> Fraction:
    sums = [Fraction(0)] * source
    for o in range(target):
        window = range(o * source // target, -(-(o + 1) * source // target))
        for index in window:
            sums[index] += Fraction(1, len(window)) if average else 1
    return max(sums)


@rule(
    "upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec "
    "_upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec"
)
def _nearest(op: Op, x: Any, output_size: Any, scale_factors: Any) -> Value:
    """Every sample occurs once for every whole factor."""
    return op.gain(x, root_up(Fraction(math.prod(_factors(op, x, scale_factors)))))


@rule("upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec")
def _interpolated(
    op: Op, x: Any, output_size: Any, align_corners: Any, scale_factors: Any
) -> Value:
    """Rows sum to 1; hats at a spacing of ``1/s`` sum to ``s``."""
    if align_corners:
        raise NotRecomputed("its corners are aligned")
    return op.gain(x, root_up(Fraction(math.prod(_factors(op, x, scale_factors)))))


def _factors(op: Op, x: Any, scale_factors: Any) -> list[int]:
    if scale_factors is not None:
        given = [op.number(one) for one in scale_factors]
    else:
        axes, given = _axes(op), []
        for source, target in zip(op.image(x).shape[-axes:], op.shape[-axes:], strict=True):
            whole = [Fraction(f) for f in range(1, 33) if equal_sizes(target, f * source)]
            given += whole[:1] or [Fraction(0)]
    if any(factor < 1 or factor != int(factor) for factor in given):
        raise NotRecomputed("it resizes by no whole factor")
    return [int(factor) for factor in given]


def _windows(op: Op, size: Any, stride: Any, last: Any) -> list[tuple[int, ...]]:
    axes, found = _axes(op), []
    for value in (size, stride or size, last):
        entries = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        found.append(entries * axes if len(entries) == 1 else entries)
    return found


def _axes(op: Op) -> int:
    name = str(op.node.target)
    return next(axes for axes in (1, 2, 3) if f"{axes}d" in name)
