"""A search for the strength at which a residual that grows with it is as large as it should be."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["RootSearch", "Try"]

#: Strengths between which a root is looked for.
_RANGE = (1 / 8, 8.0)
#: Most solves of a search, and the accuracy of the root.
_MOST, _ACCURACY = 10, 0.01
#: By how much the strength changes at first, while no bracket is known.
_STRIDE = 1.6


@dataclass(frozen=True)
class Try:
    """One solve of a search: its strength, what it left, and how long it took."""

    strength: float
    discrepancy: float
    iterations: int


class RootSearch:
    """A root of a function that increases with the strength, in logarithms.

    Parameters
    ----------
    target
        what the function is to be.
    first
        where to look first.
    least
        the least strength to try.
    """

    def __init__(self, target: float, first: float, least: float = _RANGE[0]) -> None:
        self.target, self.least = target, least
        self.tries: list[Try] = []
        self.next: float | None = first

    def add(self, left: float, iterations: int) -> None:
        """Take note of the solve at ``next``, and decide where to look then."""
        self.tries.append(Try(self.next or 0.0, left, iterations))
        self.next = None if self.met or len(self.tries) == _MOST else self._following()

    @property
    def met(self) -> bool:
        """Whether the best solve is at the root, up to the accuracy."""
        return abs(self._height(self._best)) <= _ACCURACY

    @property
    def root(self) -> float:
        """The strength of the best solve."""
        return self._best.strength

    @property
    def _best(self) -> Try:
        return min(self.tries, key=lambda one: abs(self._height(one)))

    def _height(self, one: Try) -> float:
        return math.log(max(one.discrepancy, 1e-30) / self.target)

    def _following(self) -> float | None:
        low = max((t for t in self.tries if self._height(t) < 0), key=_strength, default=None)
        high = min((t for t in self.tries if self._height(t) >= 0), key=_strength, default=None)
        if low is not None and high is not None:
            return self._between(low, high)
        end = self.least if low is None else _RANGE[1]
        last = self.tries[-1].strength
        if last == end:
            return None
        stride = self._stride()
        return max(end, last / stride) if low is None else min(end, last * stride)

    def _stride(self) -> float:
        """By how much to go on: a little further than the secant says, where there is one."""
        if len(self.tries) < 2:
            return _STRIDE
        before, last = self.tries[-2:]
        rise = (self._height(last) - self._height(before)) / math.log(
            last.strength / before.strength
        )
        wanted = abs(self._height(last)) / max(rise, 1e-3)
        return math.exp(min(max(1.1 * wanted, math.log(1.2)), math.log(4)))

    def _between(self, low: Try, high: Try) -> float:
        """The secant's root, kept away from the ends of the bracket."""
        share = -self._height(low) / (self._height(high) - self._height(low))
        share = min(max(share, 0.1), 0.9)
        return float(low.strength * (high.strength / low.strength) ** share)


def _strength(one: Try) -> float:
    return one.strength
