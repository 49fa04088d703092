r"""Cubic interpolation, its matrix written out: :math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`.

Of four samples around a position at ``t`` between the inner two, the weights are polynomials in ``t``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from pnp_lip.checker.composition import root_up
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Value, equal_sizes

__all__: list[str] = []


@rule("upsample_bicubic2d.vec")
def _cubic(op: Op, x: Any, output_size: Any, align_corners: Any, scale_factors: Any) -> Value:
    square = Fraction(1)
    given = scale_factors or (None, None)
    for own, wanted, factor in zip(op.image(x).shape[-2:], op.shape[-2:], given, strict=True):
        whole = isinstance(own, int) and isinstance(wanted, int)
        if align_corners and not whole:
            raise NotRecomputed("its corners are aligned on sides of unknown length")
        ratio = _ratio(own, wanted) if factor is None else op.number(factor)
        if max(ratio.as_integer_ratio()) > 64 and not whole:
            raise NotRecomputed("its factor is no simple fraction")
        # Beyond these sides nothing new occurs: rows repeat themselves, borders touch three samples.
        sides = [own] if whole else range(1, 9 + 3 * ratio.denominator)
        pairs = [(n, wanted if whole else n * ratio.numerator // ratio.denominator) for n in sides]
        square *= max(_sums(n, out, ratio, bool(align_corners)) for n, out in pairs if out)
    return op.gain(x, root_up(square))


def _ratio(own: Any, wanted: Any) -> Fraction:
    if isinstance(own, int) and isinstance(wanted, int):
        return Fraction(wanted, own)
    whole = [Fraction(f) for f in range(1, 33) if equal_sizes(wanted, f * own)]
    parts = [Fraction(1, f) for f in range(2, 33) if equal_sizes(own, f * wanted)]
    if not whole + parts:
        raise NotRecomputed("it resizes by no whole factor")
    return (whole + parts)[0]


def _sums(n: int, out: int, ratio: Fraction, aligned: bool) -> Fraction:
    matrix = [[Fraction(0)] * n for _ in range(out)]
    for o, row in enumerate(matrix):
        place = (2 * o + 1) / (2 * ratio) - Fraction(1, 2)
        if aligned:
            place = Fraction(o * (n - 1), max(out - 1, 1))
        low = place.numerator // place.denominator
        t = place - low
        u = 1 - t
        outer = Fraction(-3, 4) * t * u
        inner = u * (1 + t - Fraction(5, 4) * t**2)
        for j, weight in enumerate((outer * u, inner, 1 - inner - outer, outer * t)):
            row[sorted((0, low - 1 + j, n - 1))[1]] += weight
    zero = Fraction(0)
    row_sum = max(sum(map(abs, row), zero) for row in matrix)
    return row_sum * max(sum((abs(row[j]) for row in matrix), zero) for j in range(n))
