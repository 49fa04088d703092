r"""Leaving out filters that do nothing: thresholds that are 0 at every noise level.

A term :math:`w^\top\sigma(wx)` of a gradient step vanishes where all its thresholds are 0, since
:math:`|\sigma(t)| \le \lambda`. Without its filter the layer is the same function.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.layers import ConvGradientStep, NoiseClip

__all__ = ["pruned"]


@torch.no_grad()
def pruned(denoiser: LipschitzDenoiser, *, positive: bool | None = None) -> LipschitzDenoiser:
    """The denoiser without filters that never act; at least one filter is kept in each layer.

    Parameters
    ----------
    denoiser
        is not changed.
    positive
        parametrisation of the result's thresholds, by default the same as before; turning it
        on raises thresholds below 1e-3 of the noise level to this value.
    """
    kept = [_acting(step) for step in denoiser.steps]
    sizes = denoiser.sizes | {"nf": [len(channels) for channels in kept]}
    before = sizes.pop("positive", False)
    if before if positive is None else positive:
        sizes["positive"] = True
    smaller = LipschitzDenoiser(**sizes, pretrained=None).to(next(denoiser.parameters()))
    for new, old, channels in zip(smaller.steps, denoiser.steps, kept, strict=True):
        new.weight.copy_(old.weight[channels])
        new.tau.copy_(old.tau)
        new_clip, old_clip = cast(NoiseClip, new.activation), cast(NoiseClip, old.activation)
        new_clip.logits.copy_(old_clip.logits[:, channels])
        new_clip.set_table(old_clip.table()[..., channels])
    return smaller.train(denoiser.training)


def _acting(step: ConvGradientStep) -> Tensor:
    """Indices of the filters with a positive threshold at some noise level."""
    largest = cast(NoiseClip, step.activation).table().amax(dim=(0, 1))
    acting = (largest > 0) & (step.weight.abs().amax(dim=(1, 2, 3)) > 0)
    channels = torch.nonzero(acting).flatten()
    return channels if len(channels) else torch.argmax(largest)[None]
