"""Stacks of matrices, Fourier transforms, complex numbers and quotients against dense Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, prove
from pnp_lip.certifier.calls import likely_shapes

_EXAMPLE = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))


class Formula(nn.Module):
    """A function of images with constants ``a`` and ``b``."""

    def __init__(self, formula: Callable[..., Tensor], *constants: Tensor) -> None:
        super().__init__()
        self.formula = formula
        for name, value in zip("ab", constants, strict=False):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, *self._buffers.values())


def _norm(network: nn.Module, x: Tensor) -> float:
    jacobian = torch.autograd.functional.jacobian(network.double(), x.double())
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), 2))


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


def _phases(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``F^-1 diag F`` with complex factors of the two channels."""
    return torch.fft.ifft2(torch.fft.fft2(x, norm="ortho") * torch.complex(a, b), norm="ortho").real


def _half(x: Tensor, a: Tensor) -> Tensor:
    return torch.fft.irfft2(a * torch.fft.rfft2(x, norm="ortho"), s=x.shape[-2:], norm="ortho")


def _adjoint(x: Tensor, a: Tensor) -> Tensor:
    """What autograd runs for a convolution from 3 to 2 channels."""
    sizes = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, False, False])
    wide = torch.zeros_like(x)[:, :1].repeat(1, 3, 1, 1)
    wide = torch.nn.functional.pad(wide, (0, 1, 0, 1))
    found: Tensor = torch.ops.aten.convolution_backward(x, wide, a, None, *sizes)[0]
    return found


#: With how far the bound may be above the norm of the Jacobian.
CASES: dict[str, tuple[Formula, float]] = {
    "stack to the right": (Formula(lambda x, a: x @ a, _random(2, 4, 5)), 1.002),
    "stack to the left": (Formula(lambda x, a: a @ x, _random(2, 5, 3)), 1.002),
    "one matrix of a stack": (Formula(lambda x, a: x @ a, _random(1, 4, 2)), 1.002),
    "vector": (Formula(lambda x, a: x @ a, _random(4)), 1.002),
    "batches": (Formula(lambda x, a: torch.bmm(x[0], a)[None], _random(2, 4, 3)), 1.002),
    "phases": (Formula(_phases, _random(2, 1, 1), _random(3, 1, 1)[:2]), 10.0),
    "half of the frequencies": (Formula(_half, _random(1)), 1.5),
    "over channels": (
        Formula(lambda x, a: torch.view_as_real(torch.fft.fft(a * x, dim=1)), torch.ones(2, 1, 1)),
        1.002,
    ),
    "back over channels": (
        Formula(
            lambda x, a: torch.fft.ifft(a * x, dim=1, norm="forward").real, torch.ones(2, 1, 1)
        ),
        1.002,
    ),
    "scaled over channels": (
        Formula(lambda x, a: torch.fft.fft(a * x, dim=1, norm="forward").real, torch.ones(2, 1, 1)),
        1.002,
    ),
    "adjoint of a convolution": (Formula(_adjoint, _random(2, 3, 2, 2)), 1.5),
    "softsign": (Formula(lambda x: x / (x.abs() + 0.5)), 1000.0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bound_is_not_below_the_norm_of_the_jacobian(name: str) -> None:
    network, excess = CASES[name]
    upper = prove(network, example=_EXAMPLE).upper
    x = _EXAMPLE / 1000 if name == "softsign" else _EXAMPLE
    truth = _norm(network, x)
    assert truth <= upper * (1 + 1e-6)
    assert upper <= excess * truth


def test_softsign_attains_its_slope_at_zero() -> None:
    assert prove(CASES["softsign"][0], example=_EXAMPLE).upper == 2.0


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "grows": (lambda x: torch.fft.fft2(x).real, "transform with norm='ortho'"),
    "grows backwards": (lambda x: torch.fft.ifft2(x, norm="forward").real, "norm='ortho'"),
    "complex slope": (
        lambda x: torch.tanh(torch.fft.fft2(x, norm="ortho")).real,
        "complex numbers",
    ),
    "quotient": (lambda x: x / (x.flip(1).abs() + 1), "a divisor that depends on the input"),
    "quotient by zero": (lambda x: x / (x.abs() - 1), "a divisor that depends on the input"),
    "repeated for a stack": (lambda x: x[:, :1] @ torch.ones(3, 4, 4), "repeats a tensor"),
    "derivative": (
        lambda x: torch.ops.aten.elu_backward(x, 1.0, 1.0, 1.0, False, x.flip(1)),
        r"elu_backward.* is a derivative taken inside forward",
    ),
    "product": (lambda x: x @ x.transpose(2, 3), "a weight that depends on the input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_finite_constant_is_refused_by_name(name: str) -> None:
    formula, reason = REFUSED[name]
    with pytest.raises(Refusal, match=reason):
        prove(Formula(formula), example=_EXAMPLE)


def test_no_execution_error_is_stated_after_bounds_that_exclude_zero() -> None:
    """``hardtanh`` to [1, 2] is larger than its input, so no error may be carried through it."""
    assert prove(nn.Sequential(nn.Linear(3, 3), nn.Hardtanh(-1.0, 2.0))).execution is not None
    assert prove(nn.Sequential(nn.Linear(3, 3), nn.Hardtanh(1.0, 2.0))).execution is None


def test_an_example_of_one_image_is_tried_with_several_first() -> None:
    assert likely_shapes(nn.ReLU(), (1, 2, 3, 4)) == [(3, 2, 3, 4), (1, 2, 3, 4)]
    assert likely_shapes(nn.ReLU(), (5, 2)) == [(5, 2)]


def test_a_network_that_works_in_place_where_gradients_forbid_it_is_bounded() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            for part in x.unbind(1):
                part.mul_(3)
            return x

    assert 3.0 <= prove(Views(), example=_EXAMPLE).upper <= 11.0
