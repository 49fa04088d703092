"""Rounding constants: ``gamma(n) = n u / (1 - n u)`` with ``u = 2^-53``.

Condition: IEEE 754 binary64, round to nearest. A sum of products with at most ``n`` rounded
operations on the path of each term, in any order and with or without fused multiply-add, differs
from its exact value by at most ``gamma(n)`` times the sum of the absolute values of its terms
(Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, sections 3.1 and 3.4).

Constants are exact fractions; a float leaves this module rounded in the stated direction.
"""

from __future__ import annotations

import math
from fractions import Fraction

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


def round_down(value: Fraction) -> float:
    """The largest float, or its lower neighbour, that does not exceed ``value``."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)


def round_up(value: Fraction) -> float:
    """The smallest float, or its upper neighbour, that is not below ``value``."""
    return -round_down(-value)


def sqrt_down(value: Fraction) -> float:
    """A float not above ``sqrt(value)``; 0 for ``value <= 0``."""
    if value <= 0:
        return 0.0
    root = math.sqrt(float(value))
    while Fraction(root) ** 2 > value:
        root = math.nextafter(root, 0.0)
    return root
