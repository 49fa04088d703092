"""Guided denoisers with other maps or guides than their own, and the largest gain of a denoiser."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.images import Denoise, noisy
from pnp_lip import FixedGuide, GuidedDenoiser, LipschitzDenoiser
from pnp_lip.certifier import find_witness

__all__ = ["CROPS", "LEVEL", "SIDE", "gain_of", "model"]

#: The level of rows that only explain, and of the gains; crops and their side.
LEVEL, CROPS, SIDE = 25, 2, 32


def model(channels: int, name: str, images: list[Tensor]) -> Denoise:
    """The denoiser of a row."""
    if name == "plain":
        return LipschitzDenoiser(channels)
    if name.startswith("dial"):
        return GuidedDenoiser(channels, dial=float(name.split()[1]))
    guided = GuidedDenoiser(channels)
    if name in ("mean maps", "shuffled maps"):
        return other_maps(guided, mean if name == "mean maps" else shuffled)
    return foreign_guide(guided, images) if name == "foreign guide" else guided


def other_maps(guided: GuidedDenoiser, change: Callable[[Tensor], Tensor]) -> Denoise:
    """With every map replaced by another one."""

    def denoise(y: Tensor, sigma: float) -> Tensor:
        maps = guided.at(guided.plain(y, sigma), sigma).scales
        return FixedGuide(guided.denoiser, [change(m) for m in maps])(y, sigma)

    return denoise


def mean(scale: Tensor) -> Tensor:
    """The geometric mean over the pixels, everywhere."""
    return scale.log().mean(dim=(2, 3), keepdim=True).exp().expand_as(scale)


def shuffled(scale: Tensor) -> Tensor:
    """The pixels in random order, the same for all maps of an image."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(scale.shape[-2] * scale.shape[-1], generator=generator)
    return scale.flatten(2)[..., order].view_as(scale)


def foreign_guide(guided: GuidedDenoiser, images: list[Tensor]) -> Denoise:
    """With the guide of another image of the same size, turned if need be."""
    others = iter(images[1:] + images[:1])

    def denoise(y: Tensor, sigma: float) -> Tensor:
        other = next(others)
        if other.shape != y.shape[1:]:
            other = other.transpose(1, 2)
        guide = guided.plain(noisy(other[None].float() / 255, sigma), sigma)
        return guided.with_guide(y, guide, sigma)

    return denoise


def gain_of(denoiser: nn.Module, images: list[Tensor]) -> float:
    """The largest gain found from noisy crops, in float64."""
    found = 0.0
    denoiser.double()
    for image in images[:CROPS]:
        top, left = (image.shape[-2] - SIDE) // 2, (image.shape[-1] - SIDE) // 2
        clean = image[None, :, top : top + SIDE, left : left + SIDE].double() / 255
        witness = find_witness(
            lambda x: denoiser(x, LEVEL / 255), noisy(clean, LEVEL / 255), climbs=15
        )
        found = max(found, witness.gain)
    denoiser.float()
    return found
