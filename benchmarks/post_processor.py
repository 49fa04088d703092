r"""The control of guided denoisers: an unconstrained network of the same size that adds an image.

.. math:: P(x, s) = z + s\,N(x, z, s), \qquad z = D_0(x, s)

``N`` is the network that makes the maps of a guided denoiser, with the noisy image beside the guide at
its input and four pixels instead of log-factors at its output. It is trained on the same samples for the
same number of steps. Nothing can be proved of ``P``.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.mask import MaskNetwork
from pnp_lip.training import GuidedConfig, Processes, train_with_progress, validation_psnr
from pnp_lip.training.evaluation import LEVELS
from pnp_lip.training.guided_samples import GuidedSamples
from pnp_lip.training.resumable import ResumableRun

__all__ = ["PostProcessor", "PostProcessorTraining"]

#: The output of the network may be as large as in (-4, 4) noise levels.
_LIMIT = 4.0


class PostProcessor(nn.Module):
    """A network behind a plain denoiser; it starts as the plain denoiser.

    Parameters
    ----------
    plain
        makes the image that is corrected.
    channels, blocks
        of the network.
    """

    def __init__(self, plain: LipschitzDenoiser, *, channels: int, blocks: int) -> None:
        super().__init__()
        self.plain, self.in_channels = plain, plain.in_channels
        self.network = MaskNetwork(
            2 * plain.in_channels,
            [4 * plain.in_channels],
            channels=channels,
            blocks=blocks,
            limit=_LIMIT,
        )

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """``P(x, sigma)`` for images ``[B, C, H, W]``."""
        return self.after(x, self.plain(x, sigma), sigma)

    def after(self, x: Tensor, z: Tensor, sigma: float | Tensor) -> Tensor:
        """The corrected image ``z``, when ``x`` was its noisy input."""
        levels = self.plain.levels(sigma, x)
        out = self.network.logarithms(torch.cat([x, z], dim=1), levels)
        correction = functional.pixel_shuffle(out, 2)[..., : x.shape[-2], : x.shape[-1]]
        return z + levels[:, None, None, None] * correction


class PostProcessorTraining(ResumableRun):
    """A run that can be cut and continued, on the samples of :class:`pnp_lip.training.GuidedTraining`.

    Parameters
    ----------
    config
        ``mask_channels``, ``mask_blocks`` and ``mask_rate`` are those of the network; keys about
        filters mean nothing here.
    folder
        of the checkpoint.
    start
        weights to start from, a trained post-processor.
    """

    config: GuidedConfig
    model: PostProcessor
    average: PostProcessor

    def __init__(
        self, config: GuidedConfig, folder: Path, start: PostProcessor | None = None
    ) -> None:
        self.config, self.folder, self.device = config, folder, torch.device("cpu")
        self.processes = Processes()
        torch.manual_seed(config.seed)
        plain = LipschitzDenoiser.from_weights(config.initial, config.in_channels)
        sizes = {"channels": config.mask_channels, "blocks": config.mask_blocks}
        self.model = copy.deepcopy(start or PostProcessor(plain, **sizes))
        self.model.plain.requires_grad_(False)
        self.average = copy.deepcopy(self.model).eval()
        self.optimizer = torch.optim.Adam(self.model.network.parameters(), lr=0, betas=(0.9, 0.99))
        self.samples = GuidedSamples(config, self.model.plain)
        self._begin()

    def save(self) -> None:
        """Write the checkpoint; nothing ships these weights."""
        self._state().write(self.checkpoint, self.config, self.step, self.curve)

    def _evaluated(self) -> dict[str, float]:
        levels = {
            f"psnr_{s}": validation_psnr(self.average, self.validation, s / 255) for s in LEVELS
        }
        return {"step": self.step, **levels}

    def _advance(self) -> float:
        config, samples = self.config, self.samples.at(self.step)
        left = (config.steps - self.step) / (config.steps * 0.4)
        rate = min(1.0, (self.step + 1) / 100) * min(1.0, 0.01 + 0.99 * left)
        self.optimizer.param_groups[0]["lr"] = config.mask_rate * rate
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            restored = self.model.after(samples.noisy, samples.guide, samples.sigma)
        error = (restored - samples.clean).square().mean(dim=(1, 2, 3))
        loss = (samples.weight * error).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def fine_tuned(
    start: PostProcessor, config: GuidedConfig, steps: int, folder: Path
) -> PostProcessor:
    """Trained further on restored crops alone."""
    further = replace(config, steps=steps, unfreeze=0, restored_share=1.0, seed=config.seed + 1)
    training = PostProcessorTraining(further, folder, start)
    train_with_progress(training)
    return training.average
