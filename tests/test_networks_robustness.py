"""Certified radii are those of the theorem: no attack inside, and a counter-example just outside."""

from __future__ import annotations

import math

import pytest
import torch

from pnp_lip.networks import certified_accuracy, certified_radius, predict

DOUBLE = torch.float64


def test_radius_of_a_linear_binary_classifier_is_the_distance_to_its_boundary() -> None:
    a = torch.tensor([0.6, 0.8], dtype=DOUBLE)
    x = torch.tensor([[3.0, -1.0], [-2.0, 0.5]], dtype=DOUBLE)
    logits = (x @ a)[:, None]
    radii = certified_radius(logits, 1.0)
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
    radius = float(certified_radius(x @ matrix.T, 1.0, norm=norm))  # type: ignore[arg-type]
    for factor, same in ((0.999, True), (1.001, False)):
        moved = (x + factor * radius * direction) @ matrix.T
        assert (int(predict(moved)) == int(predict(x @ matrix.T))) is same


def test_radius_scales_with_the_constant_and_is_rounded_down() -> None:
    logits = torch.tensor([[0.1, 0.7, 0.3]], dtype=DOUBLE)
    one, two = certified_radius(logits, 1.0), certified_radius(logits, 2.0)
    assert torch.equal(one, 2 * two)
    assert float(one) < (0.7 - 0.3) / math.sqrt(2)
    assert float(one) > (1 - 1e-14) * (0.7 - 0.3) / math.sqrt(2)
    assert torch.allclose(certified_radius(logits, 1.0, norm="mixed") * math.sqrt(2), one)


def test_certified_accuracy_counts_right_predictions_with_room() -> None:
    logits = torch.tensor([[0.5], [0.05], [-0.5], [-0.05], [0.0]])
    labels = torch.tensor([1, 1, 1, 0, 0])
    assert certified_accuracy(logits, labels, 0.0, 1.0) == pytest.approx(3 / 5)
    assert certified_accuracy(logits, labels, 0.1, 1.0) == pytest.approx(1 / 5)
    assert certified_accuracy(logits, labels, 0.1, 0.25) == pytest.approx(3 / 5)
    several = torch.tensor([[0.0, 1.0, 0.2], [0.3, 0.2, 0.1]])
    classes = torch.tensor([1, 0])
    assert certified_accuracy(several, classes, 0.5, 1.0) == pytest.approx(1 / 2)
    assert certified_accuracy(several, classes, 0.5, 1.0, norm="mixed") == 0


def test_wrong_arguments_are_named() -> None:
    logits = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="norm must be"):
        certified_radius(logits, 1.0, norm="linf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive bound"):
        certified_radius(logits, 0.0)
    with pytest.raises(ValueError, match=r"\[B, K\]"):
        certified_radius(torch.zeros(3), 1.0)
    with pytest.raises(ValueError, match="finite"):
        certified_radius(torch.tensor([[math.nan, 0.0]]), 1.0)
    with pytest.raises(ValueError, match="labels must have shape"):
        certified_accuracy(logits, torch.zeros(2), 0.1, 1.0)
