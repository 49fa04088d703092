"""A max-min form and its network are the same function, with a certificate of at most 1."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip.certifier import prove
from pnp_lip.layers import GradientStep
from pnp_lip.networks import (
    FixedWidthNetwork,
    FreeWidthNetwork,
    MaxMin,
    from_max_min,
    maximum,
    minimum,
    separating,
)
from pnp_lip.networks.compile import fixed_width_network
from pnp_lip.networks.rules import _step_in_maximum_norm

DOUBLE = torch.float64


def random_form(seed: int, features: int, pieces: int, groups: int) -> MaxMin:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(pieces, features, generator=generator, dtype=DOUBLE)
    a = a / torch.linalg.vector_norm(a, dim=1, keepdim=True)
    b = torch.randn(pieces, generator=generator, dtype=DOUBLE)
    sets = []
    for _ in range(groups):
        size = int(torch.randint(1, max(2, 2 * pieces // groups), (), generator=generator))
        sets.append(tuple(torch.randperm(pieces, generator=generator)[:size].tolist()))
    return MaxMin(a, b, tuple(sets))


def points(features: int, count: int = 300) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(count, features, generator=generator, dtype=DOUBLE)


def evaluate_by_loops(form: MaxMin, x: Tensor) -> float:
    return max(
        min(
            math.fsum(u * v for u, v in zip(form.a[j].tolist(), x.tolist(), strict=True))
            + float(form.b[j])
            for j in group
        )
        for group in form.groups
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    features=st.integers(1, 50),
    pieces=st.integers(1, 12),
    groups=st.integers(1, 5),
)
def test_fixed_width_network_equals_its_form(
    seed: int, features: int, pieces: int, groups: int
) -> None:
    form = random_form(seed, features, pieces, groups)
    network = from_max_min(form.a, form.b, form.groups)
    x = points(features, 50)
    assert (network(x)[:, 0] - form(x)).abs().max() < 1e-12
    for one in x[:3]:
        assert abs(network(one[None]).item() - evaluate_by_loops(form, one)) < 1e-12


def test_fixed_width_network_of_hundreds_of_pieces_keeps_the_width_of_the_theorem() -> None:
    form = random_form(0, 5, 300, 40)
    network = from_max_min(form.a, form.b, form.groups)
    assert isinstance(network, FixedWidthNetwork)
    assert network.readout.in_features == 5 + 3
    assert len(network.steps) == sum(map(len, form.groups)) - 1 > 200
    assert (network(points(5))[:, 0] - form(points(5))).abs().max() < 1e-12
    assert prove(network).upper <= 1


@pytest.mark.parametrize("features", [1, 2, 7, 50])
def test_two_pieces_fit_the_free_width_whatever_their_gradients(features: int) -> None:
    for seed, length in itertools.product(range(3), (1.0, 0.3)):
        form = random_form(seed, features, 2, 1)
        a = form.a * torch.tensor([[1.0], [length]], dtype=DOUBLE)
        if torch.equal(a[0], a[1]):
            continue
        for groups in ([[0, 1]], [[0], [1]]):
            network = from_max_min(a, form.b, groups, theorem="3.1")
            expected = MaxMin(a, form.b, tuple(map(tuple, groups)))(points(features))
            assert (network(points(features))[:, 0] - expected).abs().max() < 1e-11
            assert prove(network).upper <= 1


def test_orthonormal_pieces_fit_the_free_width_in_logarithmic_depth() -> None:
    a = torch.linalg.qr(torch.randn(50, 30, dtype=DOUBLE))[0].T
    groups = [[0, 1, 2], list(range(3, 20)), [20, 21, 22, 23], list(range(24, 30))]
    b = torch.randn(30, dtype=DOUBLE)
    network = from_max_min(a, b, groups, theorem="3.1")
    assert isinstance(network, FreeWidthNetwork)
    assert len(network.steps) == 5 + 2
    form = MaxMin(a, b, tuple(map(tuple, groups)))
    assert (network(points(50))[:, 0] - form(points(50))).abs().max() < 1e-11
    assert prove(network).upper <= 1


def test_regular_simplex_of_pieces_fits_the_free_width_though_its_matrix_is_longer_than_one() -> (
    None
):
    turns = 2 * math.pi * torch.arange(3, dtype=DOUBLE) / 3
    a = torch.stack([turns.cos(), turns.sin()], dim=1)
    assert torch.linalg.matrix_norm(a, ord=2) > 1.2
    network = from_max_min(a, torch.arange(3), [[0], [1], [2]], theorem="3.1")
    expected = (points(2) @ a.T + torch.arange(3)).amax(dim=1)
    assert (network(points(2))[:, 0] - expected).abs().max() < 1e-11
    assert prove(network).upper <= 1


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    features=st.integers(1, 50),
    pieces=st.integers(1, 12),
    groups=st.integers(1, 5),
)
def test_every_form_fits_the_free_width(seed: int, features: int, pieces: int, groups: int) -> None:
    form = random_form(seed, features, pieces, groups)
    network = from_max_min(form.a, form.b, form.groups, theorem="3.1")
    x = points(features, 50)
    assert (network(x)[:, 0] - form(x)).abs().max() < 1e-11
    assert prove(network).upper <= 1


def test_hundreds_of_pieces_are_sorted_in_logarithmic_depth() -> None:
    form = random_form(0, 5, 300, 40)
    network = from_max_min(form.a, form.b, form.groups, theorem="3.1")
    assert isinstance(network, FreeWidthNetwork)
    assert torch.linalg.matrix_norm(network.lift.weight, ord=2) > 5
    assert len(network.steps) == math.ceil(math.log2(max(map(len, form.groups)))) + 6
    assert (network(points(5))[:, 0] - form(points(5))).abs().max() < 1e-12
    proved = prove(network)
    assert proved.upper <= 1
    assert "maximum norm" in proved.rule


def _sorted_pieces(lengths: list[float]) -> FreeWidthNetwork:
    """Three directions of the plane that no lift of norm 1 takes, with the lengths given."""
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=DOUBLE)
    network = from_max_min(a, torch.zeros(3), [[0, 1], [2]], theorem="3.1")
    assert isinstance(network, FreeWidthNetwork)
    network.lift.weight.data.mul_(torch.tensor(lengths, dtype=DOUBLE)[:, None])
    return network


def test_the_maximum_norm_sees_a_row_of_the_lift_that_is_too_long() -> None:
    for length in (1.0, 1.25, 2.0):
        assert prove(_sorted_pieces([1.0, 1.0, length])).upper == pytest.approx(length, rel=1e-12)


def test_the_maximum_norm_sees_a_readout_that_adds_coordinates() -> None:
    network = _sorted_pieces([1.0, 1.0, 1.0])
    network.readout.weight.data.copy_(torch.tensor([[1.0, -0.25, 0.0]]))
    assert prove(network).upper == 1.25  # the Euclidean bound is 1.46


@settings(max_examples=50, deadline=None)
@given(
    w=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    tau=st.floats(0, 3),
    overlap=st.booleans(),
)
def test_steps_in_the_maximum_norm_are_bounded_by_their_largest_jacobian(
    w: list[float], tau: float, overlap: bool
) -> None:
    step = GradientStep(4, 2, tau=1.0).double()
    step.tau.fill_(tau)
    rows = torch.tensor([[w[0], w[1], 0, 0], [0, 0, w[2], w[3]]], dtype=DOUBLE)
    rows[1, 0] = 1.0 if overlap else 0.0
    step.weight.data.copy_(rows)
    upper = _step_in_maximum_norm(step)
    if overlap and w[0] != 0:
        assert upper is None
        return
    assert upper is not None
    largest = max(
        float(torch.linalg.matrix_norm(torch.eye(4) - tau * rows.T @ slopes @ rows, ord=math.inf))
        for slopes in (torch.diag(torch.tensor(d, dtype=DOUBLE)) for d in _CORNERS)
    )
    assert max(1.0, largest) == pytest.approx(upper, rel=1e-12)


#: Slopes of two rectified responses.
_CORNERS = list(itertools.product((0.0, 0.5, 1.0), repeat=2))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), groups=st.integers(1, 4))
def test_max_min_forms_are_a_lattice_and_so_are_their_networks(seed: int, groups: int) -> None:
    f, g = random_form(seed, 3, 4, groups), random_form(seed + 1, 3, 5, 2)
    x = points(3, 100)
    for joined, expected in (
        (maximum(f, g), torch.maximum(f(x), g(x))),
        (minimum(f, g), torch.minimum(f(x), g(x))),
    ):
        network = fixed_width_network(joined)
        assert (network(x)[:, 0] - expected).abs().max() < 1e-12
        assert prove(network).upper <= 1


def test_two_points_are_separated_by_every_pair_of_values_not_farther_apart_than_they() -> None:
    x, y = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([0.0, 4.0, 1.0])
    for u, v in ((0.0, 3.0), (2.0, -1.0), (0.5, 0.5)):
        form = separating(x, y, u, v)
        assert torch.allclose(form(torch.stack([x, y])), torch.tensor([u, v], dtype=DOUBLE))
        assert prove(fixed_width_network(form)).upper <= 1
    with pytest.raises(ValueError, match="no 1-Lipschitz function"):
        separating(x, y, 0.0, 3.1)
    with pytest.raises(ValueError, match="two different points"):
        separating(x, x, 0.0, 0.0)


def test_invalid_forms_are_refused() -> None:
    a, b = torch.eye(2), torch.zeros(2)
    with pytest.raises(ValueError, match="norm at most 1"):
        MaxMin(1.001 * a, b, ((0,),))
    with pytest.raises(ValueError, match="shape"):
        MaxMin(a, torch.zeros(3), ((0,),))
    for groups in ((), ((0,), ()), ((2,),), ((-1,),)):
        with pytest.raises(ValueError, match="nonempty groups of indices below 2"):
            MaxMin(a, b, groups)
    with pytest.raises(ValueError, match="finite"):
        MaxMin(a, torch.tensor([0.0, math.nan]), ((0,),))
    with pytest.raises(ValueError, match="theorem must be"):
        from_max_min(a, b, [[0]], theorem="5")
    with pytest.raises(ValueError, match="the same space"):
        maximum(MaxMin(a, b, ((0,),)), MaxMin(torch.eye(3), torch.zeros(3), ((0,),)))
