"""Maxima and minima of networks: compiled ones compile, trained ones carry the proof of both."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip.certifier import certify, prove
from pnp_lip.constraints import hold, project
from pnp_lip.networks import (
    FixedWidthNetwork,
    FreeWidthNetwork,
    Maximum,
    MaxMin,
    Minimum,
    from_max_min,
    interpolant,
    maximum,
    minimum,
)
from pnp_lip.networks.decompile import read_max_min

DOUBLE = torch.float64


def compiled(seed: int, features: int, groups: list[list[int]]) -> FixedWidthNetwork:
    generator = torch.Generator().manual_seed(seed)
    pieces = 1 + max(map(max, groups))
    a = torch.randn(pieces, features, generator=generator, dtype=DOUBLE)
    a = a / torch.linalg.vector_norm(a, dim=1, keepdim=True)
    network = from_max_min(a, torch.randn(pieces, generator=generator), groups)
    assert isinstance(network, FixedWidthNetwork)
    return network


def trained(seed: int = 0) -> list[FreeWidthNetwork | FixedWidthNetwork]:
    """Networks with random weights inside their sets."""
    torch.manual_seed(seed)
    found: list[FreeWidthNetwork | FixedWidthNetwork] = [
        FreeWidthNetwork(2, 6, 3),
        FixedWidthNetwork(2, 8, 3),
    ]
    for network in found:
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.5 * torch.randn(parameter.shape))
        project(network, constraint="projection")
    return found


def points(features: int, count: int = 200) -> Tensor:
    return 3 * torch.randn(count, features, generator=torch.Generator().manual_seed(1)).double()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), features=st.integers(1, 6), one=st.integers(1, 3))
def test_extremum_of_compiled_networks_is_a_compiled_network_of_the_same_width(
    seed: int, features: int, one: int
) -> None:
    f = compiled(seed, features, [[0, 1, 2], [1], [3, 0]][:one])
    g = compiled(seed + 1, features, [[0, 1], [2, 0]])
    x = points(features)
    for joined, expected in (
        (maximum(f, g), torch.maximum(f(x), g(x))),
        (minimum(f, g), torch.minimum(f(x), g(x))),
    ):
        assert isinstance(joined, FixedWidthNetwork)
        assert joined.readout.in_features == features + 3
        assert (joined(x) - expected).abs().max() < 1e-12
        assert prove(joined).upper <= 1


def test_form_is_read_off_the_weights_also_of_hundreds_of_pieces() -> None:
    for groups in ([[0]], [[0, 1]], [[0], [1]], [list(range(i, i + 7)) for i in range(60)]):
        network = compiled(3, 4, groups)
        form = read_max_min(network)
        assert form is not None
        assert sorted(map(len, form.groups)) == sorted(map(len, groups))
        assert (form(points(4)) - network(points(4))[:, 0]).abs().max() < 1e-12


def test_no_form_is_read_where_weights_say_something_else() -> None:
    for network in trained():
        assert read_max_min(network) is None
    for name, index, value in (
        ("maps.0.low.weight", (0, 1), 1e-3),
        ("maps.0.low.bias", (0,), 1e-3),
        ("maps.0.top.weight", (0, 0), 0.5),
        ("maps.0.top.bias", (0,), 0.1),
        ("steps.0.step.weight", (0, 0), 0.1),
        ("readout.weight", (0, 1), 0.1),
        ("lift.top.weight", (0, slice(None)), 5.0),
    ):
        network = compiled(0, 2, [[0, 1, 2]])
        assert read_max_min(network) is not None
        network.get_parameter(name).data[index] = value
        assert read_max_min(network) is None, name
    assert read_max_min(compiled(0, 2, [[0, 1]]).float()) is None


@pytest.mark.parametrize("kind", [Maximum, Minimum])
def test_extremum_of_trained_networks_is_proved_by_its_members(
    kind: type[Maximum] | type[Minimum],
) -> None:
    f, g = trained()
    joined = maximum(f, g) if kind is Maximum else minimum(f, g)
    assert isinstance(joined, kind)
    x = points(2).float()
    expected = torch.maximum(f(x), g(x)) if kind is Maximum else torch.minimum(f(x), g(x))
    assert torch.equal(joined(x), expected)
    assert ((f(x) > g(x)).any() and (f(x) < g(x)).any()) or kind is Minimum
    certificate = certify(joined)
    assert 0 < certificate.lower <= certificate.upper <= 1
    assert certificate.upper == max(prove(f).upper, prove(g).upper)
    nested = minimum(joined, f)
    assert prove(nested).upper <= 1
    assert torch.equal(nested(x), torch.minimum(expected, f(x)))


@pytest.mark.parametrize("member", ["first", "second"])
def test_extremum_with_one_member_above_one_shows_it(member: str) -> None:
    joined = Maximum(*trained())
    for name, parameter in joined.get_submodule(member).named_parameters():
        if "readout.weight" in name:
            parameter.data.mul_(3.0)
    assert prove(joined).upper > 1.5
    x = points(2).float().requires_grad_()
    (slopes,) = torch.autograd.grad(joined(x).sum(), x)
    assert float(torch.linalg.vector_norm(slopes, dim=1).max()) <= prove(joined).upper


def test_members_of_an_extremum_are_held_while_it_trains() -> None:
    joined = Maximum(*trained())
    optimizer = torch.optim.Adam(joined.parameters(), lr=0.3)
    hold(joined, optimizer, constraint="orthogonal")
    for _ in range(5):
        optimizer.zero_grad()
        (-joined(torch.randn(16, 2)).square().mean()).backward()
        optimizer.step()
        assert prove(joined).upper <= 1


def test_pairs_that_do_not_fit_are_refused() -> None:
    f = trained()[0]
    with pytest.raises(ValueError, match="networks of the sets"):
        Maximum(f, torch.nn.Linear(2, 1))
    with pytest.raises(ValueError, match="one output"):
        maximum(f, FreeWidthNetwork(2, 4, 1, outputs=2))
    with pytest.raises(ValueError, match="the same space"):
        minimum(f, FreeWidthNetwork(3, 4, 1))
    with pytest.raises(ValueError, match="one dtype"):
        maximum(f, compiled(0, 2, [[0]]))
    with pytest.raises(ValueError, match="one of each"):
        maximum(f, MaxMin(torch.eye(2), torch.zeros(2), ((0,),)))  # type: ignore[call-overload]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), features=st.integers(1, 4), count=st.integers(1, 12))
def test_interpolant_takes_every_value_of_a_lipschitz_function(
    seed: int, features: int, count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=generator, dtype=DOUBLE)
    centres = torch.randn(3, features, generator=generator, dtype=DOUBLE)
    distances = torch.cdist(x, centres)
    values, nearest = distances.min(dim=1)
    slopes = (x - centres[nearest]) / values[:, None]
    for gradients in (None, slopes):
        form = interpolant(x, values, gradients)
        assert (form(x) - values).abs().max() < 1e-10
        fine = points(features, 100)
        error = (form(fine) - torch.cdist(fine, centres).amin(1)).abs()
        assert (error <= 2 * torch.cdist(fine, x).amin(1) + 1e-10).all()


def test_interpolant_refuses_what_no_lipschitz_function_takes() -> None:
    x = torch.tensor([[0.0], [1.0]])
    with pytest.raises(ValueError, match="no 1-Lipschitz function"):
        interpolant(x, torch.tensor([0.0, 1.5]))
    with pytest.raises(ValueError, match="two different points"):
        interpolant(torch.zeros(2, 1), torch.tensor([0.0, 0.5]))
    with pytest.raises(ValueError, match="expected points"):
        interpolant(x, torch.zeros(3))
    with pytest.raises(ValueError, match="expected gradients"):
        interpolant(x, torch.zeros(2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="norm at most 1"):
        interpolant(x, torch.zeros(2), torch.full((2, 1), 1.5))
