"""Bounds of operators that act on every entry, or that move, repeat or join them, are attained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bounded_formulas import bounded, held
from torch import Tensor
from torch.nn import functional

from pnp_lip import Refusal

_LINE, _IMAGE, _VOLUME = (2, 4, 9), (2, 4, 8, 6), (2, 1, 4, 5, 6)
_FACTORS, _MASK = held(4, 1, 1), held(8, 6) > 0
_LARGEST, _LEAST = float(_FACTORS.abs().max()), float(_FACTORS.abs().min())


def _phases(x: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.fft(x, norm="ortho") * torch.tensor(3 + 4j))


def _doubled(x: Tensor) -> Tensor:
    return x + 2 * x.flip(1)


#: Of one size: a formula, a shape, and the bound.
FIXED: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...], float]] = {
    "sum of branches": (_doubled, _IMAGE, 3.0),
    "difference of branches": (lambda x: x - 2 * x.flip(1), _IMAGE, 3.0),
    "difference of the same": (lambda x: 3 * x - x, _IMAGE, 2.0),
    "sum with a weight": (lambda x: torch.add(x, x.flip(1), alpha=-0.5), _IMAGE, 1.5),
    "difference with a weight": (lambda x: torch.sub(x, x, alpha=3), _IMAGE, 2.0),
    "from a constant": (lambda x: torch.rsub(x, 1, alpha=3), _IMAGE, 3.0),
    "between": (lambda x: torch.lerp(x, x.flip(1), 2.0), _IMAGE, 3.0),
    "between itself": (lambda x: torch.lerp(x, 3 * x, 0.25), _IMAGE, 1.5),
    "negative": (lambda x: -x + 3 * x.neg(), _IMAGE, 4.0),
    "number": (lambda x: x * -1.5, _IMAGE, 1.5),
    "one number": (lambda x: torch.tensor([[2.5]]) * x, _IMAGE, 2.5),
    "factors": (lambda x: x * _FACTORS, _IMAGE, _LARGEST),
    "factors less the image": (lambda x: x * _FACTORS - x, _IMAGE, float((_FACTORS - 1).abs().max())),
    "divisor": (lambda x: x / -4, _IMAGE, 0.25),
    "divisors": (lambda x: x / _FACTORS.abs(), _IMAGE, 1 / _LEAST),
    "negative divisors": (lambda x: x / -_FACTORS.abs(), _IMAGE, 1 / _LEAST),
    "complex factor": (_phases, _IMAGE, 5.0),
    "softsign": (lambda x: x / (x.abs() + 0.5), _IMAGE, 2.0),
    "clamp": (lambda x: x - 2 * x.clamp(-1, 1), _IMAGE, 1.0),
    "slopes": (lambda x: functional.prelu(x, _FACTORS.flatten()), _IMAGE, max(1.0, _LARGEST)),
    "two slopes": (lambda x: functional.leaky_relu(x, -2.0) - x, _IMAGE, 3.0),
    "filled": (lambda x: x.masked_fill(_MASK, 0.5), _IMAGE, 1.0),
    "larger of two": (lambda x: torch.maximum(x, 2 * x.flip(1)), _IMAGE, math.sqrt(5)),
    "larger than a constant": (lambda x: torch.maximum(_FACTORS, x) - x, _IMAGE, 1.0),
    "chosen": (lambda x: torch.where(_MASK, x, 2 * x.flip(1)), _IMAGE, math.sqrt(5)),
    "chosen from the same": (lambda x: torch.where(_MASK, 3 * x, 3 * x), _IMAGE, 3.0),
    "chosen or a constant": (lambda x: torch.where(_MASK, 3 * x, 0.5), _IMAGE, 3.0),
    "other numbers": (lambda x: x.double() * 0.5, _IMAGE, 0.5),
    "real part": (lambda x: torch.fft.fft(x, norm="ortho").real, _IMAGE, 1.0),
    "beside": (lambda x: torch.cat([x, 2 * x.flip(1)], 1), _IMAGE, math.sqrt(5)),
    "beside constants": (lambda x: torch.cat([2 * x, torch.ones_like(x)], 1), _IMAGE, 2.0),
    "stacked": (lambda x: torch.stack([x, x, x]), _IMAGE, math.sqrt(3)),
    "written into": (lambda x: x.slice_scatter(3 * x[:, :1], 1, 0, 1), _IMAGE, math.sqrt(10)),
    "repeated": (lambda x: x[:, :1].repeat(1, 3, 2, 1), _IMAGE, math.sqrt(6)),
    "expanded": (lambda x: x[:, :, :1].expand(2, 4, 5, 6), _IMAGE, math.sqrt(5)),
    "repeated in a sum": (lambda x: x + x[:, :1], _IMAGE, 3.0),
    "all of it": (lambda x: x[:, :, 0:] - 0.5 * x, _IMAGE, 0.5),
    "a part": (lambda x: x[:, :2] + x[:, 2:], _IMAGE, 2.0),
    "a part and itself": (lambda x: x[:, :2] - x[:, :2], _IMAGE, 2.0),
    "parts": (lambda x: x.split(2, 1)[0] + 2 * x.split(2, 1)[1], _IMAGE, 3.0),
    "parts of three": (lambda x: (3 * x).chunk(2, 1)[1], _IMAGE, 3.0),
    "taken apart": (lambda x: x.unbind(1)[0] + x.unbind(1)[3], _IMAGE, 2.0),
    "zeros around": (lambda x: functional.pad(x, (1, 2, 3, 4)), _IMAGE, 1.0),
    "order": (lambda x: x.sort(1)[0], _IMAGE, 1.0),
    "largest": (lambda x: x.amax(1) + x.amin(1), _IMAGE, 2.0),
    "diagonals": (lambda x: torch.diag_embed(x), _IMAGE, 1.0),
    "no dropout": (lambda x: functional.dropout(x, 0.5, False) - 0.5 * x, _IMAGE, 0.5),
    "zeros of its size": (lambda x: x + torch.zeros_like(x) * 2 + torch.full_like(x, 3.0), _IMAGE, 1.0),
    "factor of its size": (lambda x: x * torch.full_like(x, -3.0), _IMAGE, 3.0),
    "factor of ones": (lambda x: x - 3 * x * x.new_ones(8, 6), _IMAGE, 2.0),
    "copied": (lambda x: torch.ops.aten.copy(torch.zeros_like(x), x[:, :1]), _IMAGE, 2.0),
    "given twice": (lambda x: x[:, torch.tensor([0, 1, 0])], _IMAGE, math.sqrt(2)),
    "given from the end": (lambda x: x[:, torch.tensor([0, -4, -1])], _IMAGE, math.sqrt(2)),
    "pairs of places": (
        lambda x: x[:, :, torch.tensor([0, 0, 1]), torch.tensor([2, 2, 2])],
        _IMAGE,
        math.sqrt(2),
    ),
    "all pairs of places": (
        lambda x: x[:, :, torch.tensor([[0], [1]]), torch.tensor([2, 2, 2])],
        _IMAGE,
        math.sqrt(3),
    ),
    "selected": (lambda x: x.index_select(1, torch.tensor([1, 1, 1])), _IMAGE, math.sqrt(3)),
}  # fmt: skip


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


@pytest.mark.parametrize("name", FIXED)
def test_the_bound_for_one_size_is_the_least_that_the_slopes_and_copies_allow(name: str) -> None:
    formula, shape, bound = FIXED[name]
    upper = bounded(lambda x: _real(formula(x)), shape).upper
    assert bound * (1 - 1e-6) <= upper <= bound * (1 + 1e-6)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (0, 2), (3, 1), (0, 0)])
def test_a_border_costs_the_largest_number_of_copies_over_all_sides(
    mode: str, sides: tuple[int, int]
) -> None:
    larger, most = max(sides), 1
    for side in range(larger + 1 if mode == "reflect" else 1, 12):
        places = torch.arange(side, dtype=torch.float64)[None]
        found = functional.pad(places, (larger, larger), mode=mode).long()
        most = max(most, int(found.flatten().bincount().max()))
    upper = bounded(lambda x: functional.pad(x, sides, mode=mode), (3, 2, 64), every=True).upper
    assert most * (1 - 1e-12) <= upper**2 <= most * (1 + 1e-9)


@pytest.mark.parametrize("pad", [(1, 1, 2, 2), (1, 1, 2, 2, 1, 1)])
def test_borders_of_several_axes_multiply(pad: tuple[int, ...]) -> None:
    shape = (2, 3, 8, 6) if len(pad) == 4 else (2, 1, 8, 5, 6)
    square = 3 * 5 * (3 if len(pad) == 6 else 1)
    upper = bounded(lambda x: functional.pad(x, pad, mode="replicate"), shape).upper
    assert square * (1 - 1e-12) <= upper**2 <= square * (1 + 1e-9)


@pytest.mark.parametrize("half", [lambda x: x[:, :], lambda x: x.clone(), lambda x: x.contiguous()])
def test_what_leaves_an_image_as_it_is_keeps_a_mixture_averaged(
    half: Callable[[Tensor], Tensor],
) -> None:
    found = bounded(lambda x: 0.75 * half(x) + 0.25 * torch.relu(x).flip(1), _IMAGE)
    assert found.upper == pytest.approx(1)
    assert found.averagedness == pytest.approx(0.25)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "product": (lambda x: x * x.flip(1), "multiplies tensors that depend on the input"),
    "unknown factor": (lambda x: x * x.shape[2], "has a factor that is not known: it depends on a size"),
    "infinite factor": (lambda x: x * math.inf, "has a factor that is no finite number"),
    "infinite factors": (
        lambda x: x * torch.tensor([1.0, 0.0, 1.0, 1.0])[:, None, None].log(),
        "has a factor with entries that are not finite real numbers",
    ),
    "divisor": (lambda x: x / (x + 1), "has a divisor that depends on the input"),
    "divisor zero": (
        lambda x: x / torch.tensor([1.0, 0.0, 2.0, 3.0])[:, None, None],
        "divides by zero, or by a tensor with entries of both signs",
    ),
    "divisor not above zero": (
        lambda x: x / -torch.tensor([1.0, 0.0, 2.0, 3.0])[:, None, None],
        "divides by zero, or by a tensor with entries of both signs",
    ),
    "divisor of both signs": (
        lambda x: x / torch.tensor([1.0, -1.0, 2.0, 3.0])[:, None, None],
        "divides by zero, or by a tensor with entries of both signs",
    ),
    "softsign of another": (lambda x: x / (x.flip(1).abs() + 1), "has a divisor that depends on the input"),
    "softsign below zero": (lambda x: x / (x.abs() - 0.5), "has a divisor that depends on the input"),
    "bounds": (lambda x: x.clamp(x.flip(1), None), "has an argument 'min' that depends on the input"),
    "mask": (lambda x: torch.where(x > 0, x, 0.0), "jumps, so it has no finite constant"),
    "whole numbers": (lambda x: x.long().float(), "converts to torch.int64, which jumps"),
    "complex slope": (
        lambda x: torch.tanh(torch.fft.fft(x, dim=1, norm="ortho")).real,
        "acts on complex numbers, for which its slopes are not known",
    ),
    "elu": (lambda x: torch.ops.aten.elu(x, 1.0, 1.0, -1.0), "has an input_scale below 0"),
    "celu": (lambda x: torch.ops.aten.celu(x, -1.0), "has alpha=-1.0 <= 0"),
    "softplus": (lambda x: functional.softplus(x, 1.0, 2.0), "has beta=1.0, threshold=2.0"),
    "softshrink": (lambda x: torch.ops.aten.hardshrink(x, 0.5), "hardshrink"),
    "copies by a size": (
        lambda x: x[:, :, :1].expand(-1, -1, x.shape[3], -1),
        "combines tensors of shapes .* once for every pixel or image",
    ),
    "cropped": (lambda x: functional.pad(x, (-1, 0, 0, 0), mode="reflect"), "crops, or pads by a side"),
    "random": (lambda x: functional.dropout(x, 0.5, True), "drops entries at random: call eval"),
    "places from the end": (
        lambda x: x[:, :, torch.tensor([-1])],
        "counts places from the end of a side of unknown length",
    ),
    "indices": (lambda x: x.max(1)[1].float(), "jumps"),
    "fill": (
        lambda x: torch.ops.aten.fill.Tensor(x, x.mean()),
        "fills with a number that depends on the input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_finite_constant_is_refused_with_its_reason(name: str) -> None:
    formula, reason = REFUSED[name]
    with pytest.raises(Refusal, match=reason):
        bounded(formula, (3, 4, 64, 96), every=True)
