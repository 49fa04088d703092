r"""Training of a guided denoiser: mask, filters and thresholds together.

Minimises :math:`E\,w\,\|D_z(v) - x\|^2` where ``v`` is the clean patch ``x`` with noise and ``z`` its plain
result, or, in a share of the samples, both come from a restoration
(:mod:`pnp_lip.training.restored`). Noise is weighted as for plain denoisers, restorations by the
reciprocal of the error of their guide. A share of the samples turns the dial to a random value, so that
the network denoises well there too. The filters are fixed at first, then they are trained inside
their constraint, which holds for every guide. The plain denoiser that makes the guides does not move.

A run on the CPU that was cut continues to the same bits: all randomness of a step comes from its
number.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from pnp_lip.constraints import hold
from pnp_lip.denoisers.fixed_guide import shrink
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.training.guided_config import GuidedConfig
from pnp_lip.training.guided_samples import GuidedSamples
from pnp_lip.training.processes import Processes
from pnp_lip.training.resumable import ResumableRun
from pnp_lip.weights import read_weights, shipped

__all__ = ["GuidedTraining"]

#: Share of a run with a constant learning rate. Up to there its length may still be changed.
_FLAT = 0.6


class GuidedTraining(ResumableRun):
    """A run that can be stopped and continued; iterate over :meth:`run` to advance.

    Parameters
    ----------
    config
        see :class:`GuidedConfig`.
    folder
        where ``checkpoint.safetensors``, ``weights.safetensors`` and ``curve.json`` live; a
        checkpoint found there is continued.
    device
        where to train.

    Raises
    ------
    ValueError
        the checkpoint belongs to another configuration, or is damaged.
    """

    flat = _FLAT
    config: GuidedConfig
    model: GuidedDenoiser
    average: GuidedDenoiser

    def __init__(self, config: GuidedConfig, folder: str | Path, device: str = "cpu") -> None:
        self.config, self.folder, self.device = config, Path(folder), torch.device(device)
        self.processes = Processes()
        torch.manual_seed(config.seed)  # the mask network starts at random
        self.model = _started(config).to(self.device).train()
        self.model.plain.requires_grad_(False)
        self.optimizer = _optimizer(self.model, config)
        hold(self.model.denoiser, self.optimizer, averagedness=config.averagedness)
        self.average = copy.deepcopy(self.model).eval()
        self.samples = GuidedSamples(config, self.model.plain)
        self._begin()

    def _certified(self) -> nn.Module:
        """The averagedness that is proved holds for every fixed guide."""
        return self.average.denoiser

    def _advance(self) -> float:
        config, samples = self.config, self._drawn(self.samples.at)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * _schedule(self.step, config.steps)
        for name, parameter in self.model.denoiser.named_parameters():
            parameter.requires_grad_(self.step >= config.unfreeze and not name.endswith("tau"))
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
        ):
            scales = self.model.mask(samples.guide, samples.sigma, samples.dial)
        restored = shrink(self.model.denoiser, samples.noisy, samples.sigma, scales)
        error = (restored - samples.clean).square().mean(dim=(1, 2, 3))
        loss = (samples.weight * error).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._draw_ahead(self.samples.at)
        return float(loss.detach())


def _started(config: GuidedConfig) -> GuidedDenoiser:
    """A guided denoiser that is trained further, or a new one made of a plain denoiser."""
    path = shipped(config.in_channels, "guided") if config.initial == "guided" else config.initial
    if "mask" in read_weights(path, config.in_channels).architecture:
        return GuidedDenoiser(config.in_channels, pretrained=path)
    model = GuidedDenoiser.starting_from(
        LipschitzDenoiser.from_weights(path, config.in_channels),
        channels=config.mask_channels,
        blocks=config.mask_blocks,
        limit=config.mask_limit,
    )
    if config.mask_initial:
        _lend(config.mask_initial, model)
    return model


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
