"""The convergence theorems that a plan may name, each with what it promises and where it is proved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from pnp_lip.rounding import format_up, round_up
from pnp_lip.solvers.schemes import Anderson, Halpern, Scheme

__all__ = [
    "DOUGLAS_RACHFORD",
    "PRIMAL_DUAL",
    "Theorem",
    "averaged",
    "contraction",
    "is_far_from_one",
    "nonexpansive",
    "with_scheme",
]

#: A contraction factor is named only if 1 - q exceeds the unit roundoff of the images this many times.
_FAR = 1000.0


@dataclass(frozen=True)
class Theorem:
    """A convergence theorem.

    Attributes
    ----------
    name
        how the field calls it.
    conclusion
        what it promises, as a sentence.
    reference
        where it is proved.
    """

    name: str
    conclusion: str
    reference: str


_EXISTENCE = {
    True: "the iterates converge to a fixed point, which exists, because the images are kept in a box",
    False: "the iterates converge if a fixed point exists (box=(0, 1) makes sure of one)",
}

DOUGLAS_RACHFORD = Theorem(
    "Douglas-Rachford for a firmly nonexpansive map",
    "the images converge to a solution of 0 in (D^-1 - I)x + gamma grad f(x), if there is one",
    "Lions and Mercier 1979; Eckstein and Bertsekas 1992",
)

PRIMAL_DUAL = Theorem(
    "Condat-Vu primal-dual splitting for a firmly nonexpansive denoiser",
    "the images converge to a solution of 0 in (D^-1 - I)x + tau A* dg(A x), if there is one",
    "Chambolle and Pock 2011; Condat 2013; Vu 2013",
)


def averaged(box: bool, q: float = 1.0) -> Theorem:
    """Of an averaged map, on a box or not, that contracts besides if ``q < 1``."""
    conclusion = (
        f"the iterates converge to the only fixed point (the map contracts, but with 1 - q = {1 - q:.0e} "
        f"too weakly to count on)"
        if q < 1
        else _EXISTENCE[box]
    )
    return Theorem(
        "Krasnosel'skii-Mann theorem for averaged maps",
        conclusion,
        "Bauschke and Combettes 2017, Proposition 5.16",
    )


def nonexpansive(box: bool) -> Theorem:
    """Of a map that is only nonexpansive, under relaxation."""
    return Theorem(
        "Krasnosel'skii-Mann theorem for nonexpansive maps",
        _EXISTENCE[box],
        "Bauschke and Combettes 2017, Theorem 5.15",
    )


def contraction(q: float) -> Theorem:
    """Of a map that contracts with ``q < 1``."""
    distance = round_up(Fraction(q) / (1 - Fraction(q)))
    return Theorem(
        "Banach's fixed-point theorem",
        f"the map contracts with q <= {format_up(q)}, so the iterates converge to its only fixed point, "
        f"whose distance from the image is at most {format_up(distance, 3)} times the last |T(w) - w|",
        "Banach 1922",
    )


def is_far_from_one(q: float, unit: float) -> bool:
    """Whether arithmetic of unit roundoff ``unit`` can carry out a contraction with ``q``."""
    return 1 - q >= _FAR * unit


def with_scheme(theorem: Theorem, scheme: Scheme, box: bool) -> Theorem:
    """The theorem of the same map under another scheme of steps."""
    if isinstance(scheme, Anderson):
        return replace(
            theorem,
            name=f"{theorem.name}, with summable corrections",
            reference=f"{theorem.reference}; Combettes 2001; Zhang, O'Donoghue and Boyd 2020",
        )
    if isinstance(scheme, Halpern):
        ending = "" if box else " if there is one (box=(0, 1) makes sure of one)"
        return Theorem(
            "Halpern's iteration for nonexpansive maps",
            f"the iterates converge to the fixed point nearest to the start{ending}; after k steps the "
            f"residual is at most 2 d / (k + 1), d the distance to it",
            "Wittmann 1992; Lieder 2021",
        )
    return theorem
