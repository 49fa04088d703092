"""Constants that only a proof justifies, written down a second time from the proofs."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp_lip.certifier.execution import (
    Execution,
    affine_execution,
    gamma32,
    relaxed_execution,
    step_execution,
)
from pnp_lip.norms.angles import ENTRY_ERROR
from pnp_lip.norms.gram import gram_polynomial
from pnp_lip.norms.kernel import convolution_kernel_taps, scaled_kernel
from pnp_lip.norms.taylor import _theta
from pnp_lip.norms.verified import completion_constant, shifted_threshold

_DOUBLE, _SINGLE = Fraction(1, 2**53), Fraction(1, 2**24)


def _gamma(n: int, unit: Fraction) -> Fraction:
    return n * unit / (1 - n * unit)


@given(st.integers(1, 5000))
def test_a_cholesky_factorisation_of_complex_numbers_rounds_twice_order_plus_eight_times(
    order: int,
) -> None:
    """Rump 2006 with 3/2 for the square root of 2 of complex products."""
    beta = Fraction(3, 2) * _gamma(2 * order + 8, _DOUBLE)
    assert completion_constant(order) == beta / (1 - beta)


@given(st.integers(1, 500), st.floats(1e-3, 1e3), st.floats(0, 1e-6))
def test_the_shift_pays_for_completion_diagonal_and_error(
    order: int, threshold: float, error: float
) -> None:
    theta = Fraction(shifted_threshold(Fraction(threshold), Fraction(error), order))
    if theta < 0:
        return
    growth = (order * completion_constant(order) + _DOUBLE) * (1 + _DOUBLE)
    reached = theta + growth * (theta + Fraction(error)) + Fraction(error)
    assert reached < Fraction(threshold)
    assert reached > Fraction(threshold) * (1 - Fraction(1, 10**9)) - 3 * Fraction(error)


@given(st.floats(1e-3, 1.0), st.floats(1e-2, 1e2), st.floats(0.0, 1.0), st.floats(0, 1e-9))
def test_the_threshold_of_a_taylor_model_pays_for_completion_and_hardly_more(
    b: float, tau: float, size: float, error: float
) -> None:
    """The line of its proof, with ``e = 2 (b + size) error`` and diagonals up to ``size M + 2 e``."""
    gram: Any = SimpleNamespace(order=4, error=Fraction(error), magnitude=Fraction(tau))
    found = _theta(gram, torch.tensor([b], dtype=torch.float64), tau, size)
    theta, goal, s = Fraction(float(found)), Fraction(b) * Fraction(tau), Fraction(size)
    growth = (4 * completion_constant(4) + _DOUBLE) * (1 + _DOUBLE)
    e = 2 * (Fraction(b) + s) * Fraction(error)
    beside = s * Fraction(tau) + 2 * e
    reached = theta + growth * (theta + beside) + e
    assert reached <= goal
    spare = goal * (Fraction(3, 2) * growth + 20 * _DOUBLE) + (growth * beside + e) / 900
    assert reached >= goal - spare


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (2, 4, 5, 5), (4, 1, 7)])
def test_a_gram_polynomial_rounds_once_for_every_row_tap_and_lag(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kernel = scaled_kernel(convolution_kernel_taps(torch.randn(shape), 1, 1, 1, "test"))
    assert kernel is not None
    found = gram_polynomial(kernel)
    flat = kernel.taps.flatten(3)
    rows, columns, taps = flat.shape[1:]
    lags = (math.prod(2 * k - 1 for k in shape[2:]) + 1) // 2
    sums = flat.abs().sum(-1)[0]
    size = Fraction(float(sums.sum(0).max())) * Fraction(float(sums.sum(1).max()))
    coefficients = size * _gamma(rows + taps, _DOUBLE)
    entries = found.magnitude * (ENTRY_ERROR + _gamma(lags + 2, _DOUBLE))
    wanted = coefficients + entries
    assert wanted * (1 - Fraction(1, 10**6)) <= found.error <= wanted * (1 + Fraction(1, 10**5))
    assert columns <= max(shape[:2])


@given(st.integers(0, 10**6))
def test_gamma_of_float32_is_the_quotient_rounded_up(n: int) -> None:
    assert Fraction(gamma32(n)) >= _gamma(n, _SINGLE)
    assert gamma32(n) == pytest.approx(float(_gamma(n, _SINGLE)), rel=1e-15)


sizes = st.floats(1e-3, 1e3)


@given(sizes, sizes, sizes, st.integers(1, 10**4))
def test_an_affine_layer_rounds_once_for_every_product_and_for_the_bias(
    norm: float, absolute: float, bias: float, terms: int
) -> None:
    found = affine_execution(norm, (absolute, bias, (terms, 1)))
    unit = _gamma(terms + 1, _SINGLE)
    for value, exact in (
        (found.relative, unit * Fraction(absolute)),
        (found.offset, unit * Fraction(bias)),
    ):
        assert Fraction(value) >= exact
        assert value == pytest.approx(float(exact), rel=1e-14)
    assert (found.growth, found.shift) == (norm, bias)


@given(
    sizes,
    sizes,
    sizes,
    st.floats(0, 2),
    st.integers(1, 10**3),
    st.integers(1, 10**3),
    st.integers(0, 20),
)
def test_a_gradient_step_carries_the_errors_of_its_four_operations(
    norm: float, absolute: float, bias: float, tau: float, n1: int, n2: int, a: int
) -> None:
    """The four lines of its docstring, for an input of norm 1 and for one pixel, separately."""
    found = step_execution(
        norm=norm, sizes=(absolute, bias, (n1, n2)), tau=tau, growth=1.0, roundings=a
    )
    w, m, b, t = map(Fraction, (norm, absolute, bias, tau))
    for x, p, value in ((1, 0, found.relative), (0, 1, found.offset)):
        r = w * x + b * p
        wrong_r = _gamma(n1 + 1, _SINGLE) * (m * x + b * p)
        wrong_z = wrong_r + _gamma(a, _SINGLE) * (r + wrong_r)
        wrong_v = w * wrong_z + _gamma(n2, _SINGLE) * m * (r + wrong_z)
        exact = t * wrong_v + _gamma(2, _SINGLE) * (x + t * (w * r + wrong_v))
        assert Fraction(value) >= exact
        assert value == pytest.approx(float(exact), rel=1e-12)


@given(sizes, sizes, sizes, sizes, st.floats(0, 3))
def test_a_relaxation_rounds_three_times(
    relative: float, offset: float, growth: float, shift: float, weight: float
) -> None:
    found = relaxed_execution(Execution(relative, offset, growth, shift), weight)
    assert found is not None
    r, o, g, s, w = map(Fraction, (relative, offset, growth, shift, weight))
    exact = w * r + _gamma(3, _SINGLE) * (1 + w + w * (g + r))
    beside = w * o + _gamma(3, _SINGLE) * w * (s + o)
    assert Fraction(found.relative) >= exact
    assert Fraction(found.offset) >= beside
    assert found.relative == pytest.approx(float(exact), rel=1e-12)
    assert found.offset == pytest.approx(float(beside), rel=1e-12)
