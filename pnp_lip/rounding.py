"""Arithmetic with a stated direction: constants of rounding, and results that err on the safe side.

``gamma(n) = n u / (1 - n u)`` with ``u = 2^-53``. Condition: IEEE 754 binary64, round to nearest. A
sum of products with at most ``n`` rounded operations on the path of each term, in any order and with
or without fused multiply-add, differs from its exact value by at most ``gamma(n)`` times the sum of
the absolute values of its terms (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002,
sections 3.1 and 3.4).

Constants are exact fractions. A function named ``_up`` returns the smallest float that is not below
the exact result, or its upper neighbour; floats are rationals, so the comparison is exact, underflow
and overflow included. ``_down`` is the mirror image.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction

__all__ = [
    "SUM_SLACK",
    "UNDERFLOW",
    "UNIT",
    "add_up",
    "divide_up",
    "format_up",
    "gamma",
    "multiply_up",
    "round_down",
    "round_up",
    "sqrt_down",
    "sqrt_up",
]

UNIT = Fraction(1, 2**53)

#: A sum of fewer than 2^30 nonnegative floats, each a product of at most three, is below its exact
#: value by a factor of at least 1 - 2^-22: gamma(2^30 + 3) < 2^-22 (1 - 2^-22).
SUM_SLACK = Fraction(1) + Fraction(1, 2**22)

#: Kernels are scaled to largest entry in [1/2, 1). An operation that underflows, even if flushed
#: to zero, is then off by at most 2^-1022; fewer than 2^80 of them, each amplified by less than
#: 2^40, stay below this number.
UNDERFLOW = Fraction(1, 2**900)


def gamma(operations: int) -> Fraction:
    """``gamma(n) = n u / (1 - n u)``, for ``n u < 1``."""
    if not 0 <= operations < 2**52:
        raise ValueError(f"gamma: expected 0 <= n < 2^52, got {operations}")
    return operations * UNIT / (1 - operations * UNIT)


def round_up(value: Fraction) -> float:
    """A float not below ``value``: the nearest one or its upper neighbour; infinity if too large."""
    try:
        nearest = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.nextafter(math.inf, 0.0)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def round_down(value: Fraction) -> float:
    """A float not above ``value``."""
    return -round_up(-value)


def add_up(a: float, b: float) -> float:
    """At least ``a + b``."""
    return round_up(Fraction(a) + Fraction(b)) if _finite(a, b) else a + b


def multiply_up(a: float, b: float) -> float:
    """At least ``a * b``; zero times infinity counts as zero."""
    if _finite(a, b):
        return round_up(Fraction(a) * Fraction(b))
    return 0.0 if a == 0 or b == 0 else a * b


def divide_up(a: float, b: float) -> float:
    """At least ``a / b``, for finite numbers and ``b > 0``."""
    return round_up(Fraction(a) / Fraction(b))


def sqrt_up(value: Fraction) -> float:
    """A float not below the square root of ``value >= 0``."""
    try:
        root = math.sqrt(round_up(value))
    except OverflowError:
        return math.inf
    while math.isfinite(root) and Fraction(root) ** 2 < value:
        root = math.nextafter(root, math.inf)
    return root


def sqrt_down(value: Fraction) -> float:
    """A float not above ``sqrt(value)``; 0 for ``value <= 0``."""
    if value <= 0:
        return 0.0
    root = math.sqrt(round_down(value))
    while Fraction(root) ** 2 > value:
        root = math.nextafter(root, 0.0)
    return root


def format_up(value: float, digits: int = 6) -> str:
    """Decimal text of at most ``digits`` significant digits whose float is not below ``value``.

    Examples
    --------
    >>> format_up(1.8046626)
    '1.80467'
    >>> format_up(0.5)
    '0.5'
    """
    if not math.isfinite(value):
        return str(value)
    if float(nearest := f"{value:.{digits}g}") == value:
        return nearest
    with localcontext(prec=digits, rounding=ROUND_CEILING):
        rounded = +Decimal(value)
    return f"{rounded.normalize():g}"


def _finite(a: float, b: float) -> bool:
    return math.isfinite(a) and math.isfinite(b)
