"""The prover's arithmetic of bounds and of rounding and the checker's, written apart, agree."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp_lip.certifier.composition import averaged_with_identity, combine, compose, worst
from pnp_lip.certifier.execution import (
    Execution,
    affine_execution,
    compose_executions,
    relaxed_execution,
    sizes_of,
    step_execution,
)
from pnp_lip.certifier.statement import Statement, lipschitz, symmetric
from pnp_lip.certifier.values import Atom, Dependent
from pnp_lip.certifier.walk import Walk
from pnp_lip.checker import composition as second
from pnp_lip.checker import execution as again
from pnp_lip.checker.composition import Claim
from pnp_lip.checker.values import Atom as SecondAtom
from pnp_lip.checker.walk import Walk as SecondWalk
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


@given(statements, statements)
def test_the_better_of_two_bounds_of_one_map_is_one_of_them(
    one: Statement, other: Statement
) -> None:
    both = second.better(_claim(one), _claim(other))
    assert both.upper == Fraction(min(one.upper, other.upper))
    known = [a for a in (one.averagedness, other.averagedness) if a is not None]
    assert both.alpha == (Fraction(min(known)) if known else None)


@given(st.lists(statements, min_size=1, max_size=4))
def test_maps_beside_each_other_add_their_squares(parts: Sequence[Statement]) -> None:
    """And averagedness is only what a constant implies."""
    found = second.beside([_claim(part) for part in parts])
    square = sum(Fraction(part.upper) ** 2 for part in parts)
    assert square <= found.upper**2 <= square * (1 + Fraction(1, 2**180))
    assert found.alpha == ((1 + found.upper) / 2 if found.upper <= 1 else None)


@given(eighths, eighths)
def test_a_gradient_step_has_eigenvalues_between_one_and_one_minus_its_length(
    norm: Fraction, tau: Fraction
) -> None:
    """``I - t A`` with ``0 <= A <= 1``, ``t = tau slope |W|^2``: averaged with ``t / 2`` up to 2."""
    found = second.of_gradient_step(norm, tau, Fraction(3, 2))
    t = tau * Fraction(3, 2) * norm**2
    assert found.upper == max(1, abs(1 - t))
    assert found.alpha == (t / 2 if 0 <= t <= 2 else None)


branches = st.tuples(eighths, statements, st.none() | st.tuples(eighths, eighths).map(sorted))


@given(eighths | st.none(), st.lists(branches, min_size=1, max_size=2), st.booleans())
def test_of_combinations_with_the_image_itself(
    own: Fraction | None, parts: Sequence[tuple[Fraction, Statement, Any]], affine: bool
) -> None:
    """Sums, convex combinations and relaxations of branches, and of those with symmetric matrices.

    No certificate claims less than the checker proves, and it proves what is claimed.
    """
    prover: Any = Walk(None, "", None)  # type: ignore[arg-type]
    checker: Any = SecondWalk(None, None, None)  # type: ignore[arg-type]
    prover.cut(SimpleNamespace(name="x"), Dependent({}, ()))
    checker.cut(SimpleNamespace(name="x"), ())
    terms = {f"t{i}": c for i, (c, _, _) in enumerate(parts)}
    for name, (_, statement, spectrum) in zip(terms, parts, strict=True):
        ends = None if spectrum is None else tuple(spectrum)
        prover.atoms[name] = Atom(statement, ends)
        checker.atoms[name] = SecondAtom(_claim(statement), ends)
    if affine or own is not None:
        terms["x"] = 1 - sum(terms.values(), Fraction(0)) if affine else Fraction(own or 0)
    _require_same(prover.combined(terms), checker.claim(terms))


def test_two_halves_in_turn_are_relaxed_beyond_one() -> None:
    """``x + 1.2 (T x - x)`` of a 2/3-averaged ``T`` is 0.8-averaged, by 1.5 it is nonexpansive."""
    walk: Any = SecondWalk(None, None, None)  # type: ignore[arg-type]
    walk.cut(SimpleNamespace(name="x"), ())
    walk.atoms["t"] = SecondAtom(Claim(Fraction(1), Fraction(2, 3)))
    for weight in (Fraction(1, 2), Fraction(6, 5), Fraction(3, 2)):
        found = walk.claim({"x": 1 - weight, "t": weight})
        assert found == Claim(Fraction(1), weight * Fraction(2, 3))
    assert walk.claim({"x": Fraction(-1), "t": Fraction(2)}) == Claim(Fraction(5, 3), None)
    assert walk.claim({"x": Fraction(3, 2), "t": Fraction(-1, 2)}).upper == 2


def _require_near(proved: Execution | None, exact: again.Error | None) -> None:
    """The prover's numbers are not below the checker's, and hardly above."""
    assert proved is not None
    assert exact is not None
    for name in ("relative", "offset", "growth", "shift"):
        value = getattr(exact, name)
        assert value <= Fraction(getattr(proved, name)) <= value * (1 + Fraction(1, 10**8))


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (2, 4, 5), (4, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("roundings", [0, 7])
def test_of_rounding_in_a_layer(shape: tuple[int, ...], roundings: int) -> None:
    torch.manual_seed(0)
    weight, bias, norm = torch.randn(shape), torch.randn(shape[0]), 1.75
    sizes = sizes_of(weight, bias)
    proved = step_execution(norm=norm, sizes=sizes, tau=0.375, growth=1.0, roundings=roundings)
    step: Any = SimpleNamespace(weight=weight, bias=bias, tau=Fraction(3, 8), roundings=roundings)
    _require_near(proved, again.of_step(step, Fraction(norm), Fraction(1)))
    affine = affine_execution(norm, sizes)
    _require_near(affine, again.of_affine(weight, bias, Fraction(norm), Fraction(1)))


errors = st.tuples(*[st.integers(0, 24).map(lambda n: n / 8)] * 4)


@given(st.lists(st.tuples(st.integers(0, 24).map(lambda n: n / 8), errors), min_size=1, max_size=3))
def test_of_rounding_in_a_chain(parts: Sequence[tuple[float, tuple[float, ...]]]) -> None:
    proved = compose_executions([(stretch, Execution(*error)) for stretch, error in parts])
    exact = again.in_turn(
        [(Fraction(stretch), again.Error(*map(Fraction, error))) for stretch, error in parts]
    )
    _require_near(proved, exact)


@given(errors, st.integers(0, 24).map(lambda n: n / 8))
def test_of_rounding_in_a_relaxation(error: tuple[float, ...], weight: float) -> None:
    exact = again.of_blend(again.Error(*map(Fraction, error)), Fraction(weight))
    _require_near(relaxed_execution(Execution(*error), weight), exact)
