"""What a scanner measured comes in, or something to measure; checked before anything is computed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_lip.cli.door import Given, require_device
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import solve
from pnp_lip.data.images import Image, read_image
from pnp_lip.data.phantoms import PHANTOMS, phantom
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.errors import InputError
from pnp_lip.formats.measurements import MEASUREMENT_SUFFIXES, read_measurement
from pnp_lip.formats.raster import Storage
from pnp_lip.formats.writing import require_storable
from pnp_lip.recipes.outputs import Outputs, digest
from pnp_lip.recipes.problem import Problem

__all__ = ["Scan", "scanned", "solve_scan", "tensor"]

_SIZE = 128
#: Options that do not change the result.
_ELSEWHERE = (
    *("image", "images", "output", "force", "report", "traceback", "run", "resume"),
    *("maps", "mask"),
)
_FILES = ("maps", "mask", "angles", "patterns")


@dataclass(frozen=True)
class Scan:
    """A measurement, or an image to measure.

    Attributes
    ----------
    numbers
        the measurement as its file holds it, or the image ``[1, 1, H, W]``.
    simulate
        whether they are an image that is to be measured first.
    outputs
        where the result goes.
    origin
        the command and the hashes of what it read, for the report.
    """

    numbers: Tensor
    simulate: bool
    outputs: Outputs
    origin: dict[str, Any]


def scanned(options: argparse.Namespace, expected: str | None = None) -> Scan:
    """Read the measurement of a command, or make the image it is to simulate one from.

    Parameters
    ----------
    options
        of the command line.
    expected
        name of the array to take from a file of several.

    Raises
    ------
    InputError
        a device, a file or a place that cannot be used.
    """
    require_device(options.device)
    name = options.image or PHANTOMS[1]
    suffix = Path(name.rpartition(":")[0] or name).suffix.lower()
    from_file = suffix in MEASUREMENT_SUFFIXES or Path(name).suffix.lower() in MEASUREMENT_SUFFIXES
    numbers = (
        tensor(read_measurement(name, expected))
        if from_file
        else _image(name, options.size or _SIZE)
    )
    count = _slices(numbers, options) if from_file and options.command == "mri" else 1
    place = options.output or f"{options.command}.{'tif' if count > 1 else 'png'}"
    outputs = Outputs(Path(place), options.force, options.report)
    require_storable(outputs.image, count, (1, 1), count > 1)
    files = [getattr(options, key, None) for key in _FILES]
    inputs = [_without_name(Path(file)) for file in (options.image, *files) if file]
    outputs.require_free(inputs)
    return Scan(numbers, not from_file, outputs, _origin(options, inputs))


def tensor(array: Any) -> Tensor:
    """Numbers of a file as float32 or complex64."""
    kind = np.complex64 if np.iscomplexobj(array) else np.float32
    return torch.from_numpy(np.ascontiguousarray(array, dtype=kind))


def solve_scan(
    scan: Scan,
    problems: Sequence[Problem],
    strength: Callable[[float], float],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Solve the problems of a scan, one for each slice, and write the result."""
    source = _source(scan, problems)
    if options.resume and (report := written_before(source)):
        return report
    posed = iter(problems)
    return solve(
        source, lambda page, noise: next(posed), lambda noise: strength(noise or 0.0), options
    )


def _source(scan: Scan, problems: Sequence[Problem]) -> Given:
    """The images before the restoration, stored in the units of the scan where the format has floats."""
    white = float(problems[0].settings.get("white", 1.0))
    pixels = torch.cat([problem.observation for problem in problems])
    several = len(problems) > 1
    axes, shape = ("Z", (len(problems),)) if several else ("", ())
    storage = Storage(np.dtype(np.uint8), 255.0, axes=axes, shape=shape)
    if scan.outputs.image.suffix.lower() in (".tif", ".tiff", ".npy"):
        storage = Storage(np.dtype(np.float32), white, axes=axes, shape=shape)
    return Given(Image(pixels, storage), scan.simulate, scan.outputs, scan.origin)


def _image(name: str, size: int) -> Tensor:
    """A square grey image by its name."""
    if name in PHANTOMS and not Path(name).exists():
        return phantom(name, size)
    if name in PHOTOGRAPHS and not Path(name).exists():
        image = photograph(name, size)
    elif Path(name).suffix == "":
        raise InputError(
            f"no such file: {name} (the phantoms are {', '.join(PHANTOMS)}, the photographs "
            f"{', '.join(PHOTOGRAPHS)})"
        )
    else:
        image = read_image(name).pixels
    grey = image.mean(dim=1, keepdim=True)
    side = min(size, *grey.shape[-2:])
    top, left = ((length - side) // 2 for length in grey.shape[-2:])
    return grey[..., top : top + side, left : left + side].contiguous()


def _slices(kspace: Tensor, options: argparse.Namespace) -> int:
    stacked = kspace.ndim == 4 or (kspace.ndim == 3 and options.slices)
    return len(kspace) if stacked else 1


def _without_name(path: Path) -> Path:
    file = Path(str(path).rpartition(":")[0])
    return file if not path.exists() and file.exists() else path


def _origin(options: argparse.Namespace, inputs: list[Path]) -> dict[str, Any]:
    command = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(options).items()
        if key not in _ELSEWHERE
    }
    return {
        "command": command,
        "inputs": {path.name: digest(path) for path in inputs if path.is_file()},
    }
