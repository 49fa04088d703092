r"""Operators on windows: pooling and patches.

Averages act on each axis by a matrix ``A``, and :math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`, the product of the
largest column sum and the largest row sum of sizes; axes multiply. What gives a sample at most ``k`` times,
or adds up ``k`` of them, costs :math:`\sqrt k`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import torch

from pnp_lip.certifier.operators.operation import Operation, per_axis
from pnp_lip.certifier.operators.registry import register_operator
from pnp_lip.certifier.statement import lipschitz
from pnp_lip.certifier.values import Dependent, is_equal, whole_factor
from pnp_lip.rounding import round_up, sqrt_up

__all__ = ["largest_sums"]


def largest_sums(side: int, rows: Iterable[dict[int, Fraction]]) -> tuple[Fraction, Fraction]:
    """The largest sum of sizes of a column, and of a row, of a matrix with so many columns."""
    columns, widest = [Fraction(0)] * side, Fraction(0)
    for row in rows:
        for index, weight in row.items():
            columns[index] += abs(weight)
        widest = max(widest, sum(map(abs, row.values()), Fraction(0)))
    return max(columns), widest


@register_operator("avg_pool1d avg_pool2d avg_pool3d")
def _average_pool(op: Operation, x: Any, ceil_mode: bool, **given: Any) -> Dependent:
    inside = given["count_include_pad"]
    size, steps, pads = _windows(op, "padding", **given)
    divisor = given.get("divisor_override")
    if not ceil_mode and (inside or not any(pads)):
        ones = torch.ones(1, 1, *size, dtype=torch.float64)  # a convolution of every channel
        norm = op.walk.settings.norm(ones, stride=steps)
        upper = round_up(Fraction(norm.upper) / abs(Fraction(divisor or math.prod(size))))
        return op.walk.add(op.node, op.image(x), lipschitz("average pooling", upper, bound=norm))
    square = 1 / Fraction(divisor or 1) ** 2
    for k, s, p in zip(size, steps, pads, strict=True):
        square *= _average_square(k, s, p, ceil_mode, inside, bool(divisor))
    return op.bounded(x, sqrt_up(square), "average pooling")


def _average_square(k: int, s: int, p: int, ceil: bool, include: bool, undivided: bool) -> Fraction:
    """Of one axis, over all sides: from ``2 k + 2 s`` on only the border's distance changes."""
    worst = Fraction(0)
    for n in range(1, 2 * (k + s) + 2 * p + 2):
        rows = []
        for start in range(-p, n if ceil else n + p - k + 1, s):
            end = min(start + k, n + p)
            seen = range(max(start, 0), min(end, n))
            divisor = 1 if undivided else end - start if include else len(seen)
            rows.append(dict.fromkeys(seen, Fraction(1, max(divisor, 1))))
        worst = max(worst, math.prod(largest_sums(n, rows), start=Fraction(1)))
    return worst


@register_operator("max_pool1d max_pool2d max_pool3d")
def _max_pool(op: Operation, x: Any, **given: Any) -> Dependent:
    """``|max_W a - max_W b|^2 <= sum_W (a - b)^2``, and a sample lies in at most ``m`` windows."""
    return _over_windows(op, x, "max pooling, ", *_windows(op, "dilation", **given))


@register_operator("im2col col2im")
def _patches(op: Operation, x: Any, **given: Any) -> Dependent:
    """Of patches that are taken; putting them together is the adjoint."""
    windows = (per_axis(given[key], 2) for key in ("kernel_size", "stride", "dilation"))
    return _over_windows(op, x, "", *windows)


@register_operator("unfold")
def _unfolded(op: Operation, x: Any, dimension: int, size: int, step: int) -> Dependent:
    return _over_windows(op, x, "", (size,), (step,), (1,))


def _over_windows(op: Operation, x: Any, what: str, size: Any, steps: Any, gaps: Any) -> Dependent:
    """For every sample, windows that it lies in: its places in them differ by multiples of the step."""
    pairs = zip(size, steps, gaps, strict=True)
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
    if average and is_equal(target, 1):
        return Fraction(1)
    factor = whole_factor(source, target)
    if factor is None and isinstance(target, int):
        sides = [source] if isinstance(source, int) else range(1, 2 * target)
        worst = max(largest_sums(n, _adaptive_rows(n, target, average))[0] for n in sides)
        return max(worst, Fraction(1 if average else 2))
    if factor is None:
        factor = _written_factor(source, target)
        if factor is None or not (factor.numerator == 1 or factor.denominator == 1):
            op.refuse(f"resizes from {source} to {target}: expected a whole factor")
        if factor < 1:  # two windows a sample at most, each of at least 1/factor samples
            return 2 * factor if average else Fraction(2)
    return factor if average else max(factor, Fraction(1))


def _adaptive_rows(side: int, target: int, average: bool) -> Iterable[dict[int, Fraction]]:
    for o in range(target):
        window = range(o * side // target, -(-(o + 1) * side // target))
        yield dict.fromkeys(window, Fraction(1, len(window) if average else 1))


def _written_factor(source: Any, target: Any) -> Fraction | None:
    """``f`` where the target is written as the whole part of ``f * source``."""
    rounded = re.fullmatch(r"TruncToInt\(([\d.]+)\*ToFloat\((.+)\)\)", str(target))
    if rounded and rounded[2] == str(source):
        return Fraction(float(rounded[1]))
    divided = re.fullmatch(r"\(+(.+)//(\d+)\)+", str(target))
    return Fraction(1, int(divided[2])) if divided and divided[1] == str(source) else None
