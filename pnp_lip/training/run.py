r"""Training of a nonexpansive denoiser: an ordinary optimiser and a hook that holds the constraint.

Minimises :math:`E\,w(s)\,\|D(x + s n, s) - x\|^2` over patches *x*, Gaussian noise *n* and noise
levels *s*, with :math:`w(s) \propto \max(s, s_0)^{-1.2}`: about the reciprocal of the error that is
left, so that every noise level gains the same number of decibels.

All randomness of step *k* comes from a generator seeded by ``(seed, k)`` and the number of the
process, and a checkpoint holds weights, averages and optimiser moments: a run cut at any step
continues to the same bits. Several processes average their gradients, so every one of them takes
the same step and holds the constraint on the same weights; the first evaluates and writes.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from pnp_lip.constraints import FactoredFilters, hold
from pnp_lip.data.patches import Photographs
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.errors import InputError
from pnp_lip.layers import ConvGradientStep
from pnp_lip.training.batches import Batches
from pnp_lip.training.config import TrainingConfig
from pnp_lip.training.evaluation import LEVELS, noise_weight
from pnp_lip.training.optimizer import make_optimizer, set_rates
from pnp_lip.training.processes import Processes
from pnp_lip.training.resumable import ResumableRun

__all__ = ["Training", "train_with_progress"]

_SIZES = ("in_channels", "depth", "nf", "kernel_size")


class Training(ResumableRun):
    """A run that can be stopped and continued; iterate over it to advance.

    Parameters
    ----------
    config
        see :class:`TrainingConfig`.
    folder
        where ``checkpoint.safetensors`` and ``curve.json`` live; a checkpoint found there
        is continued.
    device
        where to train.
    processes
        this process among those that train together; all need the same folder.

    Raises
    ------
    InputError
        the checkpoint belongs to another configuration, or is damaged; or the initial
        weights belong to another architecture.
    """

    model: LipschitzDenoiser
    average: LipschitzDenoiser

    def __init__(
        self,
        config: TrainingConfig,
        folder: str | Path,
        device: str = "cpu",
        processes: Processes = Processes(),  # noqa: B008  (it is frozen)
    ) -> None:
        self.config, self.folder, self.device = config, Path(folder), torch.device(device)
        self.processes = processes
        self.model = _initial(config).to(self.device)
        self.average = copy.deepcopy(self.model).eval()
        if config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.factors = None
        if config.inner_channels:
            self.factors = FactoredFilters(
                self.model, config.inner_channels, config.seed, keep=bool(config.initial)
            )
        self.optimizer = make_optimizer(self.model, self.factors, config)
        if self.factors is None:
            hold(self.model, self.optimizer, averagedness=config.averagedness)
        else:
            self.factors.hold(self.optimizer, averagedness=config.averagedness)
        self.average.load_state_dict(self.model.state_dict())
        if config.compile:
            for layer in self.model.layers:
                cast(ConvGradientStep, layer).activation.compile()
        photographs = Photographs(config.train, config.in_channels, config.patch, self.device)
        self.batches = Batches(config, photographs, self.device, processes.rank)
        self._begin()
        self.parallel: nn.Module = self.model
        if processes.size > 1:
            self.parallel = DistributedDataParallel(self.model)

    def _parts(self) -> dict[str, nn.Module]:
        parts = super()._parts()
        return parts if self.factors is None else parts | {"factors": self.factors}

    def _advance(self) -> float:
        config, batch = self.config, self._drawn(self.batches.at)
        set_rates(self.optimizer, self.step, config.steps)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
        ):
            restored = self.parallel(batch.noisy, batch.sigma)
        error = (restored - batch.clean).square().mean(dim=(1, 2, 3))
        loss = (noise_weight(batch.sigma) * error).mean()
        self.optimizer.zero_grad()
        loss.backward()
        if self.factors is not None:
            self.factors.pull_back()
        self.optimizer.step()
        self._draw_ahead(self.batches.at)
        return float(loss.detach())


def train_with_progress(training: ResumableRun) -> None:
    """Run to the end with a progress bar and a line for every evaluation."""
    config = training.config
    hidden = None if training.processes.first else True
    with tqdm(total=config.steps, initial=training.step, desc="training", disable=hidden) as bar:
        evaluations = len(training.curve)
        for loss in training.run():
            bar.update()
            bar.set_postfix_str(f"loss {loss:.2e}", refresh=False)
            if len(training.curve) > evaluations:
                evaluations = len(training.curve)
                tqdm.write(_line(training.curve[-1]))


def _line(evaluation: dict[str, float]) -> str:
    levels = "  ".join(f"sigma {level}: {evaluation[f'psnr_{level}']:.2f} dB" for level in LEVELS)
    proved = evaluation.get("averagedness")
    bound = "" if proved is None else f"  proved averagedness {proved:.4f}"
    return f"step {evaluation['step']:.0f}  {levels}{bound}"


def _initial(config: TrainingConfig) -> LipschitzDenoiser:
    """The denoiser before the first step.

    Initial weights that were pruned bring their own numbers of filters.

    Raises
    ------
    InputError
        initial weights of other images or sizes.
    """
    sizes: dict[str, Any] = {name: getattr(config, name) for name in _SIZES}
    if not config.initial:
        return LipschitzDenoiser(**sizes, pretrained=None)
    stored = LipschitzDenoiser.from_weights(config.initial, config.in_channels)
    times, rest = divmod(config.depth, stored.sizes["depth"])
    own = {"depth"} if isinstance(stored.sizes["nf"], int) else {"depth", "nf"}
    if rest or any(sizes[name] != stored.sizes[name] for name in sizes.keys() - own):
        raise InputError(
            f"the initial weights {config.initial} have the sizes {stored.sizes}, the configuration asks "
            f"for {sizes}: only the depth may differ, by a whole factor"
        )
    return stored.repeated(times).train()
