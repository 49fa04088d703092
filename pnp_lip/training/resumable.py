"""A run that can be stopped and continued: its files, its loop, and the average of its weights."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from pnp_lip.data.patches import read_folder
from pnp_lip.files import write_text
from pnp_lip.training.checkpoint import Checkpoint
from pnp_lip.training.config import TrainingConfig
from pnp_lip.training.evaluation import evaluate
from pnp_lip.training.processes import Processes
from pnp_lip.weights import write_weights

__all__ = ["ResumableRun"]

_Drawn = TypeVar("_Drawn")


class ResumableRun(ABC):
    """Iterate over :meth:`run` to advance; all randomness of a step must come from its number.

    Attributes
    ----------
    config, folder
        what is trained, and where ``checkpoint.safetensors``, ``weights.safetensors`` and
        ``curve.json`` live.
    device
        where it is trained.
    processes
        this process among those that train together.
    model, average
        the network and the average of its weights, which is what is kept.
    optimizer
        holds the constraint after each of its steps.
    step, curve
        how many steps were made, and every evaluation so far.
    """

    #: Share of a run in which no step depends on its length, so that this may still be changed.
    flat = 0.0
    #: A step and what was drawn for it.
    _ahead: tuple[int, Any] | None = None

    config: TrainingConfig
    folder: Path
    device: torch.device
    processes: Processes
    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer

    @abstractmethod
    def _advance(self) -> float:
        """Make one step; returns the loss."""

    def _drawn(self, at: Callable[[int], _Drawn]) -> _Drawn:
        """What ``at`` draws for this step, or drew while the GPU computed the last one."""
        if self._ahead is not None and self._ahead[0] == self.step:
            return cast(_Drawn, self._ahead[1])
        return at(self.step)

    def _draw_ahead(self, at: Callable[[int], _Drawn]) -> None:
        """Draw for the next step, where a GPU still computes this one."""
        if self.device.type != "cpu" and self.step + 1 < self.config.steps:
            self._ahead = self.step + 1, at(self.step + 1)

    def _parts(self) -> dict[str, nn.Module]:
        """What a checkpoint holds besides the moments of the optimiser."""
        return {"model": self.model, "average": self.average}

    def _certified(self) -> nn.Module:
        """What is proved averaged at every evaluation."""
        return self.average

    def _evaluated(self) -> dict[str, float]:
        """A row of the curve."""
        return evaluate(self.average, self.validation, self.step, self._certified())

    def _begin(self) -> None:
        """Read the validation images, and continue from a checkpoint if there is one."""
        images = read_folder(self.config.validation, self.config.in_channels)
        self.validation: list[Tensor] = [
            image[:, :320, :320] for image in images[: self.config.validation_images]
        ]
        self.step = 0
        self.curve: list[dict[str, float]] = []
        if self.checkpoint.is_file():
            self.step, self.curve = self._state().read(self.checkpoint, self.config, flat=self.flat)

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
            self.step += 1
            self._update_average()
            due = self.step % self.config.evaluate_every == 0 or self.step == self.config.steps
            if due and self.processes.first:
                self.curve.append(self._evaluated())
                self.save()
            yield loss

    def save(self) -> None:
        """Write checkpoint, averaged weights and curve, each atomically."""
        self._state().write(self.checkpoint, self.config, self.step, self.curve)
        write_weights(self.average, self.weights)
        write_text(self.folder / "curve.json", json.dumps(self.curve, indent=1) + "\n")

    def _state(self) -> Checkpoint:
        return Checkpoint(self._parts(), self.optimizer)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential averaging; the ball of admissible weights is convex, so it stays inside."""
        decay = min(self.config.ema, self.step / (self.step + 10))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
