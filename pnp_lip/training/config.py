"""What a training run depends on."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from pnp_lip.errors import InputError

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a training run depends on; read from TOML by :meth:`read`.

    Attributes
    ----------
    in_channels, depth, nf, kernel_size
        sizes of the denoiser.
    inner_channels
        channels between the two factors of every filter bank, which is learned as their
        composition (:class:`~pnp_lip.constraints.FactoredFilters`); 0 learns the filters themselves.
    train, validation
        folders, see :func:`pnp_lip.data.patches.find_data`.
    validation_images
        how many images an evaluation takes, at most 320 x 320 pixels of each.
    patch, batch
        side of the patches in pixels, and patches a step of each process.
    steps
        length of the run.
    weight_rate, threshold_rate, share_rate
        largest learning rates of the filters, of the
        thresholds, and of the logits of the shares of the clips.
    noise_levels
        interval of the noise levels that are drawn, in units of 1/255.
    averagedness
        bound of the averagedness of every layer, in (0, 1].
    ema
        decay of the average of the weights that is evaluated and kept.
    evaluate_every
        steps between two evaluations and checkpoints.
    compile
        fuse the nonlinearities with ``torch.compile`` (a CPU needs a C++ compiler).
    seed
        of all randomness.
    initial
        weights to start from, a file, "default" or "large", also with
        ``inner_channels``; if empty,
        DCT frames, or random factors if ``inner_channels`` is not 0. Layers of a shallower network are
        repeated (:meth:`pnp_lip.LipschitzDenoiser.repeated`).
    precision
        of the convolutions, "float32" or "bfloat16" (autocast); weights, optimiser and
        constraint stay in float32.
    channels_last
        memory layout of images and filters, faster on GPUs.

    Raises
    ------
    InputError
        a value of another type or out of its range; the message names the key.
    """

    in_channels: int = 1
    depth: int = 8
    nf: int = 48
    kernel_size: int = 7
    inner_channels: int = 0
    train: tuple[str, ...] = ("bsds500/train", "bsds500/test")
    validation: str = "bsds500/val32"
    validation_images: int = 8
    patch: int = 64
    batch: int = 4
    steps: int = 50_000
    weight_rate: float = 5e-4
    threshold_rate: float = 3e-3
    share_rate: float = 3e-2
    noise_levels: tuple[float, float] = (0.0, 50.0)
    averagedness: float = 0.999
    ema: float = 0.999
    evaluate_every: int = 1000
    compile: bool = False
    seed: int = 0
    initial: str = ""
    precision: str = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        for key in fields(self):
            value = getattr(self, key.name)
            if not isinstance(value, _types(key.default)) or isinstance(value, bool) != isinstance(
                key.default, bool
            ):
                raise InputError(
                    f"{key.name} must be of type {type(key.default).__name__}, got {value!r}"
                )
        for names, allowed, right in _RANGES:
            for name in names:
                if not right(getattr(self, name)):
                    raise InputError(f"{name} must be {allowed}, got {getattr(self, name)!r}")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a TOML file whose keys are the attributes.

        Raises
        ------
        InputError
            unknown keys, named together with the known ones.
        """
        with Path(path).open("rb") as file:
            table = tomllib.load(file)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(table) - known):
            raise InputError(f"{path}: unknown keys {unknown}; expected some of {sorted(known)}")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in table.items()
        }
        return cls(**values)


def _types(default: Any) -> tuple[type, ...]:
    """Whole numbers are numbers too."""
    return (int, float) if isinstance(default, float) else (type(default),)


def _strings(value: tuple[Any, ...]) -> bool:
    return len(value) > 0 and all(isinstance(one, str) for one in value)


def _interval(value: tuple[Any, ...]) -> bool:
    numbers = all(isinstance(one, (int, float)) and math.isfinite(one) for one in value)
    return numbers and len(value) == 2 and 0 <= value[0] <= value[1] and value[1] > 0


#: Keys, what their values must be in words, and the same as a predicate.
_RANGES: tuple[tuple[tuple[str, ...], str, Callable[[Any], bool]], ...] = (
    (
        ("depth", "nf", "patch", "batch", "steps", "validation_images", "evaluate_every"),
        "at least 1",
        lambda value: value >= 1,
    ),
    (("in_channels",), "1 (grey) or 3 (colour)", lambda value: value in (1, 3)),
    (("kernel_size",), "odd and at least 1", lambda value: value >= 1 and value % 2 == 1),
    (("inner_channels", "seed"), "at least 0", lambda value: value >= 0),
    (
        ("weight_rate", "threshold_rate", "share_rate"),
        "a finite rate of at least 0",
        lambda value: math.isfinite(value) and value >= 0,
    ),
    (("averagedness",), "in (0, 1]", lambda value: 0 < value <= 1),
    (("ema",), "in [0, 1)", lambda value: 0 <= value < 1),
    (("train",), "one or more names of folders", _strings),
    (("noise_levels",), "two numbers 0 <= low <= high in units of 1/255", _interval),
    (("precision",), "'float32' or 'bfloat16'", lambda value: value in ("float32", "bfloat16")),
)
