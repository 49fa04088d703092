r"""Pooling and interpolation.

Averages and interpolations act on each axis by a matrix ``A`` of nonnegative entries, and
:math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`, the product of the largest column sum and the largest row sum; axes
multiply.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import torch

from pnp_lip.certifier.operators.registry import Operation, per_axis, register_operator
from pnp_lip.certifier.statement import lipschitz
from pnp_lip.certifier.values import JUMPING, Dependent, is_equal, size_of
from pnp_lip.norms import convolution_norm
from pnp_lip.rounding import round_up, sqrt_up

__all__: list[str] = []

aten = torch.ops.aten


@register_operator(aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)
def _average_pool(
    op: Operation,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Dependent:
    axes = op.axes
    size = per_axis(kernel_size, axes)
    steps, pads = per_axis(stride, axes) or size, per_axis(padding, axes)
    even = not ceil_mode and (count_include_pad or not any(pads))
    if even:  # a convolution of every channel with ones
        ones = torch.ones(1, 1, *size, dtype=torch.float64)
        key = ("average", size, steps)
        norm = op.walk.settings.norm(
            key, lambda: convolution_norm(ones, stride=steps, gap=op.walk.settings.gap)
        )
        divisor = abs(Fraction(divisor_override or math.prod(size)))
        pool = lipschitz("average pooling", round_up(Fraction(norm.upper) / divisor), bound=norm)
        return op.walk.add(op.node, op.image(x), pool)
    square = Fraction(1)
    for k, s, p in zip(size, steps, pads, strict=True):
        square *= _average_square(k, s, p, ceil_mode, count_include_pad, bool(divisor_override))
    divisor = abs(Fraction(divisor_override or 1))
    return op.bounded(x, sqrt_up(square / divisor**2), "average pooling")


def _average_square(
    k: int, s: int, p: int, ceil_mode: bool, include: bool, undivided: bool
) -> Fraction:
    """Of one axis, over all sides: from ``2 k + 2 s`` on only the border's distance changes."""
    worst = Fraction(0)
    for n in range(1, 2 * (k + s) + 2 * p + 2):
        columns, rows = [Fraction(0)] * n, [Fraction(0)]
        for start in range(-p, n if ceil_mode else n + p - k + 1, s):
            end = min(start + k, n + p)
            inside = range(max(start, 0), min(end, n))
            if len(inside) == 0:
                continue
            share = 1 if undivided else Fraction(1, end - start if include else len(inside))
            for index in inside:
                columns[index] += share
            rows.append(Fraction(share) * len(inside))
        worst = max(worst, max(columns) * max(rows))
    return worst


