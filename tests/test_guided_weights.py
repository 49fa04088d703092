"""The shipped guided denoisers: small, certified as they are, and better than the plain ones."""

from __future__ import annotations

import json

import pytest
import torch

from pnp_lip import GuidedDenoiser, LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.weights import WeightsError, read_weights, shipped, weight_hash, write_weights

CHANNELS = pytest.mark.parametrize("channels", [1, 3])


@CHANNELS
def test_the_certificate_speaks_about_the_filters_that_are_shipped(channels: int) -> None:
    guided = GuidedDenoiser(channels)
    path = shipped(channels, "guided")
    assert path.stat().st_size < 4e6
    certificate = json.loads(path.with_suffix(".certificate.json").read_text())
    assert certificate["sha256"] == weight_hash(guided.denoiser.state_dict())
    proved = prove(guided.at(torch.rand(1, channels, 16, 16), 0.1))
    assert proved.averagedness == certificate["averagedness"] < 1
    assert proved.upper == certificate["upper"] <= 1


@CHANNELS
def test_the_guide_comes_from_the_shipped_plain_denoiser(channels: int) -> None:
    plain = LipschitzDenoiser(channels)
    assert weight_hash(GuidedDenoiser(channels).plain.state_dict()) == weight_hash(
        plain.state_dict()
    )


@CHANNELS
@pytest.mark.parametrize("level", [15, 25, 50])
def test_a_guide_denoises_better_than_none(channels: int, level: int) -> None:
    clean = photograph("camera" if channels == 1 else "astronaut", 96)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy, sigma = clean + level / 255 * noise, level / 255
    guided, plain = GuidedDenoiser(channels), LipschitzDenoiser(channels)
    with torch.no_grad():
        gained = psnr(guided(noisy, sigma), clean) - psnr(plain(noisy, sigma), clean)
        guided.dial = 0.0
        unguided = psnr(guided(noisy, sigma), clean) - psnr(plain(noisy, sigma), clean)
    assert gained > 0.3
    assert unguided > -0.5  # without its guide it is still a good denoiser


def test_a_file_whose_sizes_are_not_those_of_its_tensors_is_refused(tmp_path: object) -> None:
    guided = GuidedDenoiser(1)
    path = f"{tmp_path}/wrong.safetensors"
    guided.sizes["mask"] = guided.sizes["mask"] | {"blocks": 4000}
    write_weights(guided, path)
    with pytest.raises(WeightsError, match=r"the mask has \(blocks, channels\) = \(5, 64\)"):
        GuidedDenoiser(1, pretrained=path)
    guided = GuidedDenoiser(1)
    guided.sizes["denoiser"] = guided.sizes["denoiser"] | {"depth": 4000}
    write_weights(guided, path)
    with pytest.raises(WeightsError, match="the weights have 8 layers and say depth=4000"):
        GuidedDenoiser(1, pretrained=path)
    guided = GuidedDenoiser(1)
    guided.sizes["mask"] = guided.sizes["mask"] | {"limit": 1e9}
    write_weights(guided, path)
    with pytest.raises(WeightsError, match=r"limit=1000000000.0: expected a number in \(0, 10\]"):
        GuidedDenoiser(1, pretrained=path)
    assert read_weights(shipped(1, "guided")).architecture["mask"]["limit"] == 2.0
