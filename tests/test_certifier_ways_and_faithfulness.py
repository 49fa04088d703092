"""Every way in which a network may be called is bounded, and what is no map of its input is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from bounded_formulas import Formula
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip import Refusal
from pnp_lip.certifier import prove, ways
from pnp_lip.certifier.calls import Call
from pnp_lip.certifier.faithfulness import require_faithful
from pnp_lip.certifier.program import _may_change, exported, made_functional


def _of_shapes(wanted: Callable[[Any], bool]) -> nn.Module:
    """Three times the image where its shape meets a condition."""
    return Formula(lambda x: 3 * x if wanted(x.shape) else torch.tanh(x))


@pytest.mark.parametrize("images", [1, 2, 3])
def test_one_image_and_several_are_both_bounded_whatever_the_example(images: int) -> None:
    example = torch.rand(images, 2, 8, 9)
    assert prove(_of_shapes(lambda shape: shape[0] == 1), example=example).upper == 3.0
    assert prove(_of_shapes(lambda shape: shape[0] >= 2), example=example).upper == 3.0
    assert prove(_of_shapes(lambda shape: False), example=example).upper == 1.0


def test_grey_images_are_bounded_where_colour_is_told_from_them() -> None:
    example = torch.rand(2, 3, 8, 9)
    statement = prove(_of_shapes(lambda shape: shape[1] == 1), example=example)
    assert statement.upper == 3.0
    assert not {"C == 1", "C >= 2"} & set(statement.conditions)


@pytest.mark.parametrize("count", [1, 2])
def test_a_number_of_images_that_is_fixed_is_refused_unless_it_is_one(count: int) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[0] != count:
                raise ValueError("another number of images")
            return torch.tanh(x)

    example = torch.rand(count, 2, 8, 9)
    if count == 1:
        assert prove(Fixed(), example=example).upper == 1.0
    else:
        with pytest.raises(Refusal, match="takes 2 images at once, neither one nor another number"):
            prove(Fixed(), example=example)


def _noted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each export was for one size, in order."""
    found: list[bool] = []

    def watched(module: nn.Module, call: Call, *, fixed: bool = False) -> Any:
        found.append(fixed)
        return exported(module, call, fixed=fixed)

    monkeypatch.setattr(ways, "exported", watched)
    return found


def test_what_has_no_rule_is_refused_after_one_export_for_one_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = _noted(monkeypatch)
    with pytest.raises(Refusal, match="has no rule"):
        prove(Formula(torch.digamma), example=torch.rand(1, 1, 4, 4))
    assert found == [True]


def test_what_takes_no_symbolic_size_is_exported_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Sizes(nn.Module):
        """Not for symbols: a list of so many parts."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, :, i] for i in range(int(x.shape[2]))], 2)

    found = _noted(monkeypatch)
    statement = prove(Sizes(), example=torch.rand(1, 1, 4, 4))
    assert statement.upper >= 1.0
    assert "H == 4" in statement.conditions
    assert found[0] is True


class _Level(nn.Module):
    """A factor from a noise level, which may be a number or a tensor."""

    def __init__(self, formula: Callable[[Tensor, Any], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor, sigma: float | Tensor = 0.1) -> Tensor:
        return self.formula(x, sigma)


def test_a_level_that_only_shifts_is_bounded_for_all_levels() -> None:
    example = torch.rand(1, 1, 4, 4)
    shifted = _Level(lambda x, s: 2 * x + (s if isinstance(s, float) else s[:, None, None, None]))
    assert prove(shifted, example=example).upper == 2.0
    number = _Level(lambda x, s: (3 if isinstance(s, float) else 2) * x)
    assert prove(number, example=example).upper == 3.0


class _Viewing(nn.Module):
    """The image where a cast copies it, and twice the image where the cast is a view."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.double()
        y.mul_(2)
        return x.clone()


