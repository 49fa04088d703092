r"""Training of a guided denoiser: mask, filters and thresholds together.

Minimises :math:`E\,w\,\|D_z(v) - x\|^2` where ``v`` is the clean patch ``x`` with noise and ``z`` its plain
result, or, in a share of the samples, both come from a restoration
(:mod:`pnp_lip.training.restored`). Noise is weighted as for plain denoisers, restorations by the
reciprocal of the error of their guide. A share of the samples turns the dial to a random value, so that
the network denoises well there too. The filters are fixed at first, then they are trained inside
their constraint, which holds for every guide. The plain denoiser that makes the guides does not move.

A run that was cut continues to the same bits: all randomness of a step comes from its number.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from pnp_lip.certifier import prove
from pnp_lip.constraints import hold
from pnp_lip.data.patches import read_folder
from pnp_lip.denoisers.fixed_guide import shrink
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.files import write_text
from pnp_lip.training.checkpoint import Checkpoint
from pnp_lip.training.evaluation import LEVELS, validation_psnr
from pnp_lip.training.guided_config import GuidedConfig
from pnp_lip.training.guided_samples import GuidedSamples
from pnp_lip.training.processes import Processes
from pnp_lip.weights import read_weights, shipped, write_weights

__all__ = ["GuidedTraining"]

#: Share of a run with a constant learning rate. Up to there its length may still be changed.
_FLAT = 0.6


class GuidedTraining:
    """A run on the CPU that can be stopped and continued; iterate over :meth:`run` to advance.

    Parameters
    ----------
    config
        see :class:`GuidedConfig`.
    folder
        where ``checkpoint.safetensors``, ``weights.safetensors`` and ``curve.json`` live; a
        checkpoint found there is continued.

    Raises
    ------
    ValueError
        the checkpoint belongs to another configuration, or is damaged.
    """

    def __init__(self, config: GuidedConfig, folder: str | Path) -> None:
        self.config, self.folder = config, Path(folder)
        self.processes = Processes()
        torch.manual_seed(config.seed)  # the mask network starts at random
        plain = LipschitzDenoiser.from_weights(config.initial, config.in_channels)
        sizes = (config.mask_channels, config.mask_blocks, config.mask_limit)
        self.model = GuidedDenoiser.starting_from(
            plain, channels=sizes[0], blocks=sizes[1], limit=sizes[2]
        )
        if config.mask_initial:
            _lend(config.mask_initial, self.model)
        self.model.plain.requires_grad_(False)
        self.optimizer = _optimizer(self.model, config)
        hold(self.model.denoiser, self.optimizer, averagedness=config.averagedness)
        self.average = copy.deepcopy(self.model).eval()
        self.samples = GuidedSamples(config, self.model.plain)
        images = read_folder(config.validation, config.in_channels)[: config.validation_images]
        self.validation = [image[:, :320, :320] for image in images]
        self.step = 0
        self.curve: list[dict[str, float]] = []
        if self.checkpoint.is_file():
            self.step, self.curve = self._state().read(self.checkpoint, config, flat=_FLAT)

    @property
    def checkpoint(self) -> Path:
        """The file a run continues from."""
        return self.folder / "checkpoint.safetensors"

    @property
    def weights(self) -> Path:
        """The averaged weights of the last evaluation."""
        return self.folder / "weights.safetensors"

    def run(self) -> Iterator[float]:
        """Yield the loss of every step; evaluate and write a checkpoint where the config says so.

        Yields
        ------
        float
            the loss.

        Raises
        ------
        RuntimeError
            the averaged weights are not proved nonexpansive; nothing is written then.
        """
        while self.step < self.config.steps:
            loss = self._advance()
            if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
                self.curve.append(self._evaluate())
                self.save()
            yield loss

    def save(self) -> None:
        """Write checkpoint, averaged weights and curve, each atomically."""
        self._state().write(self.checkpoint, self.config, self.step, self.curve)
        write_weights(self.average, self.weights)
        write_text(self.folder / "curve.json", json.dumps(self.curve, indent=1) + "\n")

    def _state(self) -> Checkpoint:
        return Checkpoint({"model": self.model, "average": self.average}, self.optimizer)

    def _advance(self) -> float:
        config, samples = self.config, self.samples.at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * _schedule(self.step, config.steps)
        for name, parameter in self.model.denoiser.named_parameters():
            parameter.requires_grad_(self.step >= config.unfreeze and not name.endswith("tau"))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            scales = self.model.mask(samples.guide, samples.sigma, samples.dial)
        restored = shrink(self.model.denoiser, samples.noisy, samples.sigma, scales)
        error = (restored - samples.clean).square().mean(dim=(1, 2, 3))
        loss = (samples.weight * error).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential averaging; the ball of admissible weights is convex, so it stays inside."""
        decay = min(self.config.ema, self.step / (self.step + 10))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)

    def _evaluate(self) -> dict[str, float]:
        """PSNR on validation images, and the averagedness that is proved for every fixed guide."""
        proved = prove(self.average.denoiser)
        if proved.averagedness is None:
            raise RuntimeError(
                f"step {self.step}: only Lip <= {proved.upper} is proved, training stops"
            )
        levels = {
            f"psnr_{level}": validation_psnr(self.average, self.validation, level / 255)
            for level in LEVELS
        }
        return {"step": self.step, **levels, "averagedness": proved.averagedness}


def _lend(source: str, model: GuidedDenoiser) -> None:
    """Start the mask network with the residual blocks of another one.

    And with its first layer, where it sees the same images, or grey ones, as the mean of the colours.
    """
    lender = read_weights(shipped(1, source) if source == "guided" else source)
    state = {
        name.removeprefix("mask."): value
        for name, value in lender.state_dict.items()
        if name.startswith(("mask.blocks.", "mask.stem."))
    }
    repeats = model.in_channels // lender.architecture["in_channels"]
    images, level = state["stem.weight"][:, :-1], state["stem.weight"][:, -1:]
    state["stem.weight"] = torch.cat([images.repeat(1, repeats, 1, 1) / repeats, level], dim=1)
    model.mask.load_state_dict(state, strict=False)


def _optimizer(model: GuidedDenoiser, config: GuidedConfig) -> torch.optim.Optimizer:
    rates = {
        "weight": config.weight_rate,
        "factors": config.threshold_rate,
        "logits": config.share_rate,
    }
    groups: dict[float, list[nn.Parameter]] = {config.mask_rate: list(model.mask.parameters())}
    for name, parameter in model.denoiser.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(rates[name.rpartition(".")[2]], []).append(parameter)
    return torch.optim.Adam(
        [{"params": parameters, "rate": rate} for rate, parameters in groups.items()],
        lr=0.0,
        betas=(0.9, 0.99),
    )


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, a constant rate, then a linear descent to 1 %."""
    left = (steps - step) / (steps * (1 - _FLAT))
    return min(1.0, (step + 1) / 100) * min(1.0, 0.01 + 0.99 * left)
