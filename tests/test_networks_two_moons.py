"""Networks proved 1-Lipschitz classify the two moons."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pnp_lip.certifier import prove
from pnp_lip.data import two_moons
from pnp_lip.networks import (
    Fit,
    FixedWidthNetwork,
    FreeWidthNetwork,
    certified_accuracy,
    predict,
    prove_outputs,
    temperature_loss,
    train,
)


@pytest.mark.parametrize(
    ("architecture", "depth"),
    list(itertools.product([FreeWidthNetwork, FixedWidthNetwork], [2, 4])),
)
def test_proved_network_classifies_the_two_moons_also_within_a_radius(
    architecture: type[FreeWidthNetwork] | type[FixedWidthNetwork], depth: int
) -> None:
    torch.manual_seed(0)
    moons = two_moons()
    network = architecture(2, 32, depth)
    losses = train(network, moons.x, moons.labels, Fit(epochs=15))
    assert losses[-1] < 0.1 * losses[0]
    statement = prove(network)
    assert statement.upper <= 1
    logits = network(moons.test_x)
    assert (predict(logits) == moons.test_labels).double().mean() >= 0.99
    assert certified_accuracy(logits, moons.test_labels, 0.1, statement) >= 0.95
    within = 0.1 * torch.nn.functional.normalize(torch.randn(50, len(moons.test_x), 2), dim=2)
    attacked = torch.stack([predict(network(moons.test_x + move)) for move in within])
    robust = (attacked == moons.test_labels).all(0).double().mean()
    assert robust >= certified_accuracy(logits, moons.test_labels, 0.1, statement)


def test_two_logits_that_are_each_nonexpansive_certify_with_the_mixed_norm() -> None:
    torch.manual_seed(0)
    moons = two_moons()
    network = FixedWidthNetwork(2, 32, 2, outputs=2)
    train(network, moons.x, moons.labels, Fit(epochs=15, temperature=10.0))
    statement = prove_outputs(network)
    assert statement.upper <= 1 < prove(network).upper
    logits = network(moons.test_x)
    assert certified_accuracy(logits, moons.test_labels, 0.1, statement) >= 0.9


def test_network_of_width_three_learns_the_two_moons() -> None:
    torch.manual_seed(0)
    moons = two_moons()
    network = FreeWidthNetwork(2, 3, 4)
    train(network, moons.x, moons.labels, Fit(epochs=30, rate=3e-2))
    assert prove(network).upper <= 1
    accuracy = (predict(network(moons.test_x)) == moons.test_labels).double().mean()
    assert accuracy >= 0.99


def test_moons_without_noise_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    expected, labels = datasets.make_moons(400, shuffle=False)
    moons = two_moons(400, 1, noise=0.0)
    ours = torch.cat([moons.test_x, moons.x]).double().numpy()
    ours_labels = torch.cat([moons.test_labels, moons.labels]).numpy()
    for label in (0, 1):
        points = ours[ours_labels == label]
        reference = (expected - expected.mean(0)) / expected.std(0)
        reference = reference[labels == label]
        order, other = np.argsort(points[:, 0]), np.argsort(reference[:, 0])
        assert np.abs(points[order, 0] - reference[other, 0]).max() < 0.01
        assert np.abs(points[:, 1].min() - reference[:, 1].min()) < 0.01
        assert np.abs(points[:, 1].max() - reference[:, 1].max()) < 0.01
    with pytest.raises(ValueError, match="held_out must lie between"):
        two_moons(10, 10)


def test_loss_of_one_output_is_that_of_two_opposite_ones() -> None:
    logits, labels = torch.randn(20, 1, dtype=torch.float64), torch.randint(2, (20,))
    two = torch.cat([-logits / 2, logits / 2], dim=1)
    assert torch.allclose(temperature_loss(logits, labels, 7.0), temperature_loss(two, labels, 7.0))