def test_a_cast_that_is_a_view_in_float64_is_refused() -> None:
    with pytest.raises(Refusal, match="is another map in float64 than in float32"):
        prove(_Viewing(), example=torch.rand(1, 1, 4, 4))


class _Counting(nn.Module):
    """Another answer at every call, kept where no digest reads it."""

    def __init__(self, box: dict[str, int]) -> None:
        super().__init__()
        self.answer = lambda: box.update(count=box["count"] + 1) or box["count"]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.answer()


def _program(network: nn.Module) -> Any:
    """For images of one size, so that no operators for larger ones are compared."""
    program = exported(network, Call((3, 2, 16, 24)))
    return replace(program, conditions=("B == 3", "H == 16", "W == 24"))


def test_a_graph_that_computes_something_else_is_refused() -> None:
    program = _program(Formula(lambda x: 2 * x))
    require_faithful(Formula(lambda x: x + x), program)
    for factor in (2.001, -2.0, 0.0):
        with pytest.raises(Refusal, match="does not compute what the module does"):
            require_faithful(Formula(lambda x, factor=factor: factor * x), program)
    with pytest.raises(Refusal, match="relative difference inf"):
        require_faithful(Formula(lambda x: (2 * x)[:, :1]), program)


def test_a_graph_that_differs_for_small_or_large_images_alone_is_refused() -> None:
    program = _program(Formula(torch.tanh))
    for low, high in ((0.0, 0.2), (50.0, 200.0)):

        def differs(x: Tensor, low: float = low, high: float = high) -> Tensor:
            return x if low < float(x.abs().max()) < high else torch.tanh(x)

        with pytest.raises(Refusal, match="does not compute what the module does"):
            require_faithful(Formula(differs), program)


def test_a_module_with_two_answers_is_no_map() -> None:
    program = _program(Formula(lambda x: x + 1))
    with pytest.raises(Refusal, match="gives two answers for one input"):
        require_faithful(_Counting({"count": 0}), program)
    for other in (torch.is_grad_enabled, torch.is_inference_mode_enabled):
        changing = Formula(lambda x, other=other: x + 1 + bool(other()))
        with pytest.raises(Refusal, match="gives two answers for one input"):
            require_faithful(changing, program)
    dense = Formula(lambda x: x + (1 if x.is_contiguous() else 2))
    with pytest.raises(Refusal, match="gives two answers for one input"):
        require_faithful(dense, program)


def test_a_module_that_cannot_be_run_is_refused_with_what_it_raised() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("no such thing")

    program = _program(Formula(lambda x: x + 1))
    with pytest.raises(Refusal, match="could be exported but not run: no such thing"):
        require_faithful(Formula(broken), program)


#: Calls in place, and whether they change fresh memory of their own.
IN_PLACE: dict[str, tuple[Callable[..., Tensor], bool]] = {
    "a layer's result": (lambda x, w: functional.relu_(functional.conv2d(x, w)), True),
    "twice": (lambda x, w: functional.conv2d(x, w).relu_().mul_(2), True),
    "after a function": (lambda x, w: torch.tanh(x + 1).add_(1), True),
    "nothing": (lambda x, w: torch.relu(functional.conv2d(x, w)), True),
    "a view": (lambda x, w: functional.conv2d(x, w).view(-1).relu_(), False),
    "what was read": (lambda x, w: (lambda y: y.abs() + y.relu_())(functional.conv2d(x, w)), False),
    "a copy": (lambda x, w: x.clone().relu_(), False),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_calls_in_place_are_written_as_functions_where_they_change_their_own_memory(
    name: str,
) -> None:
    formula, own = IN_PLACE[name]
    network = Formula(formula, torch.ones(1, 2, 3, 3) / 18)
    with torch.no_grad():
        program = torch.export.export(network, (torch.rand(3, 2, 8, 8),), strict=False)
        assert made_functional(program) == own
    x = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(program.module()(x), network(x))
    assert any(map(_may_change, program.graph.nodes)) != own
