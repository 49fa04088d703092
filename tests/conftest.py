"""Shared pieces of the tests: small networks and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.images import write_image
from pnp_lip.data.photographs import photograph
from pnp_lip.training import TrainingConfig
from pnp_lip.weights import write_weights


@pytest.fixture(autouse=True)
def same_draws_every_time() -> None:
    """Every test draws the same numbers, alone and among others."""
    torch.manual_seed(0)


@pytest.fixture
def small_denoiser() -> LipschitzDenoiser:
    """A grey denoiser of two small layers whose bound is strict."""
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    for parameter in denoiser.parameters():
        parameter.requires_grad_(False)
    return denoiser.eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a small photograph in 8 and 16 bits, and a kernel."""
    monkeypatch.chdir(tmp_path)
    image = photograph("camera")[..., 60:100, 90:138]
    write_image("image.png", image)
    write_image("deep.png", image, np.uint16)
    write_image("colour.tiff", photograph("astronaut")[..., 40:80, 90:130], np.uint8)
    write_image("kernel.png", torch.ones(1, 1, 3, 3))
    mask = torch.ones(1, 1, 40, 48)
    mask[..., 10:14, 10:30] = 0
    write_image("mask.png", mask)
    torch.manual_seed(0)
    for channels, name in ((1, "grey"), (3, "colour")):
        small = LipschitzDenoiser(channels, depth=1, nf=4, kernel_size=3, pretrained=None)
        write_weights(small, f"{name}.safetensors")
    return tmp_path


@pytest.fixture
def image() -> Tensor:
    """A part of a photograph, ``[1, 1, 40, 48]``."""
    return photograph("camera")[..., 60:100, 90:138].contiguous()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingConfig:
    """A tiny training run on two photographs below ``PNP_LIP_DATA``."""
    monkeypatch.setenv("PNP_LIP_DATA", str(tmp_path / "data"))
    for folder, name in (("train", "camera"), ("validation", "coins")):
        pixels = (photograph(name)[0, 0].numpy() * 255).astype(np.uint8)
        (tmp_path / "data" / folder).mkdir(parents=True)
        io.imsave(tmp_path / "data" / folder / "a.png", pixels[:96, :96])
    return TrainingConfig(
        depth=2,
        nf=8,
        kernel_size=3,
        train=("train",),
        validation="validation",
        patch=24,
        batch=2,
        steps=12,
        evaluate_every=4,
        weight_rate=5e-4,
        seed=7,
    )
