"""``padding_factor`` against dense operators with torch's own padding, on one axis and on two."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from norm_oracles import dense_norm, padded_convolution
from torch import Tensor

from pnp_lip.norms import convolution_norm, padding_factor

SETTINGS = settings(max_examples=120, deadline=None, derandomize=True)


@SETTINGS
@given(
    st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 8),
    st.booleans(),
    st.integers(0, 999),
)
def test_the_factor_times_the_norm_bounds_the_operator(
    mode: str, k: int, p: int, stride: int, dilation: int, n: int, shift: bool, seed: int
) -> None:
    smallest = {"zeros": 1, "circular": p, "reflect": p + 1, "replicate": 1}[mode]
    if n < smallest or n + 2 * p < dilation * (k - 1) + 1:
        return
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 1, k, dtype=torch.float64, generator=generator)
    if shift:  # the kernels that attain the factors read one sample
        weight = F.one_hot(torch.tensor(seed % k), k).double().view(1, 1, k)
    bound = convolution_norm(weight, stride=stride, dilation=dilation, gap=1e-6)
    operator = padded_convolution(weight, p, mode, stride=stride, dilation=dilation)
    value = dense_norm(operator, (1, n))
    for factor in (
        padding_factor(mode, (k,), p, dilation, stride=stride),
        padding_factor(mode, (k,), p, dilation, stride=stride, size=(n,)),
    ):
        assert value <= factor * bound.upper


def test_two_axes_multiply_and_large_images_cost_less() -> None:
    assert padding_factor("reflect", (3, 3), 1, size=(32, 32)) == pytest.approx(2.0)
    assert padding_factor("reflect", (3, 3), 1) == pytest.approx(3.0)
    assert padding_factor("reflect", (3, 1), (1, 0), size=(4, 4)) == pytest.approx(math.sqrt(2))
    assert padding_factor("replicate", (5, 5), 2, size=(9, 9)) == pytest.approx(3.0)
    assert padding_factor("replicate", (5, 5), 2) == pytest.approx(5.0)
    assert padding_factor("zeros", (3, 3), 9) == 1.0
    assert padding_factor("circular", (3, 3), 1) == 1.0
    assert padding_factor("reflect", (3, 3), "valid") == 1.0


def test_torch_pads_an_even_kernel_by_one_more_sample_after() -> None:
    weight = torch.tensor([[[0.0, 1.0]]], dtype=torch.float64)
    layer = torch.nn.Conv1d(1, 1, 2, padding="same", padding_mode="replicate", bias=False).double()
    layer.weight.data = weight
    value = dense_norm(lambda x: layer(x).detach(), (1, 4))
    assert value == pytest.approx(padding_factor("replicate", (2,), "same", size=(4,)))


@pytest.mark.parametrize(
    ("mode", "row", "ratio"),
    [("reflect", [0.5, 0.0, 0.5], 1.333), ("reflect", [1.0, 1.0, 1.0], 1.05)],
)
def test_reflect_padding_exceeds_the_symbol_and_stays_below_its_factor(
    mode: str, row: list[float], ratio: float
) -> None:
    line = torch.tensor(row, dtype=torch.float64)
    weight = (line[:, None] * line)[None, None]
    bound = convolution_norm(weight, gap=1e-6)
    value = dense_norm(padded_convolution(weight, 1, mode), (1, 10, 10))
    assert value / bound.upper == pytest.approx(ratio, abs=2e-3)
    assert value <= bound.upper * padding_factor(mode, (3, 3), 1, size=(10, 10))


def test_reflect_and_replicate_attain_their_factors_with_a_shift() -> None:
    shift = F.one_hot(torch.tensor(0), 9).double().view(1, 1, 3, 3)
    for mode in ("reflect", "replicate"):
        value = dense_norm(padded_convolution(shift, 1, mode), (1, 6, 6))
        assert value == pytest.approx(padding_factor(mode, (3, 3), 1, size=(6, 6)))


def test_circular_padding_with_a_stride_that_does_not_divide_the_side_exceeds_the_symbol() -> None:
    weight = torch.ones(1, 1, 3, dtype=torch.float64)
    bound = convolution_norm(weight, stride=2)
    value = dense_norm(padded_convolution(weight, 1, "circular", stride=2), (1, 3))
    assert value > bound.upper
    assert value <= bound.upper * padding_factor("circular", (3,), 1, stride=2)
    assert padding_factor("circular", (3,), 1, stride=2, size=(4,)) == 1.0


def test_too_much_circular_padding_repeats_outputs() -> None:
    weight = torch.ones(1, 1, 1, dtype=torch.float64)
    value = dense_norm(padded_convolution(weight, 1, "circular"), (1, 5))
    assert value == pytest.approx(math.sqrt(2))
    assert padding_factor("circular", (1,), 1, size=(5,)) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("mirror", (3,), 1), "expected a mode among"),
        (("reflect", (3,), "full"), "expected padding as ints, 'same' or 'valid'"),
        (("reflect", (3,), (1, 1)), "expected 1 nonnegative paddings"),
        (("reflect", (3,), -1), "expected 1 nonnegative paddings"),
    ],
)
def test_unusable_arguments_are_refused(
    call: tuple[str, tuple[int, ...], int | str | tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        padding_factor(*call)


def test_a_side_that_torch_cannot_pad_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a side of at least 3 for reflect"):
        padding_factor("reflect", (3,), 2, size=(2,))
    with pytest.raises(ValueError, match="expected a size with 2 entries"):
        padding_factor("reflect", (3, 3), 1, size=(4,))


def _identity(images: Tensor) -> Tensor:
    return images


def test_the_dense_oracle_gives_one_for_the_identity() -> None:
    assert dense_norm(_identity, (2, 3)) == pytest.approx(1.0)
