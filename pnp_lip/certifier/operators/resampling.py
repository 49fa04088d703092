r"""Pooling and interpolation.

Averages and interpolations act on each axis by a matrix ``A`` of nonnegative entries, and
:math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`, the product of the largest column sum and the largest row sum; axes
multiply.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from pnp_lip.certifier.operators.operation import Operation, per_axis
from pnp_lip.certifier.operators.registry import register_operator
from pnp_lip.certifier.statement import lipschitz
from pnp_lip.certifier.values import Dependent, is_equal
from pnp_lip.norms import convolution_norm
from pnp_lip.rounding import round_up, sqrt_up

__all__ = ["over_windows", "ratio_of"]


@register_operator("avg_pool1d avg_pool2d avg_pool3d")
def _average_pool(op: Operation, x: Any, ceil_mode: bool, **given: Any) -> Dependent:
    settings, inside = op.walk.settings, given["count_include_pad"]
    size, steps, pads = _windows(op, "padding", **given)
    divisor = given.get("divisor_override")
    if not ceil_mode and (inside or not any(pads)):
        ones = torch.ones(1, 1, *size, dtype=torch.float64)  # a convolution of every channel
        compute = partial(convolution_norm, ones, stride=steps, gap=settings.gap)
        norm = settings.norm(("average", size, steps), compute)
        upper = round_up(Fraction(norm.upper) / abs(Fraction(divisor or math.prod(size))))
        pool = lipschitz("average pooling", upper, bound=norm)
        return op.walk.add(op.node, op.image(x), pool)
    square = 1 / Fraction(divisor or 1) ** 2
    for k, s, p in zip(size, steps, pads, strict=True):
        square *= _average_square(k, s, p, ceil_mode, inside, bool(divisor))
    return op.bounded(x, sqrt_up(square), "average pooling")


def _average_square(
    k: int, s: int, p: int, ceil_mode: bool, include: bool, undivided: bool
) -> Fraction:
    """Of one axis, over all sides: from ``2 k + 2 s`` on only the border's distance changes."""
    worst = Fraction(0)
    for n in range(1, 2 * (k + s) + 2 * p + 2):
        windows = []
        for start in range(-p, n if ceil_mode else n + p - k + 1, s):
            end = min(start + k, n + p)
            seen = range(max(start, 0), min(end, n))
            divisor = 1 if undivided else end - start if include else len(seen)
            windows.append((seen, Fraction(1, max(divisor, 1))))
        columns, rows = _largest_sums(n, windows)
        worst = max(worst, columns * rows)
    return worst


def _largest_sums(n: int, windows: list[tuple[range, Fraction]]) -> tuple[Fraction, Fraction]:
    """Of columns and of rows of the matrix with a row for each window, whose samples share a weight."""
    columns = [Fraction(0)] * n
    for window, weight in windows:
        for index in window:
            columns[index] += weight
    return max(columns), max(
        (len(window) * weight for window, weight in windows), default=Fraction(0)
    )


@register_operator("max_pool1d max_pool2d max_pool3d")
def _max_pool(op: Operation, x: Any, **given: Any) -> Dependent:
    """``|max_W a - max_W b|^2 <= sum_W (a - b)^2``, and a sample lies in at most ``m`` windows."""
    return over_windows(op, x, "max pooling, ", *_windows(op, "dilation", **given))


