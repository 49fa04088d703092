r"""What is proved of a map, and how proofs compose.

A statement says :math:`\mathrm{Lip}(T) \le u` and, if :math:`u \le 1`, that ``T`` is
:math:`\alpha`-averaged: :math:`T = (1-\alpha)I + \alpha N` with ``N`` nonexpansive, for
:math:`\alpha \in [0, 1]`. One means nothing beyond nonexpansive, one half firmly nonexpansive, zero
the identity. All arithmetic rounds outward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pnp_lip.certifier.outward import add_up, divide_up, multiply_up

__all__ = ["IDENTITY", "Statement", "averaged_with_identity", "compose", "lipschitz", "scaled"]


@dataclass(frozen=True)
class Statement:
    r"""A proved bound of one map.

    Attributes:
        rule: the argument, in a few words.
        upper: :math:`u`, finite and nonnegative.
        averagedness: :math:`\alpha`, or ``None`` where :math:`u > 1`.
        name: path of the layer in the network, empty for the whole.
        norm_upper, norm_lower: of the layer's weight, if it has one.
        parts: what a composed statement rests on.
    """

    rule: str
    upper: float
    averagedness: float | None
    name: str = ""
    norm_upper: float | None = None
    norm_lower: float | None = None
    parts: tuple[Statement, ...] = ()

    def __post_init__(self) -> None:
        if not (self.upper >= 0 and math.isfinite(self.upper)):
            raise ValueError(f"rule '{self.rule}' gives no finite bound: {self.upper}")
        if (self.averagedness is None) != (self.upper > 1):
            raise ValueError("averagedness is None exactly where the map may be expansive")

    def leaves(self) -> tuple[Statement, ...]:
        """The statements about single layers, in order."""
        if not self.parts:
            return (self,)
        return tuple(leaf for part in self.parts for leaf in part.leaves())

    def named(self, name: str) -> Statement:
        """The same statement under the path ``name``."""
        return replace(self, name=name)


#: The identity map.
IDENTITY = Statement("identity", 1.0, 0.0)


def lipschitz(
    rule: str, upper: float, *, norm_upper: float | None = None, norm_lower: float | None = None
) -> Statement:
    r"""A map of which only :math:`\mathrm{Lip} \le u` is known: :math:`(1+u)/2`-averaged if u <= 1."""
    averagedness = min(1.0, add_up(1.0, upper) / 2) if upper <= 1 else None
    return Statement(rule, upper, averagedness, norm_upper=norm_upper, norm_lower=norm_lower)


def compose(parts: tuple[Statement, ...], rule: str = "composition") -> Statement:
    r"""``parts[-1]`` after ... after ``parts[0]``.

    :math:`u = \prod u_i` and :math:`\alpha = K/(1+K)`, :math:`K = \sum\alpha_i/(1-\alpha_i)`
    (Combettes and Yamada 2015).
    """
    upper, odds = 1.0, 0.0
    for part in parts:
        upper = multiply_up(upper, part.upper)
        odds = add_up(odds, _odds(part.averagedness))
    alone = len(parts) == 1
    averagedness = parts[0].averagedness if alone else (_share(odds) if upper <= 1 else None)
    return Statement(rule, upper, averagedness, parts=parts)


def scaled(part: Statement, factor: float, rule: str) -> Statement:
    """``factor`` times a map."""
    upper = multiply_up(abs(factor), part.upper)
    return replace(lipschitz(rule, upper), parts=(part,))


def averaged_with_identity(part: Statement, weight: float) -> Statement:
    r""":math:`(1-\lambda)I + \lambda T` for :math:`0 \le \lambda`: :math:`\lambda\alpha`-averaged."""
    rule = f"(1 - {weight:.6g}) I + {weight:.6g} T"
    if part.averagedness is None:
        upper = add_up(abs(1 - weight), multiply_up(weight, part.upper))
        return replace(lipschitz(rule, upper), parts=(part,))
    averagedness = multiply_up(weight, part.averagedness)
    if averagedness <= 1:
        return Statement(rule, 1.0, averagedness, parts=(part,))
    upper = add_up(multiply_up(2.0, averagedness), -1.0)
    return Statement(rule, max(upper, math.nextafter(1.0, 2.0)), None, parts=(part,))


def _odds(averagedness: float | None) -> float:
    r"""At least :math:`\alpha/(1-\alpha)`."""
    if averagedness is None or averagedness >= 1:
        return math.inf
    return divide_up(averagedness, math.nextafter(1 - averagedness, 0.0))


def _share(odds: float) -> float:
    r"""At least :math:`K/(1+K)`, for :math:`K \ge 0`."""
    if odds == 0:
        return 0.0
    reciprocal = math.nextafter(1 / odds, 0.0)
    return min(1.0, divide_up(1.0, math.nextafter(1 + reciprocal, 0.0)))
