"""How proofs compose: maps one after the other, sums of maps, and the worst of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from pnp_lip.certifier.execution import compose_executions
from pnp_lip.certifier.statement import Statement, contraction, lipschitz, symmetric
from pnp_lip.rounding import round_up

__all__ = ["averaged_with_identity", "combine", "compose", "made_of", "worst"]


def compose(parts: Sequence[Statement], rule: str = "composition") -> Statement:
    r"""``parts[-1]`` after ... after ``parts[0]``.

    :math:`u = \prod u_i` and :math:`\alpha = K/(1+K)`, :math:`K = \sum\alpha_i/(1-\alpha_i)`
    (Combettes and Yamada 2015); also :math:`\alpha \le (1+u)/2`, which a contraction has.
    """
    product = math.prod((Fraction(part.upper) for part in parts), start=Fraction(1))
    upper = round_up(product)
    averagedness = contraction(upper)
    if averagedness is not None:
        averagedness = min(averagedness, round_up(_share([part.averagedness for part in parts])))
    _require_euclidean(parts[:-1])
    execution = compose_executions([(part.upper, part.execution) for part in parts])
    outputs = parts[-1].outputs if parts else "l2"
    found = Statement(rule, upper, averagedness, execution=execution, outputs=outputs)
    return made_of(parts, found)


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
    averagedness = contraction(upper)
    weights = [abs(c) * max(Fraction(1), Fraction(part.upper)) for c, part in terms]
    total = sum(weights, Fraction(0))
    if averagedness is not None and total <= 1:
        share = (1 - total) / 2
        for weight, (c, part) in zip(weights, terms, strict=True):
            known = c >= 0 and part.averagedness is not None
            share += weight * (Fraction(part.averagedness or 0) if known else 1)
        averagedness = min(averagedness, round_up(share))
    return made_of([part for _, part in terms], Statement(rule, upper, averagedness))


def averaged_with_identity(part: Statement, weight: float | Fraction) -> Statement:
    r""":math:`(1-\lambda)I + \lambda T` for :math:`0 \le \lambda`: :math:`\lambda\alpha`-averaged.

    For :math:`\lambda\alpha > 1` its Lipschitz constant is at most :math:`2\lambda\alpha - 1`: what holds
    of a symmetric matrix between :math:`1 - 2\lambda\alpha` and 1 holds of it.

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
    else:
        found = symmetric(rule, 1 - 2 * share * Fraction(part.averagedness), Fraction(1))
    return made_of([part], found)


def worst(statements: Sequence[Statement]) -> Statement:
    """What holds of every one of several maps; with the parts of the one whose bound is largest."""
    first = max(statements, key=lambda one: (one.upper, one.averagedness or 0.0))
    alphas = [one.averagedness or 0.0 for one in statements]
    return replace(
        first,
        averagedness=max(alphas) if first.upper <= 1 else None,
        execution=first.execution if len({one.execution for one in statements}) == 1 else None,
        conditions=_gathered(statements),
        outputs=first.outputs if len({one.outputs for one in statements}) == 1 else "l2",
    )


def made_of(parts: Sequence[Statement], whole: Statement) -> Statement:
    """A statement that rests on others, and so on their conditions."""
    return replace(whole, parts=tuple(parts), conditions=_gathered(parts))


def _gathered(parts: Sequence[Statement]) -> tuple[str, ...]:
    """The conditions of all parts, each once."""
    return tuple(dict.fromkeys(one for part in parts for one in part.conditions))


def _require_euclidean(parts: Sequence[Statement]) -> None:
    if any(part.outputs == "mixed" for part in parts):
        raise ValueError("a bound of single outputs says nothing of what is made of all of them")


def _share(alphas: Sequence[float | None]) -> Fraction:
    r""":math:`K/(1+K)` with :math:`K = \sum\alpha_i/(1-\alpha_i)`; 1 if some map has none below 1."""
    known = [Fraction(alpha) for alpha in alphas if alpha is not None and alpha < 1]
    odds = sum((alpha / (1 - alpha) for alpha in known), Fraction(0))
    return odds / (1 + odds) if len(known) == len(alphas) else Fraction(1)
