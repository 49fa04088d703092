r"""Proved rates: contraction factors, stability in the data, and residuals after a number of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from pnp_lip.certifier import Statement
from pnp_lip.rounding import round_up
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.operator_norm import OperatorNorm
from pnp_lip.solvers.schemes import Halpern, Scheme

__all__ = ["Rate", "composed", "contraction_factor", "residual_bound", "stability_bound"]


@dataclass(frozen=True)
class Rate:
    """How small the residual certainly is after a number of steps.

    Attributes
    ----------
    scheme
        how steps are made.
    averagedness
        of the map, in (0, 1].
    distance
        bound of the distance from the start to a fixed point.
    """

    scheme: Scheme
    averagedness: float
    distance: float

    @classmethod
    def of(cls, scheme: Scheme, averagedness: float, distance: float) -> Rate | None:
        """The rate; ``None`` where none is known."""
        known = residual_bound(scheme, averagedness, distance, 0) is not None
        return cls(scheme, averagedness, distance) if known else None

    def after(self, steps: int) -> float:
        """A bound of ``|w - T(w)|`` after so many steps."""
        return residual_bound(self.scheme, self.averagedness, self.distance, steps) or math.inf

    def steps_for(self, length: float) -> int:
        """After how many steps ``|w - T(w)|`` is certainly at most ``length``."""
        share = self.after(0) / length
        steps = share if isinstance(self.scheme, Halpern) else share**2
        count = max(0, math.ceil(steps) - 1)
        return count if self.after(count) <= length else count + 1


def composed(*averagedness: float) -> float:
    r"""Of a composition, rounded up: :math:`1/(1 + 1/\sum\alpha_i/(1-\alpha_i))`, 1 if one of them is 1.

    Combettes and Yamada 2015.
    """
    if any(alpha >= 1 for alpha in averagedness):
        return 1.0
    shares = [Fraction(alpha) for alpha in averagedness]
    total = sum((share / (1 - share) for share in shares), Fraction(0))
    return round_up(total / (1 + total))


def contraction_factor(
    stepsize: float, data: DataTerm, norm: OperatorNorm, statement: Statement | None, anchor: float
) -> float:
    r""":math:`(1-\rho)\,u\max(|1-\gamma\mu|, |1-\gamma L|)`, rounded up; 1 or more says nothing.

    The gradient step has its spectrum in :math:`[1-\gamma L, 1-\gamma\mu]` and the denoiser the constant
    ``u``; constants multiply, also where ``u > 1``.
    """
    gamma, upper = Fraction(stepsize), Fraction(norm.upper)
    smooth = Fraction(data.weight) * upper**2
    convex = Fraction(data.smallest_weight) * Fraction(norm.lower) ** 2
    factor = max(abs(1 - gamma * convex), abs(1 - gamma * smooth))
    return round_up((1 - Fraction(anchor)) * _constant(statement) * factor)


def stability_bound(
    stepsize: float,
    data: DataTerm,
    norm: OperatorNorm,
    statement: Statement | None,
    q: float | None,
    anchor: float,
) -> float | None:
    r""":math:`(1-\rho)\,u\gamma w\|A\|/(1-q)`: how far the solution moves for a change of ``y`` by 1.

    Because :math:`\|T_y x - T_{y'}x\| \le u\gamma w\|A\|\,\|y - y'\|` for every ``x``; ``None`` without a
    contraction ``q``.
    """
    if q is None:
        return None
    change = (
        _constant(statement) * Fraction(stepsize) * Fraction(data.weight) * Fraction(norm.upper)
    )
    return round_up((1 - Fraction(anchor)) * change / (1 - Fraction(q)))


def residual_bound(
    scheme: Scheme, averagedness: float, distance: float, steps: int
) -> float | None:
    r"""A bound of :math:`\|w_k - T(w_k)\|` after ``steps`` steps from a start at this distance.

    Halpern: :math:`2d_0/(k+1)`. Krasnosel'skii-Mann with :math:`\lambda`, for which the relaxed map is
    :math:`\beta`-averaged with :math:`\beta = \alpha\lambda`:
    :math:`\sqrt{\beta/(1-\beta)}\,d_0/(\lambda\sqrt{k+1})`. With a box, its diameter bounds the distance to
    the fixed points.

    Parameters
    ----------
    scheme
        how steps are made.
    averagedness
        of ``T``, in (0, 1].
    distance
        from the start to the fixed points.
    steps
        ``k``, at least 0.

    Returns
    -------
    float | None
        The bound, or ``None`` where none is known (Anderson; a map that is only nonexpansive without
        relaxation).
    """
    if isinstance(scheme, Halpern):
        return 2 * distance / (steps + 1) * (1 + 2.0**-50)
    weight = getattr(scheme, "relaxation", None)
    if scheme.stored or weight is None or not averagedness * weight < 1:
        return None
    share = averagedness * weight
    root = math.sqrt(share / (1 - share)) / weight
    return root * distance / math.sqrt(steps + 1) * (1 + 2.0**-48)


def _constant(statement: Statement | None) -> Fraction:
    return Fraction(1 if statement is None else statement.upper)
