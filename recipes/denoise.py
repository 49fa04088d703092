"""Denoising: one application of the nonexpansive denoiser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from pnp_lip.certifier import Statement, prove
from pnp_lip.data.images import write_image
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.tiled import Tiled
from pnp_lip.files import write_text
from pnp_lip.quality import quality
from pnp_lip.recipes.figure import before_and_after, save_figure
from pnp_lip.recipes.problem import gaussian_noise
from pnp_lip.versions import versions
from pnp_lip.weights import weight_hash

__all__ = ["Denoised", "add_noise", "denoise"]

#: From so many pixels on an image is denoised in tiles, and those tiles have this side.
_LARGE, _TILE = 2**20, 512


@dataclass(frozen=True)
class Denoised:
    """A denoised image.

    Attributes:
        image, observation: restored and noisy, ``[1, C, H, W]``.
        truth: the clean image, where it is known.
        sigma: noise level given to the denoiser.
        statement: what is proved of the denoiser.
        weights_sha256: hash of its weights.
        seed: of the noise that was added, where some was.
    """

    image: Tensor
    observation: Tensor
    truth: Tensor | None
    sigma: float
    statement: Statement
    weights_sha256: str
    seed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report, as plain numbers and strings."""
        return {
            "task": "denoising",
            **quality(self.observation, self.image, self.truth),
            "lipschitz_upper": self.statement.upper,
            "averagedness": self.statement.averagedness,
            "theorem": None,
            "solver": None,
            "stepsize": None,
            "sigma": self.sigma,
            "iterations": 1,
            "residual": None,
            "status": "DENOISED",
            "seed": self.seed,
            "weights_sha256": self.weights_sha256,
            "versions": versions(),
        }

    def summary(self) -> str:
        """The report for a person."""
        report = self.to_dict()
        lines = ["denoising"]
        if self.truth is not None:
            before, after = report["psnr_observation"], report["psnr_restoration"]
            lines.append(f"  PSNR  {before:.2f} -> {after:.2f} dB")
        bound = (
            f"  denoiser    Lip(D) <= {self.statement.upper:.6g} (proved), sigma {self.sigma:.4g}"
        )
        return "\n".join([*lines, bound])

    def save(self, path: str | Path, dtype: DTypeLike = np.uint8) -> tuple[Path, ...]:
        """Write the image to ``path``, ``NAME.figure.png`` and ``NAME.json``; return the paths."""
        path = Path(path)
        figure, report = path.with_suffix(".figure.png"), path.with_suffix(".json")
        write_image(path, self.image, dtype)
        save_figure(before_and_after(self.observation, self.image, self.truth), figure)
        write_text(report, json.dumps(self.to_dict(), indent=2) + "\n")
        return path, figure, report


def add_noise(x: Tensor, noise: float, seed: int) -> Tensor:
    """``x`` with Gaussian noise of standard deviation ``noise``."""
    return x + gaussian_noise(x, noise, seed)


@torch.no_grad()
def denoise(
    y: Tensor,
    sigma: float,
    *,
    truth: Tensor | None = None,
    weights: str = "default",
    seed: int | None = None,
    tile: int | None = None,
    device: str | torch.device | None = None,
) -> Denoised:
    """Denoise ``y`` (``[1, C, H, W]``) with strength ``sigma`` (in [0, 1]).

    Args:
        y: the noisy image.
        sigma: noise level.
        truth: the clean image, for the report.
        weights: a file, or the shipped ones.
        seed: of the noise, for the report.
        tile: side of the tiles in which the image goes through the network, which bounds the
            memory; 512 by default above a megapixel.
        device: of the network; that of ``y`` by default.
    """
    device = y.device if device is None else device
    denoiser = LipschitzDenoiser(y.shape[1], pretrained=weights, device=device)
    large = y.shape[-2] * y.shape[-1] > _LARGE
    side = (_TILE if large else max(y.shape[-2:])) if tile is None else tile
    image = Tiled(denoiser, side, progress=large)(y, sigma).clamp_(0, 1)
    digest = weight_hash(denoiser.state_dict())
    return Denoised(image, y, truth, sigma, prove(denoiser), digest, seed)
