r"""The bound of a network from the bounds of its layers again, in rational arithmetic.

For checking: written on its own, shares no code with what proves. A claim is a pair of rationals,
:math:`\mathrm{Lip}(T) \le u` and, if :math:`u \le 1`, averagedness :math:`\alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

__all__ = [
    *("IDENTITY", "Claim", "beside", "better", "in_sequence", "of_entrywise", "of_gradient_step"),
    *("of_linear", "of_relaxation", "of_sum", "root_up", "worst"),
]


@dataclass(frozen=True)
class Claim:
    """``Lip(T) <= upper``; ``alpha`` is ``None`` where ``upper > 1``."""

    upper: Fraction
    alpha: Fraction | None


IDENTITY = Claim(Fraction(1), Fraction(0))


def root_up(value: Fraction) -> Fraction:
    """A rational number not below the square root, exact for squares of floats.

    It is off by less than one part in 2^190.
    """
    if value <= 0:
        return Fraction(0)
    scale = max(0, 200 + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    scaled = math.ceil(value * 4**scale)
    root = math.isqrt(scaled)
    return Fraction(root + (root * root < scaled), 2**scale)


def of_linear(norm: Fraction) -> Claim:
    """Anything of which only a Lipschitz constant is known."""
    return Claim(norm, (1 + norm) / 2 if norm <= 1 else None)


def of_entrywise(low: Fraction, high: Fraction) -> Claim:
    """A scalar map, entry by entry, with slopes in [low, high]."""
    if low >= -1 and high <= 1:
        return Claim(max(-low, high, Fraction(0)), (1 - low) / 2)
    return of_linear(max(-low, high))


def of_gradient_step(norm: Fraction, tau: Fraction, slope: Fraction) -> Claim:
    r"""A step :math:`x - \tau W^\top\sigma(Wx + b)` with slopes in [0, ``slope``].

    With :math:`t = \tau\,\mathrm{slope}\,\|W\|^2` the Jacobian's spectrum lies between 1 and 1 - t.
    """
    t = tau * slope * norm * norm
    if 0 <= t <= 2:
        return Claim(Fraction(1), t / 2)
    return of_linear(max(abs(1 - t), Fraction(1)))


def in_sequence(claims: Sequence[Claim]) -> Claim:
    r"""Maps one after the other.

    Constants multiply, and :math:`\alpha = K/(1+K)` with :math:`K = \sum\alpha_i/(1-\alpha_i)`, or
    :math:`(1+u)/2` if that is less.
    """
    if len(claims) == 1:
        return claims[0]
    upper, odds = Fraction(1), Fraction(0)
    limited = True
    for claim in claims:
        upper *= claim.upper
        if claim.alpha is None or claim.alpha >= 1:
            limited = False
        else:
            odds += claim.alpha / (1 - claim.alpha)
    if upper > 1:
        return Claim(upper, None)
    general = (1 + upper) / 2
    return Claim(upper, min(general, odds / (1 + odds)) if limited else general)


def of_sum(terms: Sequence[tuple[Fraction, Claim]]) -> Claim:
    r""":math:`\sum_i c_iT_i` has the constant :math:`\sum|c_i|u_i`.

    It is a convex combination of averaged maps, the rest of the weight going to the map 0, which is
    1/2-averaged: each part, divided by its constant where that is above 1, enters with the weight
    :math:`w_i = |c_i|\max(1, u_i)`; minus a nonexpansive map is nonexpansive, no more.
    """
    upper = sum((abs(c) * claim.upper for c, claim in terms), Fraction(0))
    if upper > 1:
        return Claim(upper, None)
    weights = [abs(c) * max(claim.upper, Fraction(1)) for c, claim in terms]
    rest = 1 - sum(weights, Fraction(0))
    if rest < 0:
        return Claim(upper, (1 + upper) / 2)
    alpha = rest / 2
    for weight, (c, claim) in zip(weights, terms, strict=True):
        alpha += weight * (claim.alpha if c >= 0 and claim.alpha is not None else 1)
    return Claim(upper, min(alpha, (1 + upper) / 2))


def beside(claims: Sequence[Claim]) -> Claim:
    r""":math:`x \mapsto (T_1x, \dots, T_nx)`: :math:`u^2 = \sum u_i^2`."""
    return of_linear(root_up(sum((claim.upper**2 for claim in claims), Fraction(0))))


def better(one: Claim, other: Claim) -> Claim:
    """Both hold of the same map."""
    alphas = [alpha for alpha in (one.alpha, other.alpha) if alpha is not None]
    return Claim(min(one.upper, other.upper), min(alphas, default=None))


def worst(claims: Sequence[Claim]) -> Claim:
    """What holds of each of several maps."""
    alphas = [claim.alpha for claim in claims if claim.alpha is not None]
    return Claim(
        max(claim.upper for claim in claims), max(alphas) if len(alphas) == len(claims) else None
    )


def of_relaxation(claim: Claim, weight: Fraction) -> Claim:
    r""":math:`(1-\lambda)I + \lambda T`, for :math:`\lambda \ge 0`."""
    if claim.alpha is None:
        return of_linear(abs(1 - weight) + weight * claim.upper)
    alpha = weight * claim.alpha
    return Claim(Fraction(1), alpha) if alpha <= 1 else of_linear(2 * alpha - 1)
