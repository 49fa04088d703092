"""Floating-point arithmetic whose result is never below the exact one.

IEEE operations are correctly rounded, so the next float above a result is at least the exact value.
"""

from __future__ import annotations

import math

__all__ = ["add_up", "divide_up", "multiply_up"]


def _up(value: float) -> float:
    return math.nextafter(value, math.inf)


def add_up(a: float, b: float) -> float:
    """At least ``a + b``; exact if one of them is 0."""
    return a + b if a == 0 or b == 0 else _up(a + b)


def multiply_up(a: float, b: float) -> float:
    """At least ``a * b``; exact if one of them is 0, 1 or 1/2."""
    return a * b if {a, b} & {0.0, 0.5, 1.0} else _up(a * b)


def divide_up(a: float, b: float) -> float:
    """At least ``a / b`` for ``b > 0``."""
    return a / b if a == 0 or b == 1 else _up(a / b)
