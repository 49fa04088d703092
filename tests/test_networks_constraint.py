"""Networks stay in their set at every step, in every part, and after reloading."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, certify, prove
from pnp_lip.constraints import Constraint, hold, project, retract
from pnp_lip.layers import GradientStep
from pnp_lip.networks import Fit, FixedWidthNetwork, FreeWidthNetwork, prove_outputs, train
from pnp_lip.networks.matrix_bounds import row_norm, square_norm

Network = FreeWidthNetwork | FixedWidthNetwork
CONSTRAINTS: tuple[Constraint, ...] = ("orthogonal", "projection")


def networks(seed: int = 0) -> list[Network]:
    torch.manual_seed(seed)
    return [
        FreeWidthNetwork(2, 3, 3),
        FreeWidthNetwork(5, 8, 2, outputs=4, hidden=11, learn_tau=True),
        FreeWidthNetwork(5, 8, 2, outputs=4, readout="rows"),
        FixedWidthNetwork(2, 5, 3, learn_tau=True),
        FixedWidthNetwork(5, 12, 2, outputs=4, hidden=7),
    ]


def exceeds(network: Network) -> dict[str, float]:
    """Every constrained quantity by exact SVD in float64, minus its bound."""
    state = {name: value.double() for name, value in network.state_dict().items()}
    found = {}
    for name in (name for name in state if name.endswith("weight")):
        value, norm = state[name], float(torch.linalg.matrix_norm(state[name], ord=2))
        if name.startswith("steps"):
            tau = float(state[name.removesuffix("weight") + "tau"])
            found[name] = max(tau * norm**2 - 2, -tau)
        elif is_bounded_by_rows(network, name):
            split = 3 if isinstance(network, FixedWidthNetwork) and "lift" not in name else 0
            rows = value[:, :split].abs().sum(1) + value[:, split:].square().sum(1).sqrt()
            found[name] = float(rows.max()) - 1
        else:
            found[name] = norm - 1
    return found


def is_bounded_by_rows(network: Network, name: str) -> bool:
    if isinstance(network, FixedWidthNetwork):
        return "top" in name or name == "readout.weight"
    return name == "readout.weight" and network.held_readout == "rows"


def violent_steps(network: Network, constraint: Constraint, steps: int = 12) -> None:
    """Training that pulls every weight out of its set, checked after each step."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.3)
    hold(network, optimizer, constraint=constraint)
    x = torch.randn(32, network.features)
    for _ in range(steps):
        optimizer.zero_grad()
        (
            -network(x).square().mean() - sum(p.square().sum() for p in network.parameters())
        ).backward()
        optimizer.step()
        assert max(exceeds(network).values()) <= 0, exceeds(network)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("index", range(5))
def test_lift_head_maps_and_step_lengths_are_constrained_after_every_step(
    index: int, constraint: Constraint
) -> None:
    network = networks()[index]
    violent_steps(network, constraint)
    assert set(exceeds(network)) == {n for n, _ in network.named_parameters() if "weight" in n}
    assert prove_outputs(network).upper <= 1
    if isinstance(network, FreeWidthNetwork) and network.held_readout == "whole":
        assert prove(network).upper <= 1


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_wide_network_is_proved_nonexpansive_after_a_step_in_float32(
    constraint: Constraint,
) -> None:
    torch.manual_seed(0)
    network = FreeWidthNetwork(100, 256, 2, outputs=10)
    violent_steps(network, constraint, steps=2)
    assert prove(network).upper <= 1


def test_without_the_hook_the_same_steps_leave_the_set() -> None:
    network = networks()[0]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.3)
    hold(network, optimizer, constraint="orthogonal").remove()
    (-network(torch.randn(8, 2)).square().mean()).backward()
    optimizer.step()
    assert max(exceeds(network).values()) > 0.01
    assert prove(network).upper > 1


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 10_000),
)
def test_retraction_of_any_matrix_has_norm_at_most_one(
    rows: int, columns: int, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    assert torch.linalg.matrix_norm(retract(weight), ord=2) <= 1 + 1e-12


def test_retraction_converges_to_the_nearest_orthogonal_matrix() -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(6, 6, dtype=torch.float64))
    weight = u @ torch.diag(torch.linspace(0.4, 1.6, 6, dtype=torch.float64)) @ v
    for _ in range(30):
        weight = retract(weight)
    assert torch.allclose(weight, u @ v)


@pytest.mark.parametrize("index", range(5))
def test_reloaded_network_gives_equal_bits_and_the_same_proof(index: int) -> None:
    network = networks()[index]
    violent_steps(network, "orthogonal", steps=3)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = networks(seed=7)[index]
    other.load_state_dict(torch.load(file))
    x = torch.randn(20, network.features)
    assert torch.equal(network(x), other(x))
    assert prove(other) == prove(network)
    project(other, constraint="projection")
    assert torch.allclose(network(x), other(x), atol=1e-4)


