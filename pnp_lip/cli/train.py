"""``pnp-lip train``: train a denoiser from a configuration, or continue a run that was cut."""

from __future__ import annotations

import argparse
import os
import tomllib
from dataclasses import fields
from pathlib import Path

from pnp_lip.cli.door import require_device
from pnp_lip.errors import InputError
from pnp_lip.training import (
    GuidedConfig,
    GuidedTraining,
    Processes,
    Training,
    TrainingConfig,
    train_with_progress,
)
from pnp_lip.weights import shipped_configurations

__all__ = ["train"]

_GUIDED_KEYS = {f.name for f in fields(GuidedConfig)} - {f.name for f in fields(TrainingConfig)}
_WRITTEN, _CHECKPOINT = ("weights.safetensors", "curve.json"), "checkpoint.safetensors"


def train(options: argparse.Namespace) -> int:
    """Train a denoiser and certify it at every evaluation."""
    require_device(options.device)
    config = _config(options.config)
    _require_own_folder(Path(options.folder))
    if isinstance(config, GuidedConfig):
        return _train_guided(config, options)
    processes = Processes.join(options.device)
    try:
        device = processes.device(options.device)
        training = Training(config, options.folder, device, processes)
        train_with_progress(training)
    finally:
        processes.leave()
    if processes.first:
        print(f"wrote {training.weights}")
    return 0


def _train_guided(config: GuidedConfig, options: argparse.Namespace) -> int:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise InputError(f"a guided denoiser is trained by one process, got {processes}")
    training = GuidedTraining(config, options.folder, options.device)
    train_with_progress(training)
    print(f"wrote {training.weights}")
    return 0


def _require_own_folder(folder: Path) -> None:
    """A run continues from its checkpoint; weights without one are somebody else's and stay."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: the run needs a folder")
    foreign = [name for name in _WRITTEN if (folder / name).exists()]
    if foreign and not (folder / _CHECKPOINT).exists():
        raise InputError(
            f"{folder / foreign[0]} exists without the checkpoint of a run: choose another --folder"
        )


def _config(given: str) -> TrainingConfig:
    """The configuration in a file, whose name every complaint carries, or a shipped one by its name."""
    names = shipped_configurations()
    path = str(names[given]) if given in names and not Path(given).exists() else given
    if not Path(path).is_file():
        raise InputError(
            f"No such file or directory: {path}; shipped configurations are {', '.join(sorted(names))}"
        )
    try:
        with Path(path).open("rb") as file:
            guided = bool(_GUIDED_KEYS & tomllib.load(file).keys())
        return (GuidedConfig if guided else TrainingConfig).read(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except (ValueError, TypeError) as error:
        text = str(error)
        raise InputError(text if path in text else f"{path}: {text}") from error
