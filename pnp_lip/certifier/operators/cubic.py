r"""Cubic interpolation.

An output at the position ``p + t``, ``0 <= t < 1``, is a combination of four samples with the weights of
Keys' kernel, :math:`a = -3/4`. Two are negative, so sizes count:
:math:`\|A\|^2 \le \max_i\sum_j|A_{ij}| \, \max_j\sum_i|A_{ij}|`, computed exactly from the matrix of one
axis; axes multiply. In a row sizes sum to :math:`1 + 2|a|t(1-t) \le 11/8`. For a factor ``p/q`` the matrix
repeats itself every ``q`` samples, and borders reach over three samples, so the largest sums occur for
some of the first sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.operators.resampling import ratio_of
from pnp_lip.certifier.values import Dependent
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []

_A = Fraction(-3, 4)
#: Largest numerator and denominator of a factor.
_LARGEST = 32


@register_operator("upsample_bicubic2d.vec")
def _cubic(
    op: Operation, x: Any, output_size: Any, align_corners: bool, scale_factors: Any
) -> Dependent:
    sides = zip(op.image(x).size[-2:], op.size[-2:], strict=True)
    factors = (
        [None, None] if scale_factors is None else [op.fixed(f, "a factor") for f in scale_factors]
    )
    square = Fraction(1)
    for (source, target), factor in zip(sides, factors, strict=True):
        if isinstance(source, int) and isinstance(target, int):
            ratio = Fraction(target, source) if factor is None else Fraction(factor)
            square *= _product(source, target, ratio, align_corners)
            continue
        if align_corners:
            op.refuse("aligns corners, so its weights depend on the size: prove it at one size")
        square *= _largest(_factor(op, source, target, factor))
    return op.bounded(x, sqrt_up(square), "cubic interpolation")


def _factor(op: Operation, source: Any, target: Any, factor: Any) -> Fraction:
    """Of sides that depend on the image."""
    if factor is not None:
        found = Fraction(factor)
        if max(found.numerator, found.denominator) <= _LARGEST:
            return found
        op.refuse(f"interpolates by the factor {float(found):g}: expected a simple fraction")
    return ratio_of(op, source, target)


@lru_cache(maxsize=64)
def _largest(factor: Fraction) -> Fraction:
    """Over all sides."""
    sides = range(1, 3 * factor.denominator + 9)
    targets = ((n, math.floor(n * factor)) for n in sides)
    return max(_product(n, target, factor, False) for n, target in targets if target)


def _product(source: int, target: int, factor: Fraction, aligned: bool) -> Fraction:
    """Largest row sum times largest column sum, of sizes."""
    columns, rows = [Fraction(0)] * source, Fraction(0)
    step = Fraction(source - 1, max(target - 1, 1)) if aligned else 1 / factor
    for o in range(target):
        position = o * step if aligned else (o + Fraction(1, 2)) * step - Fraction(1, 2)
        row: dict[int, Fraction] = {}
        for index, weight in _taps(position):
            inside = min(max(index, 0), source - 1)
            row[inside] = row.get(inside, Fraction(0)) + weight
        for index, weight in row.items():
            columns[index] += abs(weight)
        rows = max(rows, sum(map(abs, row.values()), Fraction(0)))
    return rows * max(columns)


def _taps(position: Fraction) -> Iterable[tuple[int, Fraction]]:
    """The four samples around a position, with their weights."""
    first = math.floor(position) - 1
    for index in range(first, first + 4):
        d = abs(position - index)
        if d <= 1:
            yield index, (_A + 2) * d**3 - (_A + 3) * d**2 + 1
        else:
            yield index, _A * (d**3 - 5 * d**2 + 8 * d - 4)
