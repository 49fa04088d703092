r"""Interpolation.

An output at the position ``p + t``, ``0 <= t < 1``, is a combination of the samples around it: of two
with the weights of a hat (linear), of four with those of Keys' kernel, :math:`a = -3/4` (cubic), of which
two are negative. :math:`\|A\|^2 \le \max_i\sum_j|A_{ij}| \, \max_j\sum_i|A_{ij}|` is computed exactly from
the matrix of one axis; axes multiply. For a factor ``p/q`` the matrix repeats itself every ``q`` samples,
and borders reach over three samples, so the largest sums occur for some of the first sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from pnp_lip.certifier.operators.pooling import largest_sums
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, whole_factor
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []

_A = Fraction(-3, 4)


@register_operator(
    "upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec "
    "_upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec"
)
def _nearest(op: Operation, x: Any, output_size: Any, scale_factors: Any) -> Dependent:
    """Every sample is repeated ``ceil(target / source)`` times at most; once more by a rounded factor."""
    copies = 1
    for _, _, factor in _axes(op, x, scale_factors):
        rounded = scale_factors is not None and factor > 1 and factor.denominator > 1
        copies *= math.ceil(factor) + rounded
    return op.bounded(x, sqrt_up(Fraction(copies)), f"each sample at most {copies} times")


@register_operator(
    "upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec upsample_bicubic2d.vec"
)
def _interpolated(
    op: Operation, x: Any, output_size: Any, align_corners: bool, scale_factors: Any
) -> Dependent:
    r"""With aligned corners weights depend on the side.

    Those of hats, at a spacing of :math:`(n-1)/(m-1)`, sum to :math:`(m-1)/(n-1) + 1` at most (a Riemann
    sum of a hat), which is at most :math:`2\max(1, f)` for :math:`m \le fn`.
    """
    cubic, square = "cubic" in str(op.node.target), Fraction(1)
    kernel = _keys if cubic else _hat
    for source, target, factor in _axes(op, x, scale_factors):
        if factor == 1:
            continue
        if isinstance(source, int) and isinstance(target, int):
            square *= _product(kernel, source, target, factor, align_corners)
        elif max(factor.as_integer_ratio()) > 32:  # as many sides would be tried
            op.refuse(f"interpolates by the factor {float(factor):g}: expected a simple fraction")
        elif not align_corners:
            square *= _largest(kernel, factor)
        elif cubic:
            op.refuse("aligns corners, so its weights depend on the size: prove it at one size")
        else:
            square *= 2 * max(factor, Fraction(1))
    return op.bounded(x, sqrt_up(square), f"{'cubic' if cubic else 'linear'} interpolation")


def _axes(op: Operation, x: Any, scale_factors: Any) -> Iterator[tuple[Any, Any, Fraction]]:
    """Source, target and their quotient, of every axis."""
    sides = zip(op.image(x).size[-op.axes :], op.size[-op.axes :], strict=True)
    for (source, target), given in zip(sides, scale_factors or [None] * op.axes, strict=True):
        known = isinstance(source, int) and isinstance(target, int)
        factor = Fraction(target, source) if known else whole_factor(source, target)
        if given is not None:
            factor = Fraction(float(op.fixed(given, "a factor")))
        if factor is None:
            op.refuse(f"resizes from {source} to {target}: expected a whole factor")
        yield source, target, factor


@lru_cache(maxsize=64)
def _largest(kernel: Any, factor: Fraction) -> Fraction:
    """Over all sides."""
    sides = range(1, 3 * factor.denominator + 9)
    targets = ((n, math.floor(n * factor)) for n in sides)
    return max(_product(kernel, n, target, factor, False) for n, target in targets if target)


def _product(kernel: Any, side: int, target: int, factor: Fraction, aligned: bool) -> Fraction:
    """Largest row sum times largest column sum, of sizes."""
    step = Fraction(side - 1, max(target - 1, 1)) if aligned else 1 / factor
    rows = []
    for o in range(target):
        position = o * step if aligned else (o + Fraction(1, 2)) * step - Fraction(1, 2)
        row: dict[int, Fraction] = {}
        for index in range(math.floor(position) - 1, math.floor(position) + 3):
            inside = min(max(index, 0), side - 1)
            row[inside] = row.get(inside, Fraction(0)) + kernel(abs(position - index))
        rows.append(row)
    return math.prod(largest_sums(side, rows), start=Fraction(1))


def _hat(d: Fraction) -> Fraction:
    return max(1 - d, Fraction(0))


def _keys(d: Fraction) -> Fraction:
    if d <= 1:
        return (_A + 2) * d**3 - (_A + 3) * d**2 + 1
    return _A * (d**3 - 5 * d**2 + 8 * d - 4)
