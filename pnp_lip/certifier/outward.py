"""Arithmetic whose result is never below the exact one.

Every result is the smallest float, or its upper neighbour, that is not below the exact rational
number: floats are rationals, so the comparison is exact, underflow and overflow included.
"""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = ["add_up", "divide_up", "multiply_up", "round_up", "sqrt_up"]


def round_up(value: Fraction) -> float:
    """A float not below ``value``: the nearest one or its upper neighbour; infinity if too large."""
    try:
        nearest = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.nextafter(math.inf, 0.0)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


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


def _finite(a: float, b: float) -> bool:
    return math.isfinite(a) and math.isfinite(b)
