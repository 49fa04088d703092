"""The control of guided denoisers, and maps that are not their own."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from benchmarks.guided_forms import mean, other_maps, shuffled
from benchmarks.post_processor import PostProcessor
from pnp_lip import GuidedDenoiser, LipschitzDenoiser

SIGMA = 0.1


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))


def plain_denoiser() -> LipschitzDenoiser:
    torch.manual_seed(0)
    return LipschitzDenoiser(1, depth=2, nf=5, kernel_size=3, pretrained=None).eval()


def test_an_untrained_post_processor_is_the_plain_denoiser_and_a_trained_one_adds_its_image() -> (
    None
):
    plain, x = plain_denoiser(), image(13, 18)
    control = PostProcessor(plain, channels=4, blocks=1).eval()
    with torch.no_grad():
        torch.testing.assert_close(control(x, SIGMA), plain(x, SIGMA))
        cast(Tensor, control.network.head.bias).fill_(0.2)
        added = 4 * torch.tanh(torch.tensor(0.2 / 4)) * SIGMA
        torch.testing.assert_close(control(x, SIGMA), plain(x, SIGMA) + added)


def test_a_post_processor_has_about_the_size_of_the_mask_network() -> None:
    guided = GuidedDenoiser(1)
    control = PostProcessor(guided.plain, channels=64, blocks=5)
    sizes = [sum(p.numel() for p in part.parameters()) for part in (control.network, guided.mask)]
    assert abs(sizes[0] - sizes[1]) < 0.03 * sizes[1]


def test_other_maps_keep_their_values_or_their_mean() -> None:
    scale = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    mixed = shuffled(scale)
    assert not torch.equal(mixed, scale)
    torch.testing.assert_close(mixed.flatten(2).sort().values, scale.flatten(2).sort().values)
    pairs = set(zip(scale[0, 0].flatten().tolist(), scale[0, 1].flatten().tolist(), strict=True))
    again = zip(mixed[0, 0].flatten().tolist(), mixed[0, 1].flatten().tolist(), strict=True)
    assert pairs == set(again)  # the maps of a pixel stay together
    torch.testing.assert_close(mean(scale).log()[0, :, 2, 3], scale.log().mean(dim=(2, 3))[0])


def test_a_guided_denoiser_with_its_own_maps_is_itself() -> None:
    guided, x = GuidedDenoiser(1), image(16, 20)
    with torch.no_grad():
        same = other_maps(guided, lambda scale: scale)(x, SIGMA)
        torch.testing.assert_close(same, guided(x, SIGMA))
