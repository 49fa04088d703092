"""Bounds of operators with weights, and of sums, are the norms of their matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bounded_formulas import GAP, bounded, held
from torch import Tensor
from torch.nn import functional

from pnp_lip import Refusal
from pnp_lip.norms import convolution_norm, padding_factor

_VECTOR, _LINE, _IMAGE = (2, 6), (2, 4, 9), (2, 4, 8, 6)


def _matrix_norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix.double(), 2).max())


def _norm(weight: Tensor, **given: Any) -> float:
    return convolution_norm(weight, gap=GAP, **given).lower


#: A formula, a shape, constants, and the norm.
MATRICES: dict[str, tuple[Callable[..., Any], tuple[int, ...], list[Tensor], float]] = {
    "dense layer": (functional.linear, _VECTOR, [held(3, 6), held(3)], _matrix_norm(held(3, 6))),
    "dense layer of images": (functional.linear, _IMAGE, [held(5, 6)], _matrix_norm(held(5, 6))),
    "from the left": (lambda x, a: a @ x, _IMAGE, [held(3, 8)], _matrix_norm(held(3, 8))),
    "from the right": (lambda x, a: x @ a, _IMAGE, [held(6, 5)], _matrix_norm(held(6, 5))),
    "with a shift": (
        lambda x, a, b: torch.addmm(b, x, a),
        _VECTOR,
        [held(6, 5), held(5)],
        _matrix_norm(held(6, 5)),
    ),
    "one for each channel": (lambda x, a: a @ x, _IMAGE, [held(4, 3, 8)], _matrix_norm(held(4, 3, 8))),
    "one for all of a stack": (lambda x, a: a @ x, _IMAGE, [held(1, 3, 8)], _matrix_norm(held(1, 3, 8))),
    "a vector": (lambda x, a: x @ a, _IMAGE, [held(6)], float(held(6).norm())),
    "a batch": (lambda x, a: torch.bmm(x, a), (2, 4, 9), [held(2, 9, 3)], _matrix_norm(held(2, 9, 3))),
    "summed over channels": (
        lambda x, a: torch.einsum("bchw,dc->bdhw", x, a),
        _IMAGE,
        [held(3, 4)],
        _matrix_norm(held(3, 4)),
    ),
    "for every row": (
        lambda x, a: torch.einsum("dhc, bchw -> bdhw", a, x),
        _IMAGE,
        [held(3, 8, 4)],
        _matrix_norm(held(3, 8, 4).permute(1, 0, 2)),
    ),
    "a factor for every channel": (
        lambda x, a: torch.einsum("bchw,c->bcwh", x, a),
        _IMAGE,
        [held(4)],
        float(held(4).abs().max()),
    ),
    "another order": (lambda x: torch.einsum("bchw->bwhc", x), _IMAGE, [], 1.0),
    "convolution": (
        lambda x, a: functional.conv2d(x, a, padding=1),
        _IMAGE,
        [held(3, 4, 3, 3)],
        _norm(held(3, 4, 3, 3)),
    ),
    "convolution in groups": (
        lambda x, a, b: functional.conv2d(x, a, b, groups=2),
        _IMAGE,
        [held(6, 2, 3, 3), held(6)],
        _norm(held(6, 2, 3, 3), groups=2),
    ),
    "convolution with a stride": (
        lambda x, a: functional.conv1d(x, a, stride=2, dilation=2, padding=1),
        _LINE,
        [held(3, 4, 3)],
        _norm(held(3, 4, 3), stride=2, dilation=2),
    ),
    "convolution to the same side": (
        lambda x, a: functional.conv2d(x, a, padding="same"),
        _IMAGE,
        [held(3, 4, 3, 3)],
        _norm(held(3, 4, 3, 3)),
    ),
    "transposed convolution": (
        lambda x, a: functional.conv_transpose2d(x, a, stride=2, padding=1),
        _IMAGE,
        [held(4, 3, 3, 3)],
        _norm(held(4, 3, 3, 3), stride=2, transposed=True),
    ),
    "convolution with a border of mirrored pixels": (
        lambda x, a: functional.conv2d(functional.pad(x, (1, 1, 2, 2), mode="reflect"), a),
        _IMAGE,
        [held(3, 4, 5, 3)],
        _norm(held(3, 4, 5, 3)) * padding_factor("reflect", (5, 3), (2, 1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_the_bound_of_a_matrix_is_its_norm(name: str) -> None:
    formula, shape, constants, norm = MATRICES[name]
    upper = bounded(formula, shape, *constants).upper
    assert norm * (1 - 1e-9) <= upper <= norm * (1 + 2 * GAP)


_VARIANCE, _GAIN = held(4).abs() + 0.1, held(4)
_SLOPES = _GAIN.double() / (_VARIANCE.double() + 1e-3).sqrt()

#: A formula, a shape, and the bound.
REDUCED: dict[str, tuple[Callable[..., Any], tuple[int, ...], float]] = {
    "sum": (lambda x: x.sum(), _IMAGE, math.sqrt(2 * 4 * 8 * 6)),
    "sum of rows": (lambda x: x.sum((1, 3)), _IMAGE, math.sqrt(24)),
    "sum of a side": (lambda x: x.sum(2, keepdim=True), _IMAGE, math.sqrt(8)),
    "mean": (lambda x: x.mean(), _IMAGE, 1 / math.sqrt(2 * 4 * 8 * 6)),
    "mean of rows": (lambda x: x.mean((1, 3)), _IMAGE, 1 / math.sqrt(24)),
    "softmax": (lambda x: x.softmax(1), _IMAGE, 0.5),
    "norm": (lambda x: torch.linalg.vector_norm(x, dim=1), _IMAGE, 1.0),
    "largest size": (lambda x: torch.linalg.vector_norm(x, math.inf, dim=1), _IMAGE, 1.0),
    "normalised": (
        lambda x: functional.batch_norm(x, torch.zeros(4), _VARIANCE, _GAIN, None, eps=1e-3),
        _IMAGE,
        float(_SLOPES.abs().max()),
    ),
    "normalised without a scale": (
        lambda x: functional.batch_norm(x, torch.zeros(4), _VARIANCE, eps=1e-3),
        _IMAGE,
        float((1 / (_VARIANCE.double() + 1e-3).sqrt()).max()),
    ),
    # A slope from the least to the largest: half their distance from the middle.
    "normalised, less the image": (
        lambda x: functional.batch_norm(x, torch.zeros(4), _VARIANCE, _GAIN, None, eps=1e-3) - x,
        _IMAGE,
        float((_SLOPES - 1).abs().max()),
    ),
    "frequencies": (lambda x: torch.fft.fft2(x), _IMAGE, math.sqrt(48)),
    "images of frequencies": (
        lambda x: torch.fft.ifft(torch.fft.fft(x, dim=2, norm="ortho"), dim=2),
        _IMAGE,
        1 / math.sqrt(8),
    ),
    "unitary": (lambda x: torch.fft.fftn(x, dim=(1, 2), norm="ortho"), _IMAGE, 1.0),
    "half of the frequencies": (lambda x: torch.fft.rfft2(x), _IMAGE, math.sqrt(48)),
    "back from half of them": (
        lambda x: torch.fft.irfft(torch.fft.rfft(x, norm="ortho"), n=8, norm="ortho"),
        _IMAGE,
        math.sqrt(2),
    ),
    "of a cut": (lambda x: torch.fft.rfft(x, n=3, dim=3), _IMAGE, math.sqrt(3)),
    "scaled": (lambda x: torch.fft.fft(x, dim=3, norm="forward"), _IMAGE, 1 / math.sqrt(6)),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCED)
def test_the_bound_of_a_sum_is_the_root_of_the_number_of_its_terms(name: str) -> None:
    formula, shape, norm = REDUCED[name]
    upper = bounded(lambda x: _real(formula(x)), shape).upper
    assert norm * (1 - 1e-9) <= upper <= norm * (1 + 1e-9)


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


_CONV = (functional.conv2d, functional.conv_transpose2d, held(3, 4, 3, 3), _IMAGE)
#: An operator and its adjoint, a weight, a shape, and the arguments of both.
FLOWS: dict[str, tuple[Any, Any, Tensor, tuple[int, ...], dict[str, Any]]] = {
    "dense layer": (
        functional.linear,
        lambda z, w: functional.linear(z, w.T),
        held(3, 6),
        _VECTOR,
        {},
    ),
    "without a border": (*_CONV, {}),
    "with zeros around": (*_CONV, {"padding": 1}),
    "with other amounts": (*_CONV, {"padding": (1, 0)}),
    "in one list": (*_CONV, {"padding": [1]}),
    "dilated": (*_CONV, {"dilation": 2, "padding": (2, 1)}),
    "in groups": (
        functional.conv2d,
        functional.conv_transpose2d,
        held(6, 2, 3, 3),
        _IMAGE,
        {"groups": 2, "padding": 1},
    ),
    "on lines": (functional.conv1d, functional.conv_transpose1d, held(3, 4, 3), _LINE, {}),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_step_along_the_gradient_is_averaged_by_half_its_length(name: str) -> None:
    first, second, weight, shape, given = FLOWS[name]
    kept = {key: given[key] for key in ("dilation", "groups") if key in given}
    norm = _norm(weight, **kept) if kept or weight.ndim > 2 else _matrix_norm(weight)
    for share, upper in ((1.9, 1.0), (3.0, 2.0)):
        tau = share / norm**2

        def step(x: Tensor, w: Tensor, tau: float = tau) -> Tensor:
            return x - tau * second(torch.relu(first(x, w, **given)), w, **given)

        found = bounded(step, shape, weight)
        assert upper <= found.upper <= upper * (1 + 5 * GAP)
        if upper == 1:
            assert found.averagedness == pytest.approx(share / 2, rel=5 * GAP)


#: Steps that look like one along a gradient, and are none.
OTHER_STEPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "another weight": lambda x, v, w: functional.conv_transpose2d(
        torch.relu(functional.conv2d(x, v, padding=1)), w, padding=1
    ),
    "another dilation": lambda x, v, w: functional.conv_transpose2d(
        torch.relu(functional.conv2d(x, v, padding=1)), v, padding=2, dilation=2
    ),
    "no adjoint": lambda x, v, w: functional.conv2d(
        torch.relu(functional.conv2d(x, v, padding=1)), v.transpose(0, 1), padding=1
    ),
    "of another image": lambda x, v, w: functional.conv_transpose2d(
        torch.relu(functional.conv2d(x.flip(2), v, padding=1)), v, padding=1
    ),
}


@pytest.mark.parametrize("name", OTHER_STEPS)
def test_a_step_that_is_not_along_a_gradient_is_bounded_by_its_parts(name: str) -> None:
    first, second = held(3, 4, 3, 3), held(3, 4, 3, 3).flip(0)
    product = _norm(first) ** 2
    step = OTHER_STEPS[name]
    upper = bounded(lambda x, v, w: x - step(x, v, w) / product, _IMAGE, first, second).upper
    assert upper == pytest.approx(2, rel=5 * GAP)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "sum": (lambda x: x.sum(2), "sums over a side of unknown length: use the mean"),
    "other norm": (
        lambda x: torch.linalg.vector_norm(x, 1, dim=1),
        "is a norm of order 1: only 2 and inf have a rule",
    ),
    "frequencies": (lambda x: torch.fft.fft(x).real, "grows with the size of the image"),
    "statistics": (
        lambda x: functional.batch_norm(x, None, None, training=True),
        "normalises by the batch: call eval",
    ),
    "negative variance": (
        lambda x: functional.batch_norm(x, torch.zeros(4), -torch.ones(4)),
        "has a running variance that is not positive",
    ),
    "products": (
        lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
        "multiplies tensors that depend on the input, which has no finite constant",
    ),
    "several constants": (
        lambda x: torch.ops.aten.einsum(
            "bchw,c,h->bw", [x, torch.ones(4), torch.ones(64)]
        ),
        "multiplies with several constants: multiply them before",
    ),
    "no arrow": (lambda x: torch.ops.aten.einsum("bchw", [x]), "has the equation 'bchw': expected"),
    "a sum of one": (
        lambda x: torch.einsum("bchw,c->bch", x, torch.ones(4)),
        "sums over an axis of one tensor alone: sum it before",
    ),
    "a diagonal": (lambda x: torch.einsum("bccw->bcw", x[:, :, :4]), "one letter for every axis"),
    "a stack for one": (
        lambda x: x[:, :1] @ torch.ones(3, 6, 2),
        "multiplies with .3, 6, 2., which repeats a tensor of shape",
    ),
    "a weight from the image": (
        lambda x: functional.linear(x, x[0, 0, :1]),
        "has a weight that depends on the input, which has no finite constant",
    ),
    "an infinite weight": (
        lambda x: functional.linear(x, torch.full((2, 6), math.inf)),
        "has a weight with NaN or infinity",
    ),
    "a complex weight": (
        lambda x: torch.fft.fft(x, dim=1, norm="ortho") @ torch.ones(6, 2).to(torch.complex64),
        "has a weight that is no tensor of real numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_finite_constant_is_refused_with_its_reason(name: str) -> None:
    formula, reason = REFUSED[name]
    with pytest.raises(Refusal, match=reason):
        bounded(lambda x: _real(formula(x)), (3, 4, 64, 6), every=True)
