"""Tiles with a halo give the same function, one pixel less does not, and the certificate follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from deepinv.distributed import DistributedContext, distribute
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pnp_lip import (
    LipschitzDenoiser,
    Refusal,
    Relaxed,
    Tiled,
    certify,
    check_certificate,
    firmly_nonexpansive,
)
from pnp_lip.certifier import prove
from pnp_lip.denoisers.distributed import HaloTiling
from pnp_lip.denoisers.tiled import receptive_radius, split


def denoiser(channels: int = 1, depth: int = 2, kernel_size: int = 3) -> LipschitzDenoiser:
    """Random filters, so that every pixel of the receptive field counts, in float64."""
    network = LipschitzDenoiser(
        channels, depth=depth, nf=6, kernel_size=kernel_size, pretrained=None
    ).double()
    generator = torch.Generator().manual_seed(1)
    for layer in network.layers:
        shape = layer.weight.shape
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        layer.weight.data = noise / (2 * noise.square().sum().sqrt() * shape[-1])
    return network.requires_grad_(False).eval()


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile=st.integers(1, 30),
    extra=st.integers(0, 3),
    depth=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=40, deadline=None)
def test_tiles_give_the_whole_image_to_rounding(
    height: int, width: int, tile: int, extra: int, depth: int, channels: int
) -> None:
    network = denoiser(channels, depth)
    x = noise(2, channels, height, width)
    tiled = Tiled(network, tile, halo=network.receptive_radius + extra)
    levels = torch.tensor([0.1, 0.3], dtype=torch.float64)
    torch.testing.assert_close(tiled(x, levels), network(x, levels), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_halo_one_pixel_below_the_receptive_radius_gives_another_image(kernel_size: int) -> None:
    network = denoiser(kernel_size=kernel_size)
    x = noise(1, 1, 48, 48)
    tiled = Tiled(network, 16)
    torch.testing.assert_close(tiled(x, 0.2), network(x, 0.2), rtol=0, atol=1e-13)
    tiled.halo -= 1
    assert float((tiled(x, 0.2) - network(x, 0.2)).abs().max()) > 1e-10


def test_the_receptive_radius_is_where_the_derivative_vanishes() -> None:
    network = denoiser(depth=3)
    x = noise(1, 1, 41, 41).requires_grad_()
    network(x, 0.3)[0, 0, 20, 20].backward()
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert (int(rows.min()), int(rows.max())) == (20 - 6, 20 + 6)
    assert network.receptive_radius == 6


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 60), st.integers(0, 60))
@settings(deadline=None)
def test_tiles_cover_every_pixel_once(height: int, width: int, tile: int, halo: int) -> None:
    image = torch.arange(height * width).reshape(height, width)
    seen = torch.zeros_like(image)
    for part in split(height, width, tile, halo):
        seen[part.target] += 1
        assert torch.equal(image[part.window][part.core], image[part.target])
    assert (seen == 1).all()


@given(st.integers(1, 80), st.integers(1, 30), st.integers(0, 40))
@settings(deadline=None)
def test_no_pixel_lies_in_more_windows_than_stated(length: int, tile: int, halo: int) -> None:
    network = denoiser(depth=1)
    tiled = Tiled(network, tile, halo=max(halo, 2))
    covered = torch.zeros(length)
    for part in split(length, 1, tile, tiled.halo):
        covered[part.window[0]] += 1
    assert covered.max() <= tiled.overlap


def test_the_result_can_be_written_into_a_file(tmp_path: Path) -> None:
    network = denoiser()
    x = noise(1, 1, 30, 50)
    mapped = np.memmap(tmp_path / "out.raw", dtype=np.float64, mode="w+", shape=(1, 1, 30, 50))
    out = torch.from_numpy(mapped)
    assert Tiled(network, 16)(x, 0.1, out=out) is out
    mapped.flush()
    stored = np.fromfile(tmp_path / "out.raw").reshape(1, 1, 30, 50)
    torch.testing.assert_close(torch.from_numpy(stored), network(x, 0.1), rtol=0, atol=1e-13)


def test_tiles_are_differentiable() -> None:
    network = denoiser()
    x = noise(1, 1, 20, 20).requires_grad_()
    Tiled(network, 8)(x, 0.1).square().sum().backward()
    tiled = x.grad
    x.grad = None
    network(x, 0.1).square().sum().backward()
    torch.testing.assert_close(tiled, x.grad, rtol=0, atol=1e-12)


def test_what_does_not_fit_is_named() -> None:
    network = denoiser()
    with pytest.raises(ValueError, match="a halo of 3 pixels is below the receptive radius 4"):
        Tiled(network, halo=3)
    with pytest.raises(ValueError, match="the receptive field of a Conv2d is not known: pass halo"):
        Tiled(nn.Conv2d(1, 1, 3))
    with pytest.raises(ValueError, match="at least one pixel, got tile=0"):
        Tiled(network, 0)
    x = noise(1, 1, 20, 20)
    with pytest.raises(ValueError, match="got x itself"):
        Tiled(network)(x, 0.1, out=x)
    with pytest.raises(ValueError, match=r"of shape \(1, 1, 20, 20\), got \(1, 1, 20, 21\)"):
        Tiled(network)(x, 0.1, out=noise(1, 1, 20, 21))
    with pytest.raises(ValueError, match=r"expected images \[B, C, H, W\]"):
        Tiled(network)(x[0], 0.1)


def test_the_certificate_of_a_tiled_denoiser_is_that_of_the_denoiser() -> None:
    network = denoiser().float()
    certificate, tiled = certify(network), certify(Tiled(network, 64))
    assert (tiled.upper, tiled.averagedness) == (certificate.upper, certificate.averagedness)
    assert tiled.lower >= 0.9
    check_certificate(tiled, Tiled(network, 64))
    relaxed = firmly_nonexpansive(Tiled(network, 64), tiled.averagedness or 1.0)
    assert (prove(relaxed).averagedness or 1) <= 0.5
    assert receptive_radius(Relaxed(network, 0.5)) == network.receptive_radius


def test_the_execution_error_grows_by_the_windows_that_cover_a_pixel() -> None:
    network = denoiser().float()
    whole, tiled = prove(network).execution, prove(Tiled(network, 10)).execution
    assert whole is not None
    assert tiled is not None
    assert tiled.error(1.0, 100) == pytest.approx(2 * whole.error(1.0, 100))


def test_windows_that_may_change_the_function_are_refused() -> None:
    tiled = Tiled(denoiser(), 16)
    tiled.halo -= 1
    with pytest.raises(Refusal, match="tiled with a halo of 3 pixels, the radius is 4"):
        prove(tiled)
    with pytest.raises(Refusal, match="the receptive field of a Conv2d is not known"):
        prove(Tiled(nn.Conv2d(1, 1, 3, padding=1), halo=1))


def test_deepinv_distributes_the_same_function() -> None:
    network = denoiser()
    x = noise(1, 1, 50, 70)
    with DistributedContext(device_mode="cpu") as context:
        tiling = HaloTiling(x.shape, network, tile=16)
        distributed = distribute(network, context, tiling_strategy=tiling)
        torch.testing.assert_close(distributed(x, 0.2), network(x, 0.2), rtol=0, atol=1e-13)
        assert prove(distributed).upper == prove(network).upper
        with pytest.raises(ValueError, match=r"made for images \(1, 1, 50, 70\)"):
            distributed(x[..., 1:], 0.2)


def test_deepinvs_own_tiling_is_another_function_at_the_border_and_is_refused() -> None:
    network = denoiser()
    x = noise(1, 1, 50, 70)
    with DistributedContext(device_mode="cpu") as context:
        theirs = distribute(network, context, patch_size=16, overlap=4, tiling_dims=(-2, -1))
        difference = (theirs(x, 0.2) - network(x, 0.2)).abs()
        assert difference.max() > 1e-4
        assert difference[..., 4:-4, 4:-4].max() < 1e-13
        with pytest.raises(Refusal, match="pads the image by reflection"):
            prove(theirs)
