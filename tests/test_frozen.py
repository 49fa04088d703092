"""A frozen denoiser is the denoiser at one noise level, to rounding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pnp_lip import Frozen, LipschitzDenoiser, Refusal, Tiled
from pnp_lip.certifier import prove
from pnp_lip.layers import Activation, Clip, ConvGradientStep, NoiseClip, ReLU
from pnp_lip.layers.cache_blocking import Transposition, by_strips, channels_last
from pnp_lip.layers.folding import FoldedStep, fold_step


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step(channels: int, activation: nn.Module, *, bias: bool = False) -> ConvGradientStep:
    weight = noise(6, channels, 3, 3) / 10
    layer = ConvGradientStep(weight, activation, tau=1.3, bias=bias).double()  # type: ignore[arg-type]
    if layer.bias is not None:
        layer.bias.data = noise(6, seed=3) / 10
    return layer.requires_grad_(False)


def three_clips() -> NoiseClip:
    """Thresholds in no order, some of them negative or zero, and unequal shares."""
    activation = NoiseClip(6, (0.1, 0.2, 0.4), (1.0, 0.5, 2.0)).double()
    activation.factors.data = noise(3, 3, 6, seed=1)
    activation.factors.data[:, :, 2] = 0
    activation.logits.data = noise(3, 6, seed=2)
    return activation


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    batch=st.integers(1, 2),
    channels=st.sampled_from([1, 3, 5]),
    size=st.sampled_from([1, 3, 5]),
    bytes_of_a_strip=st.sampled_from([1, 5000, 10**9]),
)
@settings(max_examples=60, deadline=None)
def test_strips_compute_the_two_convolutions(
    height: int, width: int, batch: int, channels: int, size: int, bytes_of_a_strip: int
) -> None:
    x, weight = noise(batch, channels, height, width), noise(4, channels, size, size)
    second, bias = noise(4, channels, size, size, seed=5), noise(4, seed=6)
    got = by_strips(
        x,
        channels_last(weight),
        bias,
        lambda responses, _: torch.tanh(responses),
        Transposition(second),
        strip_bytes=bytes_of_a_strip,
    )
    responses = torch.tanh(nn.functional.conv2d(x, weight, bias, padding=size // 2))
    expected = nn.functional.conv_transpose2d(responses, second, padding=size // 2)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.15, 1.0])
@pytest.mark.parametrize(
    "activation",
    [ReLU(), Clip(6, 0.1), NoiseClip(6, (0.1, 0.2), (0.7, 0.2)), three_clips()],
    ids=["ReLU", "Clip", "two clips", "three clips"],
)
def test_a_folded_step_is_the_step(channels: int, sigma: float, activation: nn.Module) -> None:
    layer = step(channels, activation, bias=True)
    folded = fold_step(layer, sigma, torch.float64)
    assert isinstance(folded, FoldedStep)
    x = noise(2, channels, 11, 14)
    levels = torch.full((2,), sigma, dtype=torch.float64)
    torch.testing.assert_close(folded(x), layer(x, levels), rtol=0, atol=1e-12)


class Tanh(Activation):
    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        return t.tanh()


class Halving(nn.Module):
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / 2


@pytest.mark.parametrize(
    "layer",
    [Halving(), step(1, Tanh()).float()],
    ids=["no gradient step", "another activation"],
)
def test_a_layer_that_cannot_be_folded_is_kept(layer: nn.Module) -> None:
    network = LipschitzDenoiser(1, depth=2, nf=6, kernel_size=3, pretrained=None)
    network.layers[1] = layer
    frozen = Frozen(network, 0.1)
    assert len(frozen.folded()) == 1
    x = noise(1, 1, 20, 20).float()
    torch.testing.assert_close(frozen(x), network(x, 0.1), rtol=0, atol=1e-6)


def test_freezing_leaves_the_denoiser_trainable() -> None:
    network = LipschitzDenoiser(1, depth=1, nf=6, kernel_size=3, pretrained=None).train()
    Frozen(network, 0.1)
    assert network.training
    assert any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_shipped_networks_frozen_are_themselves(channels: int) -> None:
    network = LipschitzDenoiser(channels)
    x = noise(1, channels, 37, 50).float() / 10 + 0.5
    for sigma in (0.0, 0.1):
        torch.testing.assert_close(
            Frozen(network, sigma)(x, sigma), network(x, sigma), rtol=0, atol=3e-6
        )


def test_bfloat16_is_near(small_denoiser: LipschitzDenoiser) -> None:
    x = noise(1, 1, 30, 30).float() / 10 + 0.5
    exact = small_denoiser(x, 0.1)
    rough = Frozen(small_denoiser, 0.1, dtype=torch.bfloat16)(x)
    assert rough.dtype == torch.float32
    assert 0 < float((rough - exact).abs().max()) < 1e-2


def test_another_noise_level_is_refused(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    frozen = Frozen(small_denoiser, 0.1)
    assert torch.equal(frozen(image), frozen(image, torch.tensor([0.1])))
    with pytest.raises(ValueError, match=r"frozen at sigma=0.1, got sigma=0.2"):
        frozen(image, 0.2)
    with pytest.raises(ValueError, match=r"takes images \[B, 1, H, W\]"):
        frozen(image[0])
    with pytest.raises(TypeError, match="expected a LipschitzDenoiser, got Conv2d"):
        Frozen(nn.Conv2d(1, 1, 3), 0.1)  # type: ignore[arg-type]


def test_the_certificate_of_the_denoiser_covers_the_frozen_one_until_weights_differ(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    frozen = Frozen(small_denoiser, 0.1)
    statement = prove(frozen)
    assert statement.upper == prove(small_denoiser).upper == 1.0
    assert statement.averagedness == prove(small_denoiser).averagedness
    assert statement.execution is None
    torch.testing.assert_close(Tiled(frozen, 16)(image, 0.1), frozen(image), rtol=0, atol=1e-6)
    assert prove(Tiled(frozen, 16)).upper == 1.0
    frozen.folded()[0].kernel *= 1.5  # type: ignore[operator, assignment]
    with pytest.raises(Refusal, match="is not what its denoiser folds to"):
        prove(frozen)
