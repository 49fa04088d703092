"""The state of a training run on disk, from which it continues to the same bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from pnp_lip.errors import InputError
from pnp_lip.files import atomic_path
from pnp_lip.training.config import TrainingConfig

__all__ = ["Checkpoint"]

Curve = list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """What is stored: modules by name, and the moments of the optimiser.

    Attributes
    ----------
    parts
        modules whose state dicts are stored, under their names.
    optimizer
        stored with the steps and moments of its parameters.
    """

    parts: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer

    def write(self, path: Path, config: TrainingConfig, step: int, curve: Curve) -> None:
        """Write everything to ``path`` atomically."""
        tensors = {
            f"{part}.{name}": value
            for part, module in self.parts.items()
            for name, value in module.state_dict().items()
        }
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        metadata = {
            "config": json.dumps(asdict(config), sort_keys=True),
            "step": str(step),
            "curve": json.dumps(curve),
        }
        stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with atomic_path(path) as temporary:
            temporary.write_bytes(serialised(stored, metadata))

    def read(self, path: Path, config: TrainingConfig, *, flat: float = 0.0) -> tuple[int, Curve]:
        """Load modules and optimiser from ``path``; returns the step and the curve.

        Parameters
        ----------
        path
            the file.
        config
            must be the stored one.
        flat
            share of the run with a constant learning rate, in which no step depends on the length
            of the run: up to there another length than the stored one is accepted.

        Raises
        ------
        InputError
            the file is damaged, or belongs to another configuration.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except SafetensorError as error:
            raise InputError(f"{path} is damaged ({error}): remove it to start over") from error
        stored, asked = (
            json.loads(metadata.get("config", "{}")),
            json.loads(json.dumps(asdict(config))),
        )
        lengths = stored.get("steps", 0), asked["steps"]
        if int(metadata.get("step", 0)) <= flat * min(lengths):
            stored["steps"] = asked["steps"]
        if stored != asked:
            raise InputError(
                f"{path} belongs to another configuration: use another folder, or remove it"
            )
        for part, module in self.parts.items():
            module.load_state_dict(_below(f"{part}.", tensors))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            states.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        return int(metadata["step"]), json.loads(metadata["curve"])


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
