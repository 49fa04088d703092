"""The layers' hypotheses hold, and their fast forms equal the definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jacrev

from pnp_lip.constraints import hold, project
from pnp_lip.layers import (
    Activation,
    Clip,
    ConvGradientStep,
    GradientStep,
    NoiseClip,
    ReLU,
)
from pnp_lip.layers.clipping import clip_mixture
from pnp_lip.layers.convolution import convolve, convolve_transpose
from pnp_lip.layers.filters import colour_dct_filters, dct_filters

SIGMA = torch.tensor([0.1])


def activations(channels: int) -> list[Activation]:
    torch.manual_seed(1)
    made: list[Activation] = [
        ReLU(),
        Clip(channels, 0.4),
        NoiseClip(channels, (0.01, 0.05, 0.2), (3.0, 0.7)),
    ]
    for activation in made:
        for parameter in activation.parameters():
            parameter.data += torch.randn(parameter.shape)
    return [activation.double() for activation in made]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_activation_difference_quotients_lie_between_zero_and_one(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = 2 * torch.randn(2, 1, 3, 40, generator=generator, dtype=torch.float64)
    for activation in activations(3):
        quotient = (activation(a, SIGMA.double()) - activation(b, SIGMA.double())) / (a - b)
        assert quotient.min() >= -1e-9, type(activation).__name__
        assert quotient.max() <= 1 + 1e-9, type(activation).__name__


def test_clip_mixture_has_the_derivative_of_its_definition() -> None:
    torch.manual_seed(0)
    t = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    thresholds = torch.rand(2, 2, 3, dtype=torch.float64, requires_grad=True)
    shares = torch.rand(2, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(clip_mixture, (t, thresholds, shares))
    plain = sum(
        share[..., None] * torch.clamp(t, -threshold[..., None], threshold[..., None])
        for threshold, share in zip(thresholds, shares, strict=True)
    )
    assert torch.allclose(clip_mixture(t, thresholds, shares), plain)


def test_noise_clip_vanishes_without_noise_and_scales_with_it() -> None:
    clip = NoiseClip(4, (0.05, 0.1), (1.0, 0.3))
    t = torch.randn(2, 4, 3, 3)
    assert clip(t, torch.zeros(2)).abs().max() == 0
    strong, twice = torch.full((2,), 0.3), torch.full((2,), 0.6)
    assert torch.allclose(clip(2 * t, twice), 2 * clip(t, strong))


def test_noise_clip_without_a_noise_level_says_so() -> None:
    with pytest.raises(TypeError, match="call the layer with sigma"):
        NoiseClip(1, (0.1, 0.2))(torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NoiseClip(1, (0.2, 0.1)), "increasing"),
        (lambda: GradientStep(2, 2, tau=-1.0), "tau"),
        (lambda: GradientStep(2, 2, tau=float("nan")), "tau"),
        (lambda: ConvGradientStep(torch.zeros(2, 1, 4, 4)), "odd k"),
        (lambda: dct_filters(3, 9), "8 zero-mean filters"),
    ],
)
def test_impossible_sizes_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 5),
    filters=st.integers(1, 6),
    size=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_transpose_is_the_adjoint_for_every_size(
    channels: int, filters: int, size: int, height: int, width: int
) -> None:
    weight = torch.randn(filters, channels, size, size, dtype=torch.float64)
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    z = torch.randn(2, filters, height, width, dtype=torch.float64)
    left = (convolve(x, weight) * z).sum()
    right = (x * convolve_transpose(z, weight)).sum()
    assert torch.allclose(left, right)


def test_convolution_pair_has_first_and_second_derivatives() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    z = torch.randn(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    for function, argument in ((convolve, x), (convolve_transpose, z)):
        assert torch.autograd.gradcheck(function, (argument, weight))
        assert torch.autograd.gradgradcheck(function, (argument, weight))


@pytest.mark.parametrize("activation", activations(6), ids=lambda a: type(a).__name__)
def test_dense_gradient_step_jacobian_has_its_spectrum_in_the_stated_interval(
    activation: Activation,
) -> None:
    torch.manual_seed(0)
    step = GradientStep(5, 6, activation, tau=1.5).double()
    step.weight.data *= 0.9
    x = torch.randn(5, dtype=torch.float64)
    jacobian = jacrev(lambda v: step(v[None], SIGMA.double())[0])(x)
    assert torch.allclose(jacobian, jacobian.T, atol=1e-10)
    eigenvalues = torch.linalg.eigvalsh(jacobian)
    norm = torch.linalg.matrix_norm(step.weight, 2)
    assert eigenvalues.min() >= 1 - step.tau * norm**2 - 1e-9
    assert eigenvalues.max() <= 1 + 1e-9


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_projected_convolutional_step_is_nonexpansive_for_every_size(
    height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    step = ConvGradientStep(torch.randn(4, 1, 3, 3), Clip(4, 0.3), tau=1.7).double()
    project(step)
    x, y = torch.randn(2, 1, 1, height, width, dtype=torch.float64)
    gain = torch.linalg.vector_norm(step(x) - step(y)) / torch.linalg.vector_norm(x - y)
    assert gain <= 1 + 1e-9


def test_unprojected_step_violates_the_bound() -> None:
    step = ConvGradientStep(4 * torch.ones(1, 1, 3, 3), Clip(1, 1e9), bias=False)
    x = torch.ones(1, 1, 9, 9)
    assert torch.linalg.vector_norm(step(x)) > 100 * torch.linalg.vector_norm(x)


def test_dct_frame_soft_shrinkage_is_the_first_gradient_step() -> None:
    weight = dct_filters(5).double()
    step = ConvGradientStep(weight, Clip(24, 0.05), bias=False).double()
    x = torch.zeros(1, 1, 30, 30, dtype=torch.float64)
    x[..., 10:20, 10:20] = torch.rand(10, 10, dtype=torch.float64)
    mean = torch.full((1, 1, 5, 5), 1 / 25, dtype=torch.float64)
    smooth = torch.nn.functional.conv2d(x, mean, padding=4)
    smooth = torch.nn.functional.conv2d(smooth, mean)
    response = convolve(x, weight)
    shrunk = response.sign() * (response.abs() - 0.05).clamp(min=0)
    assert torch.allclose(step(x), smooth + convolve_transpose(shrunk, weight), atol=1e-6)


@pytest.mark.parametrize("filters", [dct_filters(7), dct_filters(3, 5), colour_dct_filters(5, 72)])
def test_initial_filters_are_nonexpansive(filters: Tensor) -> None:
    symbols = torch.fft.fft2(filters.double(), s=(64, 64)).permute(2, 3, 0, 1)
    assert torch.linalg.matrix_norm(symbols, 2).max() <= 1 + 1e-6


def test_the_constraint_holds_after_every_optimiser_step() -> None:
    torch.manual_seed(0)
    network = torch.nn.ModuleList(
        [GradientStep(6, 9, tau=2.0), ConvGradientStep(torch.randn(4, 2, 3, 3), tau=0.7)]
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=10.0)
    hold(network, optimizer, averagedness=0.8)
    dense, convolutional = network
    assert isinstance(dense, GradientStep)
    assert isinstance(convolutional, ConvGradientStep)
    for _ in range(5):
        optimizer.zero_grad()
        loss = dense(torch.randn(3, 6)).square().sum()
        (-(loss + convolutional(torch.randn(1, 2, 8, 8)).square().sum())).backward()
        optimizer.step()
        exact = torch.linalg.matrix_norm(dense.weight.double(), 2)
        symbols = torch.fft.fft2(convolutional.weight.double(), s=(96, 96)).permute(2, 3, 0, 1)
        assert dense.tau * exact**2 <= 1.6
        assert convolutional.tau * torch.linalg.matrix_norm(symbols, 2).max() ** 2 <= 1.6


def test_removing_the_hold_ends_the_constraint() -> None:
    step = GradientStep(2, 2)
    optimizer = torch.optim.SGD(step.parameters(), lr=1.0)
    hold(step, optimizer).remove()
    step.weight.grad = -100 * torch.ones(2, 2)
    optimizer.step()
    assert torch.linalg.matrix_norm(step.weight, 2) > 50


def test_an_impossible_averagedness_is_refused() -> None:
    with pytest.raises(ValueError, match=r"averagedness must lie in \(0, 1\]"):
        project(GradientStep(2, 2), averagedness=1.5)
