"""Shared pieces of the tests: small networks and images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.photographs import photograph


@pytest.fixture
def small_denoiser() -> LipschitzDenoiser:
    """A grey denoiser of two small layers whose bound is strict."""
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    for parameter in denoiser.parameters():
        parameter.requires_grad_(False)
    return denoiser.eval()


@pytest.fixture
def image() -> Tensor:
    """A part of a photograph, ``[1, 1, 40, 48]``."""
    return photograph("camera")[..., 60:100, 90:138].contiguous()
