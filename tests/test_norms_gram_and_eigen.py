"""The Gram polynomial is ``P* P``, its error the stated one, and what is sought in it is found."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from pnp_lip.norms import convolution_norm
from pnp_lip.norms.angles import ENTRY_ERROR
from pnp_lip.norms.ascent import ascend, best_of, proved_square
from pnp_lip.norms.cells import radius, root_bits
from pnp_lip.norms.eigen import estimates, top_pairs
from pnp_lip.norms.gram import GramPolynomial, features, gram_polynomial
from pnp_lip.norms.kernel import Kernel, convolution_kernel_taps, scaled_kernel
from pnp_lip.norms.padding import _copies, _sides
from pnp_lip.norms.prover import Problem, _joined, pose, start

_UNIT = Fraction(1, 2**53)


def _gamma(n: int) -> Fraction:
    return n * _UNIT / (1 - n * _UNIT)


def _random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _kernel(*shape: int, groups: int = 1) -> Kernel:
    taps = convolution_kernel_taps(_random(*shape), 1, 1, groups, "test")
    kernel = scaled_kernel(taps)
    assert kernel is not None
    return kernel


def _product(kernel: Kernel, group: int, omega: list[float]) -> Tensor:
    """``P* P`` from the sum over all taps."""
    taps = kernel.taps[group]
    total = torch.zeros(taps.shape[:2], dtype=torch.complex128)
    for place in torch.cartesian_prod(*(torch.arange(k) for k in taps.shape[2:])).reshape(
        -1, len(omega)
    ):
        phase = sum(float(p) * w for p, w in zip(place, omega, strict=True))
        total = total + taps[(..., *place)] * complex(math.cos(phase), math.sin(phase))
    return total.mH @ total  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "groups", "bits"),
    [((3, 2, 3, 4), 1, (3, 5)), ((4, 2, 5), 2, (4,)), ((2, 2, 2, 3, 2), 1, (3, 4, 5))],
)
def test_the_gram_polynomial_is_the_product_at_every_frequency(
    shape: tuple[int, ...], groups: int, bits: tuple[int, ...]
) -> None:
    kernel = _kernel(*shape, groups=groups)
    gram: GramPolynomial = gram_polynomial(kernel)
    points = torch.tensor([[0] * len(bits), [1, 3, 2][: len(bits)], [7, 9, 30][: len(bits)]])
    for group in range(groups):
        for point, found in zip(points.tolist(), gram.at(group, points, bits), strict=True):
            omega = [2 * math.pi * t / 2**b for t, b in zip(point, bits, strict=True)]
            wanted = _product(kernel, group, omega)
            off = float(torch.linalg.matrix_norm(found - wanted, 2))
            assert off <= float(gram.error) + 1e-14
            assert float(torch.linalg.matrix_norm(wanted, 2)) <= gram.magnitude


def test_the_gram_polynomial_of_a_matrix_is_one_real_product() -> None:
    kernel = scaled_kernel(_random(4, 3)[None])
    assert kernel is not None
    gram = gram_polynomial(kernel)
    found = gram.at(0, torch.zeros(2, 0, dtype=torch.int64), ())
    assert found.dtype == torch.float64
    for one in found:
        torch.testing.assert_close(one, kernel.taps[0].mT @ kernel.taps[0], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("bits", [(3, 5), (5, 3), (4, 4)])
def test_the_features_are_those_of_the_angles_with_other_denominators_on_each_axis(
    bits: tuple[int, int],
) -> None:
    lags, points = torch.tensor([[0, 0], [1, -2], [2, 1]]), torch.tensor([[1, 3], [6, 5]])
    turns = points.double() / torch.tensor([2.0**b for b in bits], dtype=torch.float64)
    phases = 2 * math.pi * turns @ lags.double().T
    cosines, sines = features(lags, points, bits)
    torch.testing.assert_close(cosines, phases.cos(), rtol=0, atol=1e-14)
    torch.testing.assert_close(sines, phases.sin(), rtol=0, atol=1e-14)


def test_the_error_of_several_groups_is_that_of_the_worst() -> None:
    weight = (
        _random(6, 2, 3, 3)
        * torch.tensor([1.0, 9.0, 3.0]).repeat_interleave(2)[:, None, None, None]
    )
    kernel = scaled_kernel(convolution_kernel_taps(weight, 1, 1, 3, "test"))
    assert kernel is not None
    found = gram_polynomial(kernel)
    sums = kernel.taps.flatten(3).abs().sum(-1)
    rows, columns, taps = kernel.taps.flatten(3).shape[1:]
    size = max(Fraction(float(one.sum(0).max() * one.sum(1).max())) for one in sums)
    entries = found.magnitude * (ENTRY_ERROR + _gamma((25 + 1) // 2 + 2))
    wanted = size * _gamma(rows + taps) + entries
    assert wanted * (1 - Fraction(1, 10**6)) <= found.error <= wanted * (1 + Fraction(1, 10**5))
    assert columns == found.order  # fmt: skip


@pytest.mark.parametrize("order", [1, 3, 8])
def test_a_proved_square_pays_for_every_rounding_of_its_quotient(order: int) -> None:
    """``v* v`` rounds ``2 m`` squares and the rest 8 times; ``v* H v`` as the function says."""
    matrix, vector = torch.eye(order, dtype=torch.float64), torch.ones(order, dtype=torch.float64)
    error = Fraction(1, 10**9)
    frobenius = Fraction(torch.linalg.matrix_norm(matrix).item()) * (1 + Fraction(1, 2**22))
    wanted = 1 - 2 * _gamma(2 * order + 8) - 4 * _gamma(4 * order + 4) * frobenius - error
    assert abs(proved_square(matrix, vector, error) - wanted) <= Fraction(1, 2**899)


def test_an_ascent_ends_at_the_norm_of_a_kernel_whose_maximum_is_known() -> None:
    """Two taps one apart: ``|a + b e^{i w}|`` is largest at 0, or at pi for other signs."""
    for signs, turn in (((1.0, 2.0), 0.0), ((1.0, -2.0), 0.5)):
        kernel = scaled_kernel(torch.tensor([[[signs]]], dtype=torch.float64))
        assert kernel is not None
        gram = gram_polynomial(kernel)
        started = torch.tensor([2 * math.pi * (turn + 0.03)], dtype=torch.float64)
        scale = Fraction(4) ** kernel.exponent
        for found in (
            ascend(gram, 0, started),
            best_of(gram, 0, torch.arange(16)[:, None], (4,)),
        ):
            assert float(found.square * scale) == pytest.approx(9, rel=1e-12)
            assert found.square * scale <= 9
            away = (found.point[0] / 2.0**44 - turn + 0.5) % 1 - 0.5
            assert abs(away) < 1e-6


def test_the_largest_pair_of_a_large_matrix_is_found_in_a_space_of_few_steps() -> None:
    identity = 3 * torch.eye(321, dtype=torch.float64)
    values, vectors = top_pairs(identity)
    assert values.tolist() == pytest.approx([3.0])
    assert vectors.shape == (321, 1)
    slope = torch.linspace(-1, 1, 321, dtype=torch.float64)
    matrix = torch.diag(slope) + 2 * torch.outer(slope, slope)
    values, vectors = top_pairs(matrix)
    exact = torch.linalg.eigvalsh(matrix)[-1]
    torch.testing.assert_close(values[-1], exact, rtol=1e-12, atol=0)
    top = vectors[:, -1]
    torch.testing.assert_close(matrix @ top, exact * top, rtol=0, atol=1e-6 * float(exact))


def test_estimates_are_close_to_the_largest_eigenvalues_from_below() -> None:
    matrices = torch.complex(_random(5, 20, 20), _random(5, 20, 19 + 1).mT)
    matrices = matrices @ matrices.mH
    exact = torch.linalg.eigvalsh(matrices)[:, -1]
    for steps, share in ((8, 0.9), (14, 0.999), (20, 1 - 1e-12)):
        found = estimates(matrices, steps)
        assert bool((found <= exact * (1 + 1e-5)).all())
        assert bool((found >= exact * share).all())


@pytest.mark.parametrize(
    "degrees", [(0.5,), (1.0,), (3.0,), (1.0, 1.0), (2.0, 0.5), (1.0, 2.0, 1.0)]
)
def test_the_first_cells_are_as_large_as_wanted_on_every_axis(degrees: tuple[float, ...]) -> None:
    wanted = 0.2 if len(degrees) == 3 else 0.4
    bits = root_bits(degrees)
    for d, b in zip(degrees, bits, strict=True):
        own = float(radius((d,), (b,)))
        assert own <= wanted * (1 + 1e-12)
        assert b == 3 or own > wanted / 2


def test_cells_that_passed_before_the_target_rose_stay_in_the_cover() -> None:
    search = replace(start(pose(_kernel(2, 2, 3))), level=0)
    count = len(search.open)
    first = torch.arange(count) % 2 == 0
    passed = _joined(search, first)
    later = replace(search, passed={0: passed}, open=search.open[~first])
    both = _joined(later, torch.ones(len(later.open), dtype=torch.bool))
    assert sorted(both.tolist()) == sorted(search.open.tolist())


def test_a_search_beyond_its_budget_starts_to_count_anew_at_twice_the_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = _random(8, 8, 3, 3)
    exact = convolution_norm(weight, gap=1e-6).lower
    monkeypatch.setattr(Problem, "cell_budget", property(lambda problem: 200))
    assert 1.9e-6 < convolution_norm(weight, gap=1e-6).upper / exact - 1 < 2.1e-6


def test_paddings_are_given_once_for_all_axes_or_for_each() -> None:
    assert _sides("valid", (3, 3), (1, 1)) == [(0, 0), (0, 0)]
    assert _sides("same", (4, 3), (1, 2)) == [(1, 2), (2, 2)]
    assert _sides(2, (3, 3), (1, 1)) == [(2, 2), (2, 2)]
    assert _sides((1, 2), (3, 3), (1, 1)) == [(1, 1), (2, 2)]
    assert _sides((), (), ()) == []
    for wrong in ((1,), (1, -1)):
        with pytest.raises(ValueError, match="expected 2 nonnegative paddings"):
            _sides(wrong, (3, 3), (1, 1))


def test_a_side_too_short_for_one_output_is_read_once() -> None:
    assert _copies("replicate", 1, 1, 1, 3, 1) == 1
    assert _copies("replicate", 2, 1, 1, 3, 1) == 2
