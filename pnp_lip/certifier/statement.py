r"""What is proved of a map, and how proofs compose.

A statement says :math:`\mathrm{Lip}(T) \le u` and, if :math:`u \le 1`, that ``T`` is
:math:`\alpha`-averaged: :math:`T = (1-\alpha)I + \alpha N` with ``N`` nonexpansive, for
:math:`\alpha \in [0, 1]`. One means nothing beyond nonexpansive, one half firmly nonexpansive, zero
the identity. Composition is computed with rational numbers; what is stored is rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

from pnp_lip.certifier.execution import Execution, compose_executions
from pnp_lip.norms import NormBound
from pnp_lip.rounding import round_up

__all__ = [
    *("IDENTITY", "Statement", "averaged_with_identity", "combine", "compose", "gathered"),
    *("lipschitz", "symmetric", "worst"),
]

OutputNorm = Literal["l2", "l1", "mixed"]


@dataclass(frozen=True)
class Statement:
    r"""A proved bound of one map.

    Attributes
    ----------
    rule
        the argument, in a few words.
    upper
        :math:`u`, finite and nonnegative.
    averagedness
        :math:`\alpha`, or ``None`` where :math:`u > 1`.
    name
        path of the layer in the network, empty for the whole.
    bound
        the norm of the layer's weight with its proof, if it has a weight.
    execution
        what float32 arithmetic adds, ``None`` where it is not known.
    parts
        what a composed statement rests on.
    conditions
        on inputs ``[B, C, ...]`` for which it was proved, such as ``"H % 4 == 0"``; none
        where it holds for every size.
    outputs
        the norm of outputs: ``l2``; ``l1``, the sum, which is no less; or ``mixed``, every output
        alone.
    """

    rule: str
    upper: float
    averagedness: float | None
    name: str = ""
    bound: NormBound | None = None
    execution: Execution | None = None
    parts: tuple[Statement, ...] = ()
    conditions: tuple[str, ...] = ()
    outputs: OutputNorm = "l2"

    def __post_init__(self) -> None:
        if not (self.upper >= 0 and math.isfinite(self.upper)):
            raise ValueError(f"rule '{self.rule}' gives no finite bound: {self.upper}")
        if self.outputs not in get_args(OutputNorm):
            raise ValueError(f"expected outputs in the norm l2, l1 or mixed, got {self.outputs!r}")
        if (self.averagedness is None) != (self.upper > 1):
            raise ValueError("averagedness is None exactly where the map may be expansive")
        if self.averagedness is not None and not 0 <= self.averagedness <= 1:
            raise ValueError(f"averagedness must lie in [0, 1], got {self.averagedness}")

    @property
    def norm_upper(self) -> float | None:
        """Proved bound of the norm of the layer's weight."""
        return None if self.bound is None else self.bound.upper

    @property
    def norm_lower(self) -> float | None:
        """Attained by the layer's weight."""
        return None if self.bound is None else self.bound.lower

    def leaves(self) -> tuple[Statement, ...]:
        """The statements about single layers, in order."""
        if not self.parts:
            return (self,)
        return tuple(leaf for part in self.parts for leaf in part.leaves())

    def named(self, name: str) -> Statement:
        """The same statement under the path ``name``; itself where it has that path already."""
        return self if name == self.name else replace(self, name=name)


#: The identity map.
IDENTITY = Statement("identity", 1.0, 0.0, execution=Execution.exact())


def lipschitz(rule: str, upper: float, *, bound: NormBound | None = None) -> Statement:
    r"""A map of which only :math:`\mathrm{Lip} \le u` is known: :math:`(1+u)/2`-averaged if u <= 1."""
    return Statement(rule, upper, _contraction(upper), bound=bound)


def compose(parts: Sequence[Statement], rule: str = "composition") -> Statement:
    r"""``parts[-1]`` after ... after ``parts[0]``.

    :math:`u = \prod u_i` and :math:`\alpha = K/(1+K)`, :math:`K = \sum\alpha_i/(1-\alpha_i)`
    (Combettes and Yamada 2015); also :math:`\alpha \le (1+u)/2`, which a contraction has.
    """
    parts = tuple(parts)
    product = math.prod((Fraction(part.upper) for part in parts), start=Fraction(1))
    upper = round_up(product)
    averagedness = _contraction(upper)
    if averagedness is not None:
        averagedness = min(averagedness, round_up(_share([part.averagedness for part in parts])))
    if len(parts) == 1:
        averagedness = parts[0].averagedness
    _require_euclidean(parts[:-1])
    return Statement(
        rule,
        upper,
        averagedness,
        execution=compose_executions([(part.upper, part.execution) for part in parts]),
        parts=parts,
        conditions=gathered(parts),
        outputs=parts[-1].outputs if parts else "l2",
    )


