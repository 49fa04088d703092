"""Certified radii are those of the theorem: no attack inside, and a counter-example just outside."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch

from pnp_lip.certifier import Statement, averaged_with_identity, combine, compose, lipschitz, prove
from pnp_lip.networks import (
    FreeWidthNetwork,
    certified_accuracy,
    certified_radius,
    predict,
    prove_outputs,
)

DOUBLE = torch.float64


def constant(upper: float, outputs: Any = "l2") -> Statement:
    """A statement about logits in a norm."""
    return replace(lipschitz("given", upper), outputs=outputs)


def test_radius_of_a_linear_binary_classifier_is_the_distance_to_its_boundary() -> None:
    a = torch.tensor([0.6, 0.8], dtype=DOUBLE)
    x = torch.tensor([[3.0, -1.0], [-2.0, 0.5]], dtype=DOUBLE)
    logits = (x @ a)[:, None]
    radii = certified_radius(logits, constant(1.0))
    assert torch.allclose(radii, logits[:, 0].abs())
    outside = x - 1.001 * radii[:, None] * logits.sign() * a
    assert (predict((outside @ a)[:, None]) != predict(logits)).all()


@pytest.mark.parametrize("norm", ["l2", "mixed"])
def test_radius_is_attained_by_the_worst_map_of_its_norm(norm: str) -> None:
    """l2: the identity, whose logit differences are sqrt(2)-Lipschitz. Mixed: the rows (1) and (-1)."""
    matrix = torch.eye(2, dtype=DOUBLE) if norm == "l2" else torch.tensor([[1.0], [-1.0]]).double()
    x = torch.full((1, matrix.shape[1]), 1.0, dtype=DOUBLE)
    x[0, 0] = 3.0
    direction = (matrix[1] - matrix[0]) / torch.linalg.vector_norm(matrix[1] - matrix[0])
    radius = float(certified_radius(x @ matrix.T, constant(1.0, norm)))
    for factor, same in ((0.999, True), (1.001, False)):
        moved = (x + factor * radius * direction) @ matrix.T
        assert (int(predict(moved)) == int(predict(x @ matrix.T))) is same


def test_radius_scales_with_the_constant_and_is_rounded_down() -> None:
    logits = torch.tensor([[0.1, 0.7, 0.3]], dtype=DOUBLE)
    one, two = certified_radius(logits, constant(1.0)), certified_radius(logits, constant(2.0))
    assert torch.equal(one, 2 * two)
    assert float(one) < (0.7 - 0.3) / math.sqrt(2)
    assert float(one) > (1 - 1e-14) * (0.7 - 0.3) / math.sqrt(2)
    assert torch.allclose(certified_radius(logits, constant(1.0, "mixed")) * math.sqrt(2), one)


def test_certified_accuracy_counts_right_predictions_with_room() -> None:
    logits = torch.tensor([[0.5], [0.05], [-0.5], [-0.05], [0.0]])
    labels = torch.tensor([1, 1, 1, 0, 0])
    assert certified_accuracy(logits, labels, 0.0, constant(1.0)) == pytest.approx(3 / 5)
    assert certified_accuracy(logits, labels, 0.1, constant(1.0)) == pytest.approx(1 / 5)
    assert certified_accuracy(logits, labels, 0.1, constant(0.25)) == pytest.approx(3 / 5)
    several = torch.tensor([[0.0, 1.0, 0.2], [0.3, 0.2, 0.1]])
    classes = torch.tensor([1, 0])
    assert certified_accuracy(several, classes, 0.5, constant(1.0)) == pytest.approx(1 / 2)
    assert certified_accuracy(several, classes, 0.5, constant(1.0, "mixed")) == 0


def test_wrong_arguments_are_named() -> None:
    logits = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"expected a Statement, .* got 1\.0"):
        certified_radius(logits, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outputs in the norm l2, l1 or mixed, got 'linf'"):
        constant(1.0, "linf")
    with pytest.raises(ValueError, match="got the constant 0"):
        certified_radius(logits, constant(0.0))
    with pytest.raises(ValueError, match=r"\[B, K\]"):
        certified_radius(torch.zeros(3), constant(1.0))
    with pytest.raises(ValueError, match="finite"):
        certified_radius(torch.tensor([[math.nan, 0.0]]), constant(1.0))
    with pytest.raises(ValueError, match="labels must have shape"):
        certified_accuracy(logits, torch.zeros(2), 0.1, constant(1.0))


def test_the_radius_of_an_identity_holds_because_its_statement_names_the_norm() -> None:
    """Read in the sum norm, the constant 1 would give 0.5; the class flips at 0.354."""
    network = FreeWidthNetwork(2, 2, 0, outputs=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.lift.weight.copy_(torch.eye(2))
        network.readout.weight.copy_(torch.eye(2))
    logits = network(torch.tensor([[0.5, 0.0]]))
    assert float(certified_radius(logits, prove(network))) == pytest.approx(0.5 / math.sqrt(2))
    assert float(certified_radius(logits, prove_outputs(network))) == pytest.approx(0.25, abs=1e-3)
    assert prove_outputs(network).outputs == "mixed"
    after = torch.nn.Sequential(network, torch.nn.Identity())
    assert prove(after).outputs == "l2"


def test_a_bound_of_single_outputs_is_not_composed() -> None:
    single, plain = constant(1.0, "mixed"), constant(1.0)
    assert compose([plain, single]).outputs == "mixed"
    assert compose([plain, constant(1.0, "l1")]).outputs == "l1"
    assert compose([constant(1.0, "l1"), plain]).outputs == "l2"
    with pytest.raises(ValueError, match="says nothing of what is made of all of them"):
        compose([single, plain])
    with pytest.raises(ValueError, match="says nothing of what is made of all of them"):
        combine([(Fraction(1), single)])
    with pytest.raises(ValueError, match="says nothing of what is made of all of them"):
        averaged_with_identity(single, 0.5)
