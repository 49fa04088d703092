"""Denoising: one application of the nonexpansive denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from pnp_lip.certifier import Statement
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.tiled import Tiled
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.errors import InputError
from pnp_lip.formats.raster import Storage
from pnp_lip.quality import quality
from pnp_lip.recipes.claims import claims_of
from pnp_lip.recipes.figure import before_and_after, save_figure
from pnp_lip.recipes.networks import network
from pnp_lip.recipes.outputs import Outputs
from pnp_lip.recipes.problem import as_observation, as_truth, gaussian_noise, require_noise
from pnp_lip.rounding import format_up
from pnp_lip.solvers.certificates import statement_of
from pnp_lip.versions import versions

__all__ = ["Denoised", "add_noise", "denoise"]

#: From so many pixels on an image is denoised in tiles, and those tiles have this side.
_LARGE, _TILE = 2**20, 512


@dataclass(frozen=True)
class Denoised:
    """A denoised image.

    Attributes
    ----------
    image, observation
        restored and noisy, ``[1, C, H, W]``.
    truth
        the clean image, where it is known.
    sigma
        noise level given to the denoiser.
    statement
        what is proved of the denoiser; with a guide, of the denoiser for a fixed guide.
    weights_sha256
        hash of its weights.
    seed
        of the noise that was added, where some was.
    plain
        the plain result that guides a guided one.
    remarks
        what should be said of the statement, one sentence each.
    """

    image: Tensor
    observation: Tensor
    truth: Tensor | None
    sigma: float
    statement: Statement
    weights_sha256: str
    seed: int | None = None
    plain: Tensor | None = None
    remarks: tuple[str, ...] = ()

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
            "guided": self.plain is not None,
            "seed": self.seed,
            "remarks": self.remarks,
            "certificate": claims_of(self.statement, self.weights_sha256),
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
        bound = f"Lip(D) <= {format_up(self.statement.upper)} (proved), sigma {self.sigma:.4g}"
        lines.append(f"  denoiser    {bound}")
        if self.plain is not None:
            lines.append(
                "  guided: proved for its fixed guide; nothing is claimed from data to result"
            )
        return "\n".join([*lines, *("  " + remark for remark in self.remarks)])

    def draw(self, path: Path) -> None:
        """Write the figure: the images and a zoom of each."""
        panels = before_and_after(self.observation, self.image, self.truth, self.plain)
        save_figure(panels, path)

    def save(
        self, path: str | Path, stored: Storage | DTypeLike = np.uint8, *, force: bool = False
    ) -> tuple[Path, ...]:
        """Write the image to ``path``, ``NAME.figure.png`` and ``NAME.json``; return the paths.

        Raises
        ------
        InputError
            a place that cannot be written, or a file of the user's there.
        """
        return Outputs(Path(path), force).write(self.image, stored, self.draw, self.to_dict())


def add_noise(x: Tensor, noise: float, seed: int) -> Tensor:
    """``x`` (in [0, 1]) with Gaussian noise of standard deviation ``noise``.

    Raises
    ------
    InputError
        an image outside [0, 1], or a noise level outside [0, 1).
    """
    x = as_truth(x, volumes=True)
    return x + gaussian_noise(x, require_noise(noise), seed)


@torch.no_grad()
def denoise(
    y: Tensor,
    sigma: float,
    *,
    truth: Tensor | None = None,
    weights: str = "default",
    guided: bool = False,
    seed: int | None = None,
    tile: int | None = None,
    device: str | torch.device | None = None,
) -> Denoised:
    """Denoise ``y`` with strength ``sigma`` (in [0, 1)).

    Parameters
    ----------
    y
        the noisy image ``[1, C, H, W]``, or a volume ``[1, C, D, H, W]``, which is denoised along its
        three families of planes; in [0, 1] up to noise.
    sigma
        noise level.
    truth
        the clean image, for the report.
    weights
        a file, or the shipped ones.
    guided
        denoise once more with thresholds from the plain result.
    seed
        of the noise, for the report.
    tile
        side of the tiles in which the image goes through the network, which bounds the
        memory; 512 by default above a megapixel.
    device
        of the network; that of ``y`` by default.

    Raises
    ------
    InputError
        pixels in other units than [0, 1], a noise level outside [0, 1), a tile without pixels,
        or a guided volume.
    WeightsError
        no such weights.

    Examples
    --------
    >>> from pnp_lip.data import photograph
    >>> from pnp_lip.recipes.denoise import add_noise, denoise
    >>> noisy = add_noise(photograph("camera"), 0.1, seed=0)
    >>> denoise(noisy, 0.1).save("clean.png")  # doctest: +SKIP
    """
    sigma = require_noise(sigma, "sigma")
    y = as_observation(y, sigma, volumes=True)
    if tile is not None and tile < 1:
        raise InputError(f"a tile has at least one pixel a side, got {tile}")
    where = str(y.device if device is None else device)
    used = network(y.shape[1], str(weights), where, guided=guided)
    large = y.shape[-2] * y.shape[-1] > _LARGE
    side = (_TILE if large else max(y.shape[2:])) if tile is None else tile
    if isinstance(used.denoiser, GuidedDenoiser):
        if y.ndim == 5:
            raise InputError("a volume is denoised plainly: leave out --guided")
        plain = Tiled(used.denoiser.plain, side)(y, sigma).clamp_(0, 1)
        image = Tiled(used.denoiser, side, progress=large)(y, sigma).clamp_(0, 1)
        # Thresholds do not enter the statement, so the denoiser with any fixed guide has the same one.
        statement = statement_of(used.denoiser.denoiser)
        return Denoised(image, y, truth, sigma, statement, used.sha256, seed, plain)
    denoiser: nn.Module = used.denoiser
    tiled: nn.Module = Tiled(denoiser, side, progress=large and y.ndim == 4)
    if y.ndim == 5:
        denoiser, tiled = VolumeDenoiser(denoiser), VolumeDenoiser(tiled)
    image = tiled(y, sigma).clamp_(0, 1)
    return Denoised(image, y, truth, sigma, statement_of(denoiser), used.sha256, seed)
