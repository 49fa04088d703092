"""Filters learned as compositions: the same convolution, the same gradient, inside the constraint."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pnp_lip.certifier import prove
from pnp_lip.constraints import FactoredFilters
from pnp_lip.layers import ConvGradientStep
from pnp_lip.norms import grid_norm


def step(channels: int, size: int, count: int = 6) -> ConvGradientStep:
    return ConvGradientStep(torch.randn(count, channels, size, size) / 20, bias=False)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([1, 3]), st.sampled_from([3, 5, 7, 9]), st.integers(1, 5), st.integers(0, 99)
)
def test_the_kernel_is_the_composition_of_both_banks(
    channels: int, size: int, middle: int, seed: int
) -> None:
    layer = step(channels, size)
    pair = FactoredFilters(layer, middle, seed).pairs[0]
    x = torch.randn(2, channels, size + 6, size + 4)
    inner, outer = (bank.detach() for bank in pair.parameters())
    expected = functional.conv2d(functional.conv2d(x, inner), outer)
    torch.testing.assert_close(functional.conv2d(x, layer.weight.detach()), expected)


def test_gradients_of_the_factors_are_those_through_the_composition() -> None:
    layer = step(1, 5)
    factors = FactoredFilters(layer, 3)
    x = torch.randn(2, 1, 12, 12)
    layer(x).square().sum().backward()
    factors.pull_back()
    kernel = factors.pairs[0]()
    through = torch.func.functional_call(layer, {"weight": kernel}, (x,)).square().sum()
    expected = torch.autograd.grad(through, list(factors.parameters()))
    for parameter, gradient in zip(factors.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert layer.weight.grad is None


def test_the_start_has_about_the_norm_of_the_filters_it_replaces_and_no_mean() -> None:
    layer = step(1, 7)
    before = grid_norm(layer.weight.detach())
    FactoredFilters(layer, 4)
    torch.testing.assert_close(grid_norm(layer.weight.detach()), before)
    torch.testing.assert_close(
        layer.weight.detach().sum(dim=(2, 3)), torch.zeros(6, 1), atol=1e-6, rtol=0
    )


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([1, 3]),
    st.sampled_from([3, 5, 7]),
    st.integers(0, 99),
    st.sampled_from([(torch.float32, 1e-6, 1e-4), (torch.float64, 1e-12, 1e-9)]),
)
def test_kept_kernels_are_the_compositions_of_their_factors(
    channels: int, size: int, seed: int, precision: tuple[torch.dtype, float, float]
) -> None:
    dtype, atol, rtol = precision
    torch.manual_seed(seed)
    layer = step(channels, size).to(dtype)
    before = layer.weight.detach().clone()
    enough = -(-channels * size**2 // ((size + 1) // 2) ** 2) + 3
    factors = FactoredFilters(layer, enough, seed, keep=True)
    torch.testing.assert_close(layer.weight.detach(), before, atol=atol, rtol=rtol)
    torch.testing.assert_close(factors.pairs[0]().detach(), before, atol=atol, rtol=rtol)


def test_a_layer_of_zero_filters_is_refused() -> None:
    layer = step(1, 3)
    nn.init.zeros_(layer.weight)
    with pytest.raises(ValueError, match="filters are all zero has no factors"):
        FactoredFilters(layer, 2)


def test_kernels_that_are_no_composition_are_not_kept() -> None:
    with pytest.raises(
        ValueError, match="2 channels between cannot keep these filters of 1 x 7 x 7"
    ):
        FactoredFilters(step(1, 7), 2, keep=True)


def test_large_steps_stay_proved_averaged_and_kernels_follow_their_factors() -> None:
    layers = [step(1, 5), step(1, 5)]
    model = nn.Sequential(*layers)
    factors = FactoredFilters(model, 3)
    optimizer = torch.optim.SGD(factors.parameters(), lr=10.0)
    handle = factors.hold(optimizer, averagedness=0.9)
    for _ in range(5):
        model(torch.randn(1, 1, 16, 16)).square().mean().backward()
        factors.pull_back()
        optimizer.step()
        for layer, pair in zip(layers, factors.pairs, strict=True):
            torch.testing.assert_close(pair().detach(), layer.weight.detach())
            proved = prove(layer, gap=1e-6).averagedness
            assert proved is not None
            assert proved <= 0.9 * (1 + 1e-5)
    handle.remove()
    kept = layers[0].weight.detach().clone()
    model(torch.randn(1, 1, 16, 16)).sum().backward()
    factors.pull_back()
    optimizer.step()
    assert torch.equal(layers[0].weight, kept)


def test_factors_need_a_channel_between_them() -> None:
    with pytest.raises(ValueError, match="at least 1 channel between, got 0"):
        FactoredFilters(step(1, 3), 0)
