"""Composition of statements: rounded outward, and true of dense Jacobians."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip.certifier import (
    IDENTITY,
    Statement,
    averaged_with_identity,
    combine,
    compose,
    lipschitz,
)
from pnp_lip.certifier.execution import gamma32
from pnp_lip.certifier.walk import _better
from pnp_lip.checker.composition import Claim, in_sequence, of_gradient_step, of_relaxation
from pnp_lip.rounding import add_up, divide_up, multiply_up, round_up, sqrt_up

finite = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)


@given(finite, finite)
def test_sums_and_products_are_never_below_the_exact_ones(a: float, b: float) -> None:
    exact_sum, exact_product = Fraction(a) + Fraction(b), Fraction(a) * Fraction(b)
    for computed, exact in ((add_up(a, b), exact_sum), (multiply_up(a, b), exact_product)):
        assert computed == math.inf or Fraction(computed) >= exact


@given(finite, st.floats(5e-324, allow_infinity=False))
def test_quotients_are_never_below_the_exact_ones(a: float, b: float) -> None:
    computed = divide_up(a, b)
    assert computed == math.inf or Fraction(computed) >= Fraction(a) / Fraction(b)


@given(st.fractions(min_value=0, max_value=10**30))
def test_roots_are_above_the_exact_ones_by_two_units_at_most(value: Fraction) -> None:
    root = sqrt_up(value)
    assert Fraction(root) ** 2 >= value
    below = root
    for _ in range(4):
        below = math.nextafter(below, 0.0)
    assert value == 0 or Fraction(below) ** 2 < value


def test_half_the_smallest_number_is_rounded_up_not_to_zero() -> None:
    assert multiply_up(0.5, 5e-324) == 5e-324


@given(st.fractions())
def test_rounding_up_is_tight(value: Fraction) -> None:
    above = round_up(value)
    assert Fraction(above) >= value
    assert Fraction(math.nextafter(math.nextafter(above, -math.inf), -math.inf)) < value


@given(st.lists(shares, min_size=1, max_size=6))
def test_the_averagedness_of_a_composition_is_not_below_the_formula(alphas: list[float]) -> None:
    parts = [Statement("part", 1.0, alpha) for alpha in alphas]
    composed = compose(parts).averagedness
    assert composed is not None
    if max(alphas) < 1:
        odds = sum((Fraction(a) / (1 - Fraction(a)) for a in alphas), Fraction(0))
        assert composed == round_up(odds / (1 + odds))
    else:
        assert composed == 1.0


@given(st.lists(st.floats(0, 3), min_size=1, max_size=5))
def test_the_constant_of_a_composition_is_not_below_the_product(uppers: list[float]) -> None:
    composed = compose([lipschitz("part", upper) for upper in uppers])
    assert Fraction(composed.upper) >= math.prod((Fraction(u) for u in uppers), start=Fraction(1))


def _averaged(alpha: float, seed: int) -> Tensor:
    """A random linear ``(1 - alpha) I + alpha Q`` with ``Q`` orthogonal: averaged, no better."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    return (1 - alpha) * torch.eye(4, dtype=torch.float64) + alpha * q


def _require(matrix: Tensor, statement: Statement) -> None:
    """``matrix`` is what ``statement`` says, by its singular values."""
    assert torch.linalg.matrix_norm(matrix, 2) <= statement.upper + 1e-13
    if statement.averagedness:
        alpha, eye = statement.averagedness, torch.eye(len(matrix), dtype=torch.float64)
        assert torch.linalg.matrix_norm(matrix - (1 - alpha) * eye, 2) <= alpha + 1e-13


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5), st.integers(0, 99))
def test_products_of_averaged_matrices_are_averaged_as_claimed(
    alphas: list[float], seed: int
) -> None:
    product = torch.eye(4, dtype=torch.float64)
    for index, alpha in enumerate(alphas):
        product = _averaged(alpha, seed + index) @ product
    _require(product, compose([Statement("part", 1.0, alpha) for alpha in alphas]))


