"""The samples of every step of the training of a guided denoiser, the same whenever they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Generator, Tensor

from pnp_lip.data.patches import Photographs
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.training.batches import Batches
from pnp_lip.training.evaluation import noise_weight
from pnp_lip.training.guided_config import GuidedConfig
from pnp_lip.training.restored import RestoredCrops, restore_crops

__all__ = ["GuidedSamples", "Samples"]

#: Squared error that is left at noise 25/255, to which the weights of all samples refer, and the
#: least error of a guide by which a weight is divided.
_USUAL, _LEAST = 1.6e-3, 1e-5


@dataclass(frozen=True)
class Samples:
    """One batch of samples.

    Clean and noisy patches and guides ``[B, C, p, p]``, noise levels and weights ``[B]``, and dials
    ``[B, 1, 1, 1]``.
    """

    clean: Tensor
    noisy: Tensor
    guide: Tensor
    sigma: Tensor
    weight: Tensor
    dial: Tensor


class GuidedSamples:
    """Noisy patches with their plain results as guides, and a share of restored crops.

    Parameters
    ----------
    config
        says how many, how large, how noisy; all randomness comes from its seed and the step.
    plain
        the denoiser whose results are the guides; samples are drawn where it is.
    """

    def __init__(self, config: GuidedConfig, plain: LipschitzDenoiser) -> None:
        self.config, self.plain = config, plain
        self.device = next(plain.parameters()).device
        photographs = Photographs(config.train, config.in_channels, config.patch, self.device)
        self.batches = Batches(config, photographs, self.device)

    @cached_property
    def crops(self) -> RestoredCrops:
        """The restored crops, read when they are first needed; made where the file does not exist."""
        config = self.config
        if not Path(config.restored).is_file():
            made = restore_crops(self.plain, config.train, config.restored_count, config.seed)
            made.write(config.restored)
        return RestoredCrops.read(config.restored)

    @torch.no_grad()
    def at(self, step: int) -> Samples:
        """The samples of a step."""
        config, batch = self.config, self.batches.at(step)
        generator = torch.Generator().manual_seed((config.seed * 7_919 + step) % 2**32)
        guide = self.plain(batch.noisy, batch.sigma)
        weight, count = noise_weight(batch.sigma), self.config.batch
        turned = torch.rand(count, generator=generator) < config.dial_share
        drawn = torch.rand(count, generator=generator)
        dial = torch.where(turned, drawn, torch.ones(count))[:, None, None, None]
        dial = dial.to(self.device, non_blocking=True)
        samples = Samples(batch.clean, batch.noisy, guide, batch.sigma, weight, dial)
        if config.restored and step >= config.unfreeze:
            chosen = torch.rand(count, generator=generator) < config.restored_share
            if chosen.any():
                self._replace(samples, torch.nonzero(chosen).flatten(), generator)
        return samples

    def _replace(self, samples: Samples, places: Tensor, generator: Generator) -> None:
        """Put restored crops in the places of samples."""
        crops = [self.crops.draw(self.config.patch, generator) for _ in places]
        places, clean, noisy, guide, sigma = (
            part.to(self.device, non_blocking=True)
            for part in (places, *map(torch.stack, zip(*crops, strict=True)))
        )
        samples.clean[places], samples.noisy[places] = clean, noisy
        samples.guide[places], samples.sigma[places] = guide, sigma
        error = (guide - clean).square().mean(dim=(1, 2, 3))
        samples.weight[places] = _USUAL / error.clamp(min=_LEAST)