@register_operator(aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
def _max_pool(
    op: Operation,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = (0,),
    dilation: Any = (1,),
    ceil_mode: bool = False,
) -> Dependent:
    """``|max_W a - max_W b|^2 <= sum_W (a - b)^2``, and a sample lies in at most ``m`` windows."""
    axes = op.axes
    size = per_axis(kernel_size, axes)
    steps, spacings = per_axis(stride, axes) or size, per_axis(dilation, axes)
    windows = 1
    for k, s, d in zip(size, steps, spacings, strict=True):
        windows *= min(k, -(-(d * (k - 1) + 1) // s))
    return op.bounded(
        x, sqrt_up(Fraction(windows)), f"max pooling, at most {windows} windows a sample"
    )


@register_operator(
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default,
    aten.adaptive_avg_pool3d.default, aten._adaptive_avg_pool2d.default,
)  # fmt: skip
def _adaptive_average(op: Operation, x: Any, output_size: Any) -> Dependent:
    """Means of windows: rows sum to 1, columns to at most what :func:`_adaptive_columns` counts."""
    return _adaptive(op, x, average=True)


@register_operator(aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default)
def _adaptive_max(op: Operation, x: Any, output_size: Any) -> tuple[Any, ...]:
    return _adaptive(op, x, average=False), JUMPING


def _adaptive(op: Operation, x: Any, *, average: bool) -> Dependent:
    value = op.node.meta["val"]
    sides = tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)
    axes, square = op.axes, Fraction(1)
    for source, target in zip(op.image(x).size[-axes:], sides[-axes:], strict=True):
        square *= _adaptive_columns(op, source, target, average)
    rule = f"adaptive pooling to {list(sides[-axes:])}"
    return op.walk.add(op.node, op.image(x), lipschitz(rule, sqrt_up(square)), size=sides)


def _adaptive_columns(op: Operation, source: Any, target: Any, average: bool) -> Fraction:
    """Largest sum of a column for one axis: windows of a sample, each with its weight.

    From ``source >= 2 target`` on a sample lies in two windows at most, of at least two samples each.
    """
    if is_equal(source, target) or (average and is_equal(target, 1)):
        return Fraction(1)
    for factor in range(2, 9):
        if is_equal(source, factor * target):
            return Fraction(1, factor) if average else Fraction(1)
        if is_equal(target, factor * source):
            return Fraction(factor)
    if not isinstance(target, int):
        written = _written_factor(source, target)
        if written is None or not (written.numerator == 1 or written.denominator == 1):
            op.refuse(f"resizes from {source} to {target}: expected a whole factor")
        if written >= 1:
            return written
        # Two windows a sample at most, each of at least 1/written samples.
        return 2 * written if average else Fraction(2)
    sides = [source] if isinstance(source, int) else range(1, 2 * target)
    worst = Fraction(1 if average else 2)
    for n in sides:
        columns = [Fraction(0)] * n
        for o in range(target):
            window = range(o * n // target, -(-(o + 1) * n // target))
            for index in window:
                columns[index] += Fraction(1, len(window)) if average else 1
        worst = max(worst, *columns)
    return worst


def _written_factor(source: Any, target: Any) -> Fraction | None:
    """``f`` where the target is written as the whole part of ``f * source``."""
    rounded = re.fullmatch(r"TruncToInt\(([\d.]+)\*ToFloat\((.+)\)\)", str(target))
    if rounded and rounded[2] == str(source):
        return Fraction(float(rounded[1]))
    divided = re.fullmatch(r"\(+(.+)//(\d+)\)+", str(target))
    return Fraction(1, int(divided[2])) if divided and divided[1] == str(source) else None


@register_operator(
    *(aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec),
    *(aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec),
    aten._upsample_nearest_exact3d.vec,
)
def _nearest(op: Operation, x: Any, output_size: Any, scale_factors: Any) -> Dependent:
    """Every sample is repeated ``ceil(target / source)`` times at most."""
    copies = 1
    for factor in _factors(op, x, scale_factors):
        copies *= math.ceil(factor)
    return op.bounded(x, sqrt_up(Fraction(copies)), f"each sample at most {copies} times")


@register_operator(
    aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec
)
def _linear(
    op: Operation, x: Any, output_size: Any, align_corners: bool, scale_factors: Any
) -> Dependent:
    r"""Rows sum to 1, columns to at most this.

    Hat functions at a spacing of :math:`1/s` sum to ``s`` for whole ``s``; with aligned corners to less
    than :math:`s + (s-1)/(n-1) + 1 \le 2s` for ``n >= 2`` samples (a Riemann sum of a hat of variation
    2), to ``s`` for one. By a whole factor downward, every output has its own samples, so columns sum
    to 1 at most.
    """
    square = Fraction(1)
    for factor in _factors(op, x, scale_factors):
        if factor != 1 and factor.denominator != 1 and factor.numerator != 1:
            op.refuse(f"interpolates by the factor {float(factor):g}: expected a whole one")
        if factor > 1:
            square *= 2 * factor if align_corners else factor
        elif factor < 1 and align_corners:
            square *= 2
    return op.bounded(x, sqrt_up(square), "linear interpolation")


def _factors(op: Operation, x: Any, scale_factors: Any) -> list[Fraction]:
    """Target over source of every axis, or an upper bound of it."""
    axes = op.axes
    if scale_factors is not None:
        factors = [Fraction(float(op.fixed(factor, "a factor"))) for factor in scale_factors]
        exact = [f for f in factors if f.denominator == 1 or f.numerator == 1 or f < 1]
        if len(exact) == len(factors):
            return factors
        return [f if f.denominator == 1 or f < 1 else Fraction(math.ceil(f) + 1) for f in factors]
    found = []
    for source, target in zip(op.image(x).size[-axes:], size_of(op.node)[-axes:], strict=True):
        found.append(_ratio(op, source, target))
    return found


def _ratio(op: Operation, source: Any, target: Any) -> Fraction:
    if isinstance(source, int) and isinstance(target, int):
        return Fraction(target, source)
    for factor in range(1, 33):
        if is_equal(target, factor * source):
            return Fraction(factor)
        if is_equal(source, factor * target):
            return Fraction(1, factor)
    op.refuse(f"resizes from {source} to {target}: expected a whole factor")


def _axes(op: Operation) -> int:
    """From the name of the operator."""
    name = str(op.node.target)
    return next(axes for axes in (1, 2, 3) if f"{axes}d" in name)