@given(st.floats(0.01, 1), st.floats(0, 3), st.integers(0, 99))
def test_relaxed_matrices_are_averaged_as_claimed(alpha: float, weight: float, seed: int) -> None:
    matrix = (1 - weight) * torch.eye(4, dtype=torch.float64) + weight * _averaged(alpha, seed)
    _require(matrix, averaged_with_identity(Statement("part", 1.0, alpha), weight))


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), min_size=1, max_size=4),
    st.integers(0, 99),
)
def test_combinations_of_averaged_matrices_are_bounded_as_claimed(
    terms: list[tuple[float, float]], seed: int
) -> None:
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    for index, (c, alpha) in enumerate(terms):
        matrix = matrix + c * _averaged(alpha, seed + index)
    statement = combine([(Fraction(c), Statement("part", 1.0, alpha)) for c, alpha in terms])
    _require(matrix, statement)


def test_a_reflection_of_a_firmly_nonexpansive_map_is_nonexpansive() -> None:
    reflected = averaged_with_identity(Statement("projection", 1.0, 0.5), 2.0)
    assert (reflected.upper, reflected.averagedness) == (1.0, 1.0)


def test_of_two_bounds_of_one_map_the_better_numbers_hold_together() -> None:
    small, averaged = Statement("small", 0.5, 0.75), Statement("averaged", 0.75, 0.5)
    for one, other in ((small, averaged), (averaged, small)):
        found = _better(one, other)
        assert (found.upper, found.averagedness) == (0.5, 0.5)
    assert _better(lipschitz("wide", 2.0), small) == small


def test_the_identity_is_neutral() -> None:
    part = Statement("part", 1.0, 0.25)
    assert compose([IDENTITY, part, IDENTITY]).averagedness == 0.25


@given(st.lists(st.floats(0, 2), min_size=1, max_size=4), st.floats(0, 2))
@settings(max_examples=50)
def test_prover_and_checker_agree_on_gradient_steps(taus: list[float], weight: float) -> None:
    """Two implementations of the same theorems: the prover's is the checker's, rounded up."""
    steps = [of_gradient_step(Fraction(1), Fraction(tau), Fraction(1)) for tau in taus]
    statements = [Statement("step", round_up(s.upper), _up(s.alpha)) for s in steps]
    exact = of_relaxation(in_sequence(steps), Fraction(weight))
    proved = averaged_with_identity(compose(statements), weight)
    assert Fraction(proved.upper) >= exact.upper
    assert float(exact.upper) == pytest.approx(proved.upper, rel=1e-14)
    assert (proved.averagedness is None) == (exact.alpha is None)


def _up(alpha: Fraction | None) -> float | None:
    return None if alpha is None else round_up(alpha)


def test_the_checker_composes_by_the_formula_of_combettes_and_yamada() -> None:
    half = Claim(Fraction(1), Fraction(1, 2))
    assert in_sequence([half, half]).alpha == Fraction(2, 3)


@pytest.mark.parametrize("upper", [-1.0, math.inf, math.nan])
def test_a_statement_refuses_bounds_that_are_not_numbers(upper: float) -> None:
    with pytest.raises(ValueError, match="gives no finite bound"):
        Statement("rule", upper, None)


@pytest.mark.parametrize("averagedness", [-0.1, 1.1])
def test_a_statement_refuses_averagedness_outside_its_range(averagedness: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        Statement("rule", 1.0, averagedness)


def test_averagedness_and_expansion_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exactly where the map may be expansive"):
        Statement("rule", 2.0, 0.5)


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_a_negative_relaxation_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="expected a finite weight >= 0"):
        averaged_with_identity(IDENTITY, weight)


def test_gamma_says_nothing_for_sums_that_are_too_long() -> None:
    assert gamma32(2**24) == math.inf
