"""Restoration problems: an observation, the physics behind it, and the truth where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

__all__ = ["Problem", "gaussian_noise"]


@dataclass(frozen=True)
class Problem:
    """What a recipe hands to a solver.

    Attributes:
        name: what is done, for titles.
        physics: how the observation came about.
        y: the observation as the physics gives it.
        start: first image of the iteration, ``[1, C, H, W]``.
        observation: the observation as an image, for pictures and for its PSNR.
        truth: the image before degradation, where it is known.
        margin: rows and columns by which the reconstruction exceeds the frame of ``observation``.
        noise: standard deviation of the noise, in [0, 1].
        settings: what else a repetition needs.
    """

    name: str
    physics: LinearPhysics
    y: Tensor
    start: Tensor
    observation: Tensor
    truth: Tensor | None
    noise: float
    margin: tuple[int, int] = (0, 0)
    settings: dict[str, Any] = field(default_factory=dict)

    def in_frame(self, x: Tensor) -> Tensor:
        """The part of a reconstruction that lies in the frame of the observation."""
        height, width = self.observation.shape[-2:]
        top, left = (extra // 2 for extra in self.margin)
        return x[..., top : top + height, left : left + width]


def gaussian_noise(x: Tensor, noise: float, seed: int) -> Tensor:
    """Independent normal numbers of standard deviation ``noise``, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return noise * torch.randn(x.shape, generator=generator).to(x.device, x.dtype)
