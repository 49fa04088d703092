"""What goes wrong in code that estimates its constraints, and does not here.

Lifts and heads without a bound, step lengths from one step of the power method, which is below the norm,
and norms that are kept beside the weights and are not reloaded with them.
"""

from __future__ import annotations

import io
import itertools

import pytest
import torch

from pnp_lip.certifier import prove
from pnp_lip.constraints import Constraint, hold, project
from pnp_lip.data import two_moons
from pnp_lip.networks import FixedWidthNetwork, FreeWidthNetwork, temperature_loss

Architecture = type[FreeWidthNetwork] | type[FixedWidthNetwork]
ARCHITECTURES: tuple[Architecture, ...] = (FreeWidthNetwork, FixedWidthNetwork)


def longest_step(network: FreeWidthNetwork | FixedWidthNetwork) -> float:
    r"""The largest :math:`\tau\|W\|^2`, by singular values in float64."""
    return max(
        float(step.tau.detach().double())
        * float(torch.linalg.svdvals(step.weight.double())[0]) ** 2
        for step in network.gradient_steps
    )


@pytest.mark.parametrize(
    ("architecture", "constraint"),
    list(itertools.product(ARCHITECTURES, ("orthogonal", "projection"))),
)
def test_step_length_is_never_above_its_bound_while_a_classifier_trains(
    architecture: Architecture, constraint: Constraint
) -> None:
    torch.manual_seed(0)
    moons = two_moons(400, 100)
    network = architecture(2, 16, 3, learn_tau=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-2)
    hold(network, optimizer, constraint=constraint)
    start = [float(step.tau.detach()) for step in network.gradient_steps]
    for _ in range(40):
        assert longest_step(network) <= 2
        optimizer.zero_grad()
        temperature_loss(network(moons.x), moons.labels, 20.0).backward()
        optimizer.step()
    assert longest_step(network) <= 2
    assert [float(step.tau.detach()) for step in network.gradient_steps] != start
    assert prove(network).upper <= 1


def test_step_length_from_one_power_step_is_too_long_and_the_certificate_says_so() -> None:
    torch.manual_seed(0)
    network = FreeWidthNetwork(2, 32, 2)
    for step in network.gradient_steps:
        weight = torch.randn(32, 32)
        start = torch.nn.functional.normalize(torch.randn(32), dim=0)
        estimate = torch.linalg.vector_norm(
            weight @ torch.nn.functional.normalize(weight.T @ (weight @ start), dim=0)
        )
        step.weight.data.copy_(weight / estimate)
        step.tau.data.fill_(2.0)
    assert longest_step(network) > 2.1
    assert prove(network).upper > 1.1
    project(network, constraint="projection")
    assert longest_step(network) <= 2
    assert prove(network).upper <= 1


@pytest.mark.parametrize("part", ["lift", "readout"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lift_and_head_are_bounded_again_after_each_step(
    architecture: Architecture, part: str
) -> None:
    torch.manual_seed(0)
    network = architecture(2, 16, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    hold(network, optimizer, constraint="orthogonal")
    for parameter in network.get_submodule(part).parameters():
        parameter.data.mul_(20.0)
    assert prove(network).upper > 2
    network(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    assert prove(network).upper <= 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_everything_that_acts_is_in_the_state_dict(architecture: Architecture) -> None:
    """Reloaded into a network with another past, in training and in evaluation mode."""
    torch.manual_seed(0)
    moons = two_moons(400, 100)
    networks = [architecture(2, 16, 3, learn_tau=True) for _ in range(2)]
    for steps, network in zip((10, 3), networks, strict=True):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        hold(network, optimizer, constraint="orthogonal")
        for _ in range(steps):
            optimizer.zero_grad()
            temperature_loss(network(moons.x), moons.labels, 20.0).backward()
            optimizer.step()
    trained, other = networks
    expected, proof = trained(moons.test_x), prove(trained)
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for mode in (True, False):
        assert torch.equal(other.train(mode)(moons.test_x), expected)
        assert prove(other) == proof


def test_smallest_networks_keep_their_constraint() -> None:
    torch.manual_seed(0)
    smallest: list[FreeWidthNetwork | FixedWidthNetwork] = [
        FreeWidthNetwork(2, 3, 4),
        FreeWidthNetwork(1, 1, 1),
        FixedWidthNetwork(1, 4, 2),
    ]
    for network in smallest:
        optimizer = torch.optim.Adam(network.parameters(), lr=0.3)
        hold(network, optimizer, constraint="orthogonal")
        for _ in range(10):
            optimizer.zero_grad()
            (-network(torch.randn(16, network.features)).square().mean()).backward()
            optimizer.step()
            assert longest_step(network) <= 2
        assert prove(network).upper <= 1
