"""Noisy images, and how well they are restored: the same in every benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pnp_lip.data.patches import read_folder
from pnp_lip.quality import psnr, ssim

__all__ = ["Denoise", "mean_quality", "noisy", "validation_images"]

#: ``D(y, sigma)`` on ``[1, C, H, W]``, with ``sigma`` in [0, 1].
Denoise = Callable[[Tensor, float], Tensor]


def noisy(clean: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """``clean`` with independent normal noise of standard deviation ``sigma``."""
    generator = torch.Generator().manual_seed(seed)
    return clean + sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)


def validation_images(channels: int, side: int = 256, count: int | None = None) -> list[Tensor]:
    """Parts of the validation images, uint8 ``[C, side, side]`` or less."""
    return [image[:, :side, :side] for image in read_folder("bsds500/val32", channels)[:count]]


@torch.no_grad()
def mean_quality(
    denoise: Denoise, images: list[Tensor], level: int, label: str
) -> dict[str, float]:
    """Mean ``psnr`` in dB and ``ssim`` of uint8 images ``[C, H, W]``; ``level`` in units of 1/255."""
    values = []
    for image in tqdm(images, desc=label, leave=False, disable=None):
        clean = image[None].float() / 255
        denoised = denoise(noisy(clean, level / 255), level / 255)
        similarity = ssim(denoised, clean)
        values.append((psnr(denoised, clean), math.nan if similarity is None else similarity))
    means = np.mean(values, axis=0)
    return {"psnr": float(means[0]), "ssim": float(means[1])}
