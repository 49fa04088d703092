"""Definiteness in floating point: what is proved is true in fractions, and a clear case is proved."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_lip.checker import CertificateRejected
from pnp_lip.checker.layer import check_layer
from pnp_lip.norms import convolution_norm

flint = pytest.importorskip("flint")

from pnp_lip.checker import cover  # noqa: E402
from pnp_lip.checker.exact_gram import ExactGram  # noqa: E402
from pnp_lip.checker.floating import FloatGram  # noqa: E402

#: Quarters of a turn, at which sines and cosines are integers.
QUARTERS: list[tuple[int, ...]] = [(i, j) for i in range(4) for j in range(4)]
COSINE, SINE = (1, 0, -1, 0), (0, 1, 0, -1)

Entries = list[list[tuple[Fraction, Fraction]]]


def exact_gram(weight: torch.Tensor, point: tuple[int, ...]) -> Entries:
    """``W(omega)* W(omega)`` at quarters of a turn, as pairs of fractions."""
    rows, columns, *size = weight.shape
    symbol: list[list[tuple[Fraction, Fraction]]] = [
        [(Fraction(0), Fraction(0))] * columns for _ in range(rows)
    ]
    for r in range(rows):
        for c in range(columns):
            re, im = Fraction(0), Fraction(0)
            for a in range(size[0]):
                for b in range(size[1]):
                    phase = (a * point[0] + b * point[1]) % 4
                    value = Fraction(float(weight[r, c, a, b]))
                    re, im = re + value * COSINE[phase], im + value * SINE[phase]
            symbol[r][c] = re, im
    gram: Entries = [[(Fraction(0), Fraction(0))] * columns for _ in range(columns)]
    for i in range(columns):
        for j in range(columns):
            pairs = [(symbol[r][i], symbol[r][j]) for r in range(rows)]
            re = sum((a[0] * b[0] + a[1] * b[1] for a, b in pairs), Fraction(0))
            im = sum((a[0] * b[1] - a[1] * b[0] for a, b in pairs), Fraction(0))
            gram[i][j] = re, im
    return gram


def exactly_definite(gram: Entries, shift: Fraction, sign: int) -> bool:
    """Gaussian elimination of ``sign (G - shift I)`` as a real matrix of twice the order, in fractions."""
    order = len(gram)
    full = [[Fraction(0)] * (2 * order) for _ in range(2 * order)]
    for i in range(order):
        for j in range(order):
            re, im = (sign * part for part in gram[i][j])
            re -= sign * shift * (i == j)
            full[i][j] = full[order + i][order + j] = re
            full[i][order + j], full[order + i][j] = -im, im
    for k in range(2 * order):
        if full[k][k] <= 0:
            return False
        for i in range(k + 1, 2 * order):
            factor = full[i][k] / full[k][k]
            full[i] = [x - factor * y for x, y in zip(full[i], full[k], strict=True)]
    return True


def floats(weight: torch.Tensor, exponent: int = 4) -> tuple[FloatGram, Any, Any]:
    gram = ExactGram.of(weight, 1, 1, 1)
    found = FloatGram(gram.symmetric[0], gram.antisymmetric[0], gram.order, exponent)
    return found, *gram.floats(QUARTERS, [2, 2])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1e-3]),
    st.sampled_from([-1, 1]), st.sampled_from([-1, 1]), st.integers(-30, 30),
)  # fmt: skip
def test_what_is_proved_is_true_in_fractions_and_a_clear_case_is_decided(
    seed: int, order: int, distance: float, side: int, sign: int, scale: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-8, 9, (3, order, 2, 3), generator=generator).double() * 2.0**scale
    if not weight.any():
        return
    exact = [exact_gram(weight, point) for point in QUARTERS]
    matrix = np.array([[[complex(*map(float, x)) for x in row] for row in g] for g in exact])
    eigenvalues = np.linalg.eigvalsh(matrix)
    edge = eigenvalues[5, -1] if sign < 0 else eigenvalues[5, 0]
    size = float(eigenvalues.max())
    shift = Fraction(float(edge)) + side * Fraction(distance) * Fraction(size)
    gram, cosines, sines = floats(weight, int(np.log2(size)))
    proved = gram.definite(cosines, sines, flint.fmpq(shift.numerator, shift.denominator), sign)
    for one, g, values in zip(proved, exact, eigenvalues, strict=True):
        gap = values[0] - float(shift) if sign > 0 else float(shift) - values[-1]
        if one:
            assert exactly_definite(g, shift, sign)
        elif gap > 1e-8 * size:
            pytest.fail(f"a distance of {gap / size:.1e} from singular was left open")


def test_the_singular_matrix_itself_is_never_proved() -> None:
    weight = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    gram, cosines, sines = floats(weight)
    assert exactly_definite(exact_gram(weight, (0, 0)), Fraction(17), -1)
    assert gram.definite(cosines, sines, flint.fmpq(17), -1)[0]
    for shift in (flint.fmpq(16), flint.arb(16), flint.fmpq(16) - flint.fmpq(1, 2**60)):
        assert not gram.definite(cosines, sines, shift, -1)[0]
    assert not gram.definite(cosines, sines, flint.arb("17 +/- 2"), -1)[0]


@pytest.mark.parametrize("value", [1e-300, 1e-150, 1e150])
def test_numbers_that_leave_the_range_prove_nothing_wrong(value: float) -> None:
    weight = torch.full((1, 1, 2, 2), value, dtype=torch.float64)
    gram, cosines, sines = floats(weight, 0)
    exact = exact_gram(weight, (0, 0))
    for shift in (Fraction(0), Fraction(1), Fraction(value) ** 2, 17 * Fraction(value) ** 2):
        ball = flint.fmpq(shift.numerator, shift.denominator)
        if gram.definite(cosines, sines, ball, -1)[0]:
            assert exactly_definite(exact, shift, -1)


@pytest.mark.parametrize("shape", [(5, 4, 3, 3), (3, 7, 2, 3), (6, 6, 5), (4, 4)])
def test_a_bound_below_the_norm_is_rejected_and_balls_agree_on_the_true_one(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    if len(shape) == 2:
        weight = weight[..., None]
    bound = convolution_norm(weight, gap=1e-4).to_json()
    check_layer(weight, bound)
    for factor in (1 - 2e-4, 0.9):
        wrong = bound | {"cover": dict(bound["cover"])}
        wrong["cover"]["target"] = bound["cover"]["target"] * factor
        exponent = bound["cover"]["exponent"]
        wrong["upper"] = float(np.ldexp(wrong["cover"]["target"], exponent))
        wrong["lower"] = 0.0
        with pytest.raises(CertificateRejected, match=r"fails|outside its theorem"):
            check_layer(weight, wrong)
    calls = []

    def decides(*given: Any) -> bool:
        calls.append(given)
        return definite(*given)

    definite = cover.positive_definite
    monkeypatch.setattr(cover, "positive_definite", decides)
    check_layer(weight, bound)
    by_floats = len(calls)
    monkeypatch.setattr(cover, "_FLOAT_BITS", -1)
    check_layer(weight, bound)
    assert len(calls) > 2 * by_floats  # balls agree, and had little left to decide
