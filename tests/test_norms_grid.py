"""``grid_norm`` is an upper bound, tightens with the grid, and differentiates."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_lip.norms import convolution_norm, grid_norm

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


def random_kernel(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@SETTINGS
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 3),
    st.integers(5, 20),
    st.integers(0, 999),
)
def test_the_grid_bound_is_above_the_norm_and_within_its_factor(
    shape: tuple[int, int, int, int], stride: int, points: int, seed: int
) -> None:
    weight = random_kernel(shape, seed)
    exact = convolution_norm(weight, stride=stride, gap=1e-6)
    value = grid_norm(weight, stride=stride, points=points).item()
    sides = [math.ceil(k / stride) for k in shape[2:]]
    factor = math.prod(1 / math.cos(math.pi * (k - 1) / (2 * points)) for k in sides)
    assert exact.lower * (1 - 1e-12) <= value <= factor * exact.upper


@pytest.mark.parametrize("points", [5, 8, 32])
def test_a_norm_attained_on_the_grid_is_exceeded_by_the_factor_alone(points: int) -> None:
    weight = torch.ones(1, 1, 3, 5, dtype=torch.float64)
    factor = math.cos(math.pi * 2 / (2 * points)) * math.cos(math.pi * 4 / (2 * points))
    assert grid_norm(weight, points=points).item() == pytest.approx(15 / factor, rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 1, 3, 3), (4, 3, 3, 3), (2, 2, 5), (2, 2, 2, 2, 2)])
def test_the_gradient_is_the_derivative(shape: tuple[int, ...]) -> None:
    weight = random_kernel(shape, 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: grid_norm(w, points=9), weight)


def test_groups_count_by_their_maximum() -> None:
    weight = random_kernel((6, 2, 3, 3), 0)
    parts = [grid_norm(part).item() for part in weight.chunk(3)]
    assert grid_norm(weight, groups=3).item() == pytest.approx(max(parts))


def test_dtype_is_kept_and_zero_has_norm_nearly_zero() -> None:
    value = grid_norm(torch.zeros(2, 1, 3, 3, requires_grad=True))
    assert value.dtype == torch.float32
    assert value.item() < 1e-18
    value.backward()


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="expected points >= kernel size 7"):
        grid_norm(torch.ones(1, 1, 7, 7), points=6)
