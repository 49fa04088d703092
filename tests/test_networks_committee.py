"""The mean of networks: its constant, and the radii of its logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.certifier import Refusal, certify, prove
from pnp_lip.networks import (
    Committee,
    NearestPrototype,
    attacked_accuracy,
    certified_accuracy,
    predict,
)


def scaled(*factors: float) -> list[nn.Linear]:
    members = [nn.Linear(4, 4, bias=False) for _ in factors]
    for member, factor in zip(members, factors, strict=True):
        member.weight.data = factor * torch.eye(4)
    return members


def test_the_constant_of_a_committee_is_at_most_the_mean_of_its_members() -> None:
    certificate = certify(Committee(scaled(1.0, 3.0)), gap=1e-6)
    assert certificate.lower <= 2.0 <= certificate.upper < 2.0 + 1e-5
    assert certificate.lower == pytest.approx(2.0, abs=1e-3)


def test_members_that_cancel_are_still_bounded_by_their_mean() -> None:
    committee = Committee(scaled(1.0, -1.0))
    x = torch.randn(5, 4)
    assert torch.equal(committee(x), torch.zeros(5, 4))
    assert prove(committee, gap=1e-6).upper == pytest.approx(1.0, abs=1e-5)


def test_one_member_is_itself() -> None:
    (member,) = scaled(0.7)
    x = torch.randn(5, 4)
    assert torch.equal(Committee([member])(x), member(x))
    assert prove(Committee([member])).upper == prove(member).upper


def test_a_member_that_is_not_known_is_refused_by_its_path() -> None:
    with pytest.raises(Refusal, match=r"'members\.1' .*normalises by statistics"):
        prove(Committee([nn.Identity(), nn.GroupNorm(1, 2)]))


def test_an_empty_committee_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one network"):
        Committee([])


def test_the_certified_radius_of_the_mean_logits_holds_against_an_attack() -> None:
    torch.manual_seed(0)
    heads = [NearestPrototype(torch.randn(3, 4, 8)) for _ in range(3)]
    committee = Committee(heads)
    statement = prove(committee)
    assert (statement.upper, statement.outputs) == (1.0, "l1")
    x = torch.randn(300, 8)
    labels = predict(committee(x))
    assert any((predict(head(x)) != labels).any() for head in heads)
    for radius in (0.1, 0.3):
        certified = certified_accuracy(committee(x), labels, radius, statement)
        assert attacked_accuracy(committee, x, labels, radius) >= certified > 0.1


def test_an_attack_may_be_guided_by_other_scores_than_those_that_decide() -> None:
    torch.manual_seed(0)
    (model,) = scaled(1.0)
    x = torch.randn(100, 4)
    labels = predict(model(x))

    def decision(z: Tensor) -> Tensor:
        """The same prediction, with no slope to climb."""
        logits = model(z)
        return functional.one_hot(predict(logits), 4) + 0.0 * logits

    alone = attacked_accuracy(decision, x, labels, 0.5)
    guided = attacked_accuracy(decision, x, labels, 0.5, guide=model)
    assert guided == attacked_accuracy(model, x, labels, 0.5) < alone