def combine(terms: Sequence[tuple[Fraction, Statement]], rule: str = "sum") -> Statement:
    r""":math:`\sum_i c_i T_i`, all of the same input.

    :math:`u = \sum |c_i| u_i`. Averagedness follows from the parts only where all are nonexpansive, so
    an expansive one enters as :math:`(c_i u_i)(T_i/u_i)`. With the weights
    :math:`w_i = |c_i|\max(1, u_i)` and :math:`\sum w_i \le 1`, the rest of the weight may be given to
    the map 0, which is 1/2-averaged:
    :math:`\alpha = \sum_{c_i>0} w_i\alpha_i + \sum_{c_i<0} w_i + (1 - \sum w_i)/2` with
    :math:`\alpha_i = 1` for expansive parts, because a convex combination of averaged maps is averaged
    (Bauschke and Combettes 2017, prop. 4.42).
    """
    _require_euclidean([part for _, part in terms])
    upper = round_up(sum((abs(c) * Fraction(part.upper) for c, part in terms), Fraction(0)))
    averagedness = _contraction(upper)
    weights = [abs(c) * max(Fraction(1), Fraction(part.upper)) for c, part in terms]
    total = sum(weights, Fraction(0))
    if averagedness is not None and total <= 1:
        share = (1 - total) / 2
        for weight, (c, part) in zip(weights, terms, strict=True):
            known = c >= 0 and part.averagedness is not None
            share += weight * (Fraction(part.averagedness or 0) if known else 1)
        averagedness = min(averagedness, round_up(share))
    parts = tuple(part for _, part in terms)
    return Statement(rule, upper, averagedness, parts=parts, conditions=gathered(parts))


def averaged_with_identity(part: Statement, weight: float | Fraction) -> Statement:
    r""":math:`(1-\lambda)I + \lambda T` for :math:`0 \le \lambda`: :math:`\lambda\alpha`-averaged.

    For :math:`\lambda\alpha > 1` its Lipschitz constant is at most :math:`2\lambda\alpha - 1`.

    Raises
    ------
    ValueError
        a weight that is negative or not finite.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"expected a finite weight >= 0, got {weight}")
    _require_euclidean([part])
    share = Fraction(weight)
    rule = f"(1 - w) I + w T, w = {float(weight)!r}"
    if part.averagedness is None:
        found = lipschitz(rule, round_up(abs(1 - share) + share * Fraction(part.upper)))
    elif share * Fraction(part.averagedness) <= 1:
        found = Statement(rule, 1.0, round_up(share * Fraction(part.averagedness)))
    else:
        found = lipschitz(rule, round_up(2 * share * Fraction(part.averagedness) - 1))
    return replace(found, parts=(part,), conditions=part.conditions)


def symmetric(rule: str, low: Fraction, high: Fraction) -> Statement:
    r"""A map with :math:`T(x) - T(y) = M(x - y)`, ``M`` symmetric, :math:`low\,I \le M \le high\,I`.

    Its constant is :math:`\max(-low, high)`. If :math:`-1 \le low` and :math:`high \le 1`, it is
    :math:`\alpha`-averaged with :math:`\alpha = (1 - low)/2`: then
    :math:`(M - (1-\alpha)I)/\alpha \ge -I`, and :math:`\le I`.
    """
    if low < -1 or high > 1:
        return lipschitz(rule, round_up(max(-low, high)))
    return Statement(rule, round_up(max(-low, high, Fraction(0))), round_up((1 - low) / 2))


def worst(statements: Sequence[Statement]) -> Statement:
    """What holds of every one of several maps; with the parts of the one whose bound is largest."""
    first = max(statements, key=lambda one: (one.upper, one.averagedness or 0.0))
    alphas = [one.averagedness or 0.0 for one in statements]
    return replace(
        first,
        averagedness=max(alphas) if first.upper <= 1 else None,
        execution=first.execution if len({one.execution for one in statements}) == 1 else None,
        conditions=gathered(statements),
        outputs=first.outputs if len({one.outputs for one in statements}) == 1 else "l2",
    )


def gathered(parts: Sequence[Statement]) -> tuple[str, ...]:
    """The conditions of all parts, each once."""
    return tuple(dict.fromkeys(one for part in parts for one in part.conditions))


def _require_euclidean(parts: Sequence[Statement]) -> None:
    if any(part.outputs == "mixed" for part in parts):
        raise ValueError("a bound of single outputs says nothing of what is made of all of them")


def _contraction(upper: float) -> float | None:
    r""":math:`(1+u)/2` for a contraction, ``None`` for what may be expansive."""
    return round_up((1 + Fraction(upper)) / 2) if upper <= 1 else None


def _share(alphas: Sequence[float | None]) -> Fraction:
    r""":math:`K/(1+K)` with :math:`K = \sum\alpha_i/(1-\alpha_i)`; 1 if some map has none below 1."""
    odds = Fraction(0)
    for alpha in alphas:
        if alpha is None or alpha >= 1:
            return Fraction(1)
        odds += Fraction(alpha) / (1 - Fraction(alpha))
    return odds / (1 + odds)
