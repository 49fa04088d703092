"""What a walk through a graph knows of its tensors: their sizes, and combinations of atoms."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from bounded_formulas import bounded
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from pnp_lip.certifier.composition import worst
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.certifier.values import Known, is_equal, size_of, whole_factor

_IMAGE = (2, 4, 8, 6)


def _node(value: Any) -> fx.Node:
    node = fx.Graph().placeholder("x")
    node.meta["val"] = value
    return node


def test_the_size_of_several_results_is_that_of_the_first() -> None:
    one, other = torch.zeros(2, 3), torch.zeros(4)
    assert size_of(_node(one)) == (2, 3)
    assert size_of(_node((one, other))) == (2, 3)
    assert size_of(_node([other, one])) == (4,)
    assert size_of(_node(7)) == ()
    assert size_of(fx.Graph().placeholder("x")) == ()


def test_a_whole_factor_is_known_between_numbers_and_between_symbols() -> None:
    side = ShapeEnv().create_unbacked_symint()
    for source, target, factor in (
        (3, 12, 4),
        (12, 3, Fraction(1, 4)),
        (5, 5, 1),
        (4, 6, None),
        (1, 50, 50),
        (side, side, 1),
        (side, 4 * side, 4),
        (4 * side, side, Fraction(1, 4)),
        (side, 32 * side, 32),
        (side, 33 * side, None),
        (2 * side, 3 * side, None),
        (side, 7, None),
    ):
        assert whole_factor(source, target) == factor
    assert is_equal(side, side)
    assert not is_equal(side, side + 1)
    assert not is_equal(3, 4)
    assert is_equal(3, 3)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.5, Fraction(1, 2)),
        (-3, Fraction(-3)),
        (torch.tensor([[2.5]]), Fraction(5, 2)),
        (torch.tensor(4), Fraction(4)),
        (torch.ones(2), None),
        (True, None),
        (torch.tensor(True), None),
        (math.inf, None),
        (torch.tensor(math.nan), None),
        ("a", None),
        (None, None),
    ],
)
def test_a_known_value_is_a_number_if_it_is_one_that_is_finite(
    value: Any, number: Fraction | None
) -> None:
    assert Known(value).number() == number


#: A formula, its constant and its averagedness.
COMBINED: dict[str, tuple[Callable[[Tensor], Tensor], float, float | None]] = {
    "two layers": (lambda x: 2 * torch.relu(3 * torch.tanh(x)), 6.0, None),
    "three cuts": (lambda x: torch.tanh(torch.relu(torch.tanh(x).flip(1)) * 0.5), 0.5, 0.75),
    "the identity": (lambda x: x.clone(), 1.0, 0.0),
    "a scalar map": (torch.relu, 1.0, 0.5),
    "a mixture": (lambda x: 0.25 * torch.relu(x) + 0.75 * x, 1.0, 0.125),
    "a step": (lambda x: x - 0.5 * torch.relu(x), 1.0, 0.25),
    "a longer step": (lambda x: x - 3 * torch.relu(x), 2.0, None),
    "difference of one map": (lambda x: torch.relu(x) - torch.relu(x), 1.0, None),
    "of two maps": (lambda x: torch.relu(x) + torch.tanh(x), 2.0, None),
    "a cut and a sum": (lambda x: (lambda y: y + y.flip(1))(torch.relu(x)), 2.0, None),
    "nothing of it": (lambda x: 0 * x + 1, 0.0, 0.5),
}


@pytest.mark.parametrize("name", COMBINED)
def test_combinations_have_the_constant_of_their_formula(name: str) -> None:
    formula, upper, alpha = COMBINED[name]
    found = bounded(formula, _IMAGE)
    assert upper * (1 - 1e-12) <= found.upper <= upper * (1 + 1e-9)
    if alpha is not None:
        assert found.averagedness == pytest.approx(alpha, abs=1e-12)


def test_the_worst_of_several_ways_keeps_the_conditions_of_all() -> None:
    ways = [
        Statement("one", 1.0, 0.5, conditions=("H % 2 == 0", "W >= 4")),
        Statement("other", 1.0, 0.7, conditions=("W >= 4", "B == 1")),
        Statement("third", 0.5, 0.75, conditions=("C == 1",)),
    ]
    for order in (ways, ways[::-1]):
        found = worst(order)
        assert set(found.conditions) == {"H % 2 == 0", "W >= 4", "B == 1", "C == 1"}
        assert len(found.conditions) == 4
        assert found.upper == 1.0
        assert found.averagedness == 0.75
    assert worst([*ways, lipschitz("wide", 2.0)]).averagedness is None