@pytest.mark.parametrize("index", range(5))
def test_no_pair_of_inputs_gains_more_than_is_proved(index: int) -> None:
    network = networks()[index]
    project(network, constraint="orthogonal")
    certificate = certify(network)
    assert 0 < certificate.lower <= certificate.upper
    exact, x = copy.deepcopy(network).double(), torch.randn(400, network.features)
    y = x + 10 ** (-3 * torch.rand(400, 1)) * torch.randn(x.shape)
    moved = exact(x.double()) - exact(y.double())
    lengths = torch.linalg.vector_norm((x - y).double(), dim=1)
    assert (moved.abs().amax(1) <= prove_outputs(network).upper * lengths).all()
    assert (torch.linalg.vector_norm(moved, dim=1) <= certificate.upper * lengths).all()


@pytest.mark.parametrize("index", range(5))
def test_certificate_of_a_network_with_one_enlarged_weight_exceeds_one(index: int) -> None:
    for name, _ in networks()[index].named_parameters():
        if not name.endswith("weight"):
            continue
        network = networks()[index]
        project(network, constraint="orthogonal")
        weight: Tensor = network.get_parameter(name)
        weight.data.mul_(1.01)
        assert prove_outputs(network).upper > 1.005, name


def test_gradient_of_a_violating_network_is_below_its_certificate() -> None:
    network = networks()[0].double()
    for parameter in network.parameters():
        parameter.data.mul_(1.5)
    x = torch.randn(500, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network(x).sum(), x)
    steepest = float(torch.linalg.vector_norm(slope, dim=1).max())
    assert 1 < steepest <= prove(network).upper


def test_norms_of_rows_and_exact_gram_matrices_are_not_below_the_truth() -> None:
    assert row_norm(torch.tensor([0.5, -0.25, 0.0, 0.6, -0.8]), 3) >= 1.75
    assert row_norm(torch.tensor([3.0, 4.0]), 0) == 5
    swap = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 2.0**-30]])
    assert square_norm(swap) == (2, None)
    assert square_norm(torch.zeros(2, 3))[0] == 0
    square, bound = square_norm(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    assert bound is not None
    assert square >= (3 + 5**0.5) / 2


def test_foreign_parts_hooks_and_subclasses_are_refused() -> None:
    class Own(FreeWidthNetwork):
        pass

    network = FreeWidthNetwork(2, 4, 1)
    network.lift = nn.Sequential(nn.Linear(2, 4))  # type: ignore[assignment]
    with pytest.raises(Refusal, match="no part of a FreeWidthNetwork"):
        prove(network)
    with pytest.raises(Refusal, match="a subclass needs its own rule"):
        prove_outputs(Own(2, 4, 1))
    network = FreeWidthNetwork(2, 4, 1)
    network.lift = GradientStep(2, 2)  # type: ignore[assignment]
    with torch.no_grad():
        network.lift.weight.copy_(0.01 * torch.eye(2))
    with pytest.raises(Refusal, match="'lift' is a GradientStep, which is no part"):
        prove(network)  # its weight has the norm 0.01, the step the constant 1
    network = FreeWidthNetwork(4, 4, 2)
    network.steps[0] = nn.Linear(4, 4)
    with pytest.raises(Refusal, match=r"'steps.0' is a Linear, which is no part"):
        prove(network)
    hooked = FixedWidthNetwork(2, 5, 1)
    hooked.steps[0].register_forward_hook(lambda *_: None)
    with pytest.raises(Refusal, match="forward hooks"):
        prove(hooked)


def test_lower_block_that_reads_the_coordinates_above_it_is_refused() -> None:
    """Its Euclidean norm bounds nothing there: (1, 1, 1) has the mixed norm 1."""
    network = FixedWidthNetwork(2, 6, 2)
    network.affine_maps[0].low = nn.Linear(6, 3)
    assert network(torch.zeros(1, 2)).shape == (1, 1)
    with pytest.raises(Refusal, match="sees 6 coordinates, not 3"):
        prove(network)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="width of at least 4"):
        FixedWidthNetwork(2, 3, 1)
    with pytest.raises(ValueError, match="sizes of at least 1"):
        FreeWidthNetwork(2, 0, 1)
    with pytest.raises(ValueError, match="readout must be"):
        FreeWidthNetwork(2, 3, 1, readout="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds none"):
        project(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="constraint must be"):
        project(networks()[0], constraint="power")  # type: ignore[arg-type]


def test_gradient_steps_outside_of_networks_are_held_too() -> None:
    torch.manual_seed(0)
    step = GradientStep(9, 6, tau=2.0)
    model = nn.Sequential(nn.Flatten(), step, nn.ReLU())
    with torch.no_grad():
        step.weight.mul_(3)
    assert prove(model).upper > 1
    project(model, constraint="orthogonal")
    assert prove(model, gap=1e-7).upper == 1


def test_training_is_repeatable() -> None:
    x, labels = torch.randn(64, 2), torch.randint(2, (64,))
    outputs = []
    for _ in range(2):
        network = networks()[0]
        train(network, x, labels, Fit(epochs=2, batch=16))
        outputs.append(network(x))
    assert torch.equal(*outputs)
