r"""What is proved of a map.

A statement says :math:`\mathrm{Lip}(T) \le u` and, if :math:`u \le 1`, that ``T`` is
:math:`\alpha`-averaged: :math:`T = (1-\alpha)I + \alpha N` with ``N`` nonexpansive, for
:math:`\alpha \in [0, 1]`. One means nothing beyond nonexpansive, one half firmly nonexpansive, zero
the identity. What is computed with rational numbers is stored rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

from pnp_lip.certifier.execution import EXACT, Execution
from pnp_lip.norms import NormBound
from pnp_lip.rounding import round_up

__all__ = ["IDENTITY", "Statement", "contraction", "lipschitz", "symmetric"]

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
        return tuple(leaf for part in self.parts for leaf in part.leaves()) or (self,)

    def named(self, name: str) -> Statement:
        """The same statement under the path ``name``; itself where it has that path already."""
        return self if name == self.name else replace(self, name=name)


#: The identity map.
IDENTITY = Statement("identity", 1.0, 0.0, execution=EXACT)


def lipschitz(rule: str, upper: float, *, bound: NormBound | None = None) -> Statement:
    r"""A map of which only :math:`\mathrm{Lip} \le u` is known: :math:`(1+u)/2`-averaged if u <= 1."""
    return Statement(rule, upper, contraction(upper), bound=bound)


def symmetric(rule: str, low: Fraction, high: Fraction) -> Statement:
    r"""A map with :math:`T(x) - T(y) = M(x - y)`, ``M`` symmetric, :math:`low\,I \le M \le high\,I`.

    Its constant is :math:`\max(-low, high)`. If :math:`-1 \le low` and :math:`high \le 1`, it is
    :math:`\alpha`-averaged with :math:`\alpha = (1 - low)/2`: then
    :math:`(M - (1-\alpha)I)/\alpha \ge -I`, and :math:`\le I`.
    """
    if low < -1 or high > 1:
        return lipschitz(rule, round_up(max(-low, high)))
    return Statement(rule, round_up(max(-low, high, Fraction(0))), round_up((1 - low) / 2))


def contraction(upper: float) -> float | None:
    r""":math:`(1+u)/2` for a contraction, ``None`` for what may be expansive."""
    return round_up((1 + Fraction(upper)) / 2) if upper <= 1 else None
