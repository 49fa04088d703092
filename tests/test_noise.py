"""What is estimated of the noise of an image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_lip.data.photographs import photograph
from pnp_lip.errors import InputError
from pnp_lip.recipes.noise import estimated_noise


@given(st.integers(32, 96), st.integers(32, 96), st.floats(1e-3, 0.5), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_noise_on_nothing_else_is_estimated_at_every_size(
    height: int, width: int, sigma: float, channels: int
) -> None:
    generator = torch.Generator().manual_seed(height * width)
    y = 0.5 + sigma * torch.randn(1, channels, height, width, generator=generator)
    assert estimated_noise(y) == pytest.approx(sigma, rel=0.35)


def test_texture_counts_as_noise() -> None:
    x = photograph("camera", size=128)
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < estimated_noise(x) < 0.05
    assert 0.1 < estimated_noise(y) < 0.12


@pytest.mark.parametrize("y", [torch.full((1, 1, 32, 32), 0.5), torch.zeros(1, 3, 40, 40)])
def test_an_image_without_variation_has_no_estimate(y: torch.Tensor) -> None:
    with pytest.raises(InputError, match="cannot be estimated: state it"):
        estimated_noise(y)


def test_a_small_image_has_no_estimate() -> None:
    with pytest.raises(InputError, match="31 x 64 pixels cannot be estimated, it takes 32 a side"):
        estimated_noise(torch.rand(1, 1, 31, 64))