def over_windows(
    op: Operation, x: Any, what: str, size: Any, steps: Any, spacings: Any
) -> Dependent:
    """For every sample, windows that it lies in: its places in them differ by multiples of the step."""
    pairs = zip(size, steps, spacings, strict=True)
    most = math.prod(min(k, -(-(d * (k - 1) + 1) // s)) for k, s, d in pairs)
    return op.bounded(x, sqrt_up(Fraction(most)), f"{what}at most {most} windows a sample")


def _windows(op: Operation, third: str, **given: Any) -> list[tuple[int, ...]]:
    """Sizes of windows, their distances (if not given, their sizes), and another argument, by axis."""
    steps = given["stride"] or given["kernel_size"]
    return [per_axis(value, op.axes) for value in (given["kernel_size"], steps, given[third])]


@register_operator(
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d "
    "adaptive_max_pool1d adaptive_max_pool2d"
)
def _adaptive_pool(op: Operation, x: Any, output_size: Any) -> Dependent:
    """Of means rows sum to 1; columns sum to at most what :func:`_adaptive_columns` counts."""
    square, sides = Fraction(1), op.size[-op.axes :]
    for source, target in zip(op.image(x).size[-op.axes :], sides, strict=True):
        square *= _adaptive_columns(op, source, target, "avg" in str(op.node.target))
    return op.bounded(x, sqrt_up(square), f"adaptive pooling to {list(sides)}")


def _adaptive_columns(op: Operation, source: Any, target: Any, average: bool) -> Fraction:
    """Largest sum of a column for one axis: windows of a sample, each with its weight.

    From ``source >= 2 target`` on a sample lies in two windows at most, of at least two samples each.
    """
    if is_equal(source, target) or (average and is_equal(target, 1)):
        return Fraction(1)
    whole = _whole_factor(source, target, 8)
    if whole is not None:
        return whole if average else max(whole, Fraction(1))
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
        seen = [range(o * n // target, -(-(o + 1) * n // target)) for o in range(target)]
        weights = [Fraction(1, len(window)) if average else Fraction(1) for window in seen]
        worst = max(worst, _largest_sums(n, list(zip(seen, weights, strict=True)))[0])
    return worst


def _written_factor(source: Any, target: Any) -> Fraction | None:
    """``f`` where the target is written as the whole part of ``f * source``."""
    rounded = re.fullmatch(r"TruncToInt\(([\d.]+)\*ToFloat\((.+)\)\)", str(target))
    if rounded and rounded[2] == str(source):
        return Fraction(float(rounded[1]))
    divided = re.fullmatch(r"\(+(.+)//(\d+)\)+", str(target))
    return Fraction(1, int(divided[2])) if divided and divided[1] == str(source) else None


@register_operator(
    "upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec "
    "_upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec"
)
def _nearest(op: Operation, x: Any, output_size: Any, scale_factors: Any) -> Dependent:
    """Every sample is repeated ``ceil(target / source)`` times at most."""
    copies = math.prod(map(math.ceil, _factors(op, x, scale_factors)))
    return op.bounded(x, sqrt_up(Fraction(copies)), f"each sample at most {copies} times")


@register_operator("upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec")
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
    if scale_factors is None:
        sides = zip(op.image(x).size[-op.axes :], op.size[-op.axes :], strict=True)
        return [ratio_of(op, source, target) for source, target in sides]
    factors = [Fraction(float(op.fixed(factor, "a factor"))) for factor in scale_factors]
    if all(f.denominator == 1 or f.numerator == 1 or f < 1 for f in factors):
        return factors
    return [f if f.denominator == 1 or f < 1 else Fraction(math.ceil(f) + 1) for f in factors]


def ratio_of(op: Operation, source: Any, target: Any) -> Fraction:
    """A quotient of numbers, or the whole factor between symbols.

    Raises
    ------
    Refusal
        they have none.
    """
    if isinstance(source, int) and isinstance(target, int):
        return Fraction(target, source)
    found = _whole_factor(source, target, 32)
    if found is None:
        op.refuse(f"resizes from {source} to {target}: expected a whole factor")
    return found


def _whole_factor(source: Any, target: Any, largest: int) -> Fraction | None:
    """``f`` or ``1/f`` where the target is so many times the source, for every image."""
    for factor in range(1, largest + 1):
        if is_equal(target, factor * source):
            return Fraction(factor)
        if is_equal(source, factor * target):
            return Fraction(1, factor)
    return None
