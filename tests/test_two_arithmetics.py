"""The prover's arithmetic of statements and the checker's, written apart, give the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pnp_lip.certifier.composition import averaged_with_identity, combine, compose, worst
from pnp_lip.certifier.statement import Statement, lipschitz, symmetric
from pnp_lip.checker import composition as second
from pnp_lip.checker.composition import Claim
from pnp_lip.rounding import round_up

#: Dyadic numbers, whose products are floats.
eighths = st.integers(-24, 24).map(lambda n: Fraction(n, 8))


def _statement(upper: Fraction, alpha: Fraction) -> Statement:
    if upper > 1:
        return lipschitz("known by its constant", float(upper))
    return Statement("averaged", float(upper), float(min(alpha, (1 + upper) / 2)))


#: Maps with a constant up to 3 and, where it is at most 1, an averagedness.
statements = st.builds(
    _statement,
    st.integers(0, 24).map(lambda n: Fraction(n, 8)),
    st.integers(1, 8).map(lambda n: Fraction(n, 8)),
)


def _claim(statement: Statement) -> Claim:
    alpha = statement.averagedness
    return Claim(Fraction(statement.upper), None if alpha is None else Fraction(alpha))


def _require_same(statement: Statement, claim: Claim) -> None:
    assert statement.upper == round_up(claim.upper)
    assert statement.averagedness == (None if claim.alpha is None else round_up(claim.alpha))


@given(st.lists(statements, min_size=1, max_size=4))
def test_of_sequences(parts: Sequence[Statement]) -> None:
    _require_same(compose(parts), second.in_sequence([_claim(part) for part in parts]))


@given(st.lists(st.tuples(eighths, statements), min_size=1, max_size=4))
def test_of_sums(terms: Sequence[tuple[Fraction, Statement]]) -> None:
    _require_same(combine(terms), second.of_sum([(c, _claim(part)) for c, part in terms]))


@given(statements, st.integers(0, 24).map(lambda n: Fraction(n, 8)))
def test_of_relaxations(part: Statement, weight: Fraction) -> None:
    _require_same(averaged_with_identity(part, weight), second.of_relaxation(_claim(part), weight))


@given(eighths, eighths)
def test_of_scalar_maps(one: Fraction, other: Fraction) -> None:
    low, high = min(one, other), max(one, other)
    _require_same(symmetric("scalar", low, high), second.of_entrywise(low, high))


@given(st.lists(statements, min_size=1, max_size=4))
def test_of_the_worst_of_several_maps(parts: Sequence[Statement]) -> None:
    _require_same(worst(parts), second.worst([_claim(part) for part in parts]))
