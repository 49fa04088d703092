"""What a training run depends on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a training run depends on; read from TOML by :meth:`read`.

    Attributes:
        in_channels, depth, nf, kernel_size: sizes of the denoiser.
        middle: channels between the two factors of every filter bank, which is learned as their
            composition (:class:`~pnp_lip.layers.FactoredFilters`); 0 learns the filters themselves.
        train, validation: folders, see :func:`pnp_lip.data.find_data`.
        validation_images: how many images an evaluation takes, at most 320 x 320 pixels of each.
        patch, batch: side of the patches in pixels, and patches a step of each process.
        steps: length of the run.
        weight_rate, threshold_rate, share_rate: largest learning rates of the filters, of the
            thresholds, and of the logits of the shares of the clips.
        sigma: interval of the noise levels, in units of 1/255.
        averagedness: bound of the averagedness of every layer, in (0, 1].
        ema: decay of the average of the weights that is evaluated and kept.
        evaluate_every: steps between two evaluations and checkpoints.
        compile: fuse the nonlinearities with ``torch.compile`` (a CPU needs a C++ compiler).
        seed: of all randomness.
        initial: weights to start from, a file, "default" or "large", also with ``middle``; if empty,
            DCT frames, or random factors if ``middle`` is not 0. Layers of a shallower network are
            repeated (:meth:`pnp_lip.LipschitzDenoiser.repeated`).
        precision: of the convolutions, "float32" or "bfloat16" (autocast); weights, optimiser and
            constraint stay in float32.
        channels_last: memory layout of images and filters, faster on GPUs.

    Raises:
        ValueError: an unknown precision.
    """

    in_channels: int = 1
    depth: int = 8
    nf: int = 48
    kernel_size: int = 7
    middle: int = 0
    train: tuple[str, ...] = ("bsds500/train", "bsds500/test")
    validation: str = "bsds500/val32"
    validation_images: int = 8
    patch: int = 64
    batch: int = 4
    steps: int = 50_000
    weight_rate: float = 5e-4
    threshold_rate: float = 3e-3
    share_rate: float = 3e-2
    sigma: tuple[float, float] = (0.0, 50.0)
    averagedness: float = 0.999
    ema: float = 0.999
    evaluate_every: int = 1000
    compile: bool = False
    seed: int = 0
    initial: str = ""
    precision: str = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', got '{self.precision}'")

    @classmethod
    def read(cls, path: str | Path) -> TrainingConfig:
        """Read a TOML file whose keys are the attributes.

        Raises:
            ValueError: unknown keys, named together with the known ones.
        """
        with Path(path).open("rb") as file:
            table = tomllib.load(file)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(table) - known):
            raise ValueError(f"{path}: unknown keys {unknown}; expected some of {sorted(known)}")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in table.items()
        }
        return cls(**values)
