"""Noisy patches for every step of a training run, the same whenever they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_lip.data.patches import Photographs
from pnp_lip.training.config import TrainingConfig

__all__ = ["Batch", "Batches"]

#: Distance of the seeds of two processes. torch's generator takes seeds modulo 2^32, where the
#: multiples of this number keep far apart.
_APART = 2_654_435_761


@dataclass(frozen=True, eq=False)
class Batch:
    """Clean and noisy patches ``[B, C, p, p]`` and their noise levels ``[B]``."""

    clean: Tensor
    noisy: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Batches:
    """The patches of one process; all randomness comes from ``(seed, step, rank)``.

    Attributes
    ----------
    config
        says how many, how large, how noisy.
    photographs
        kept where training happens.
    device
        where training happens. Noise is drawn there, so it differs between CPU and GPU.
    rank
        number of the process.
    """

    config: TrainingConfig
    photographs: Photographs
    device: torch.device
    rank: int = 0

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        config = self.config
        seed = (config.seed * 1_000_003 + step + self.rank * _APART) % 2**32
        generator = torch.Generator().manual_seed(seed)
        clean = self.photographs.patches(config.batch, generator)
        low, high = (level / 255 for level in config.noise_levels)
        sigma = low + (high - low) * torch.rand(config.batch, generator=generator)
        sigma = sigma.to(self.device, non_blocking=True)
        if self.device.type != "cpu":
            generator = torch.Generator(self.device).manual_seed(seed)
        noise = torch.randn(clean.shape, generator=generator, device=self.device)
        noisy = clean + sigma[:, None, None, None] * noise
        if config.channels_last:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        return Batch(clean, noisy, sigma)
