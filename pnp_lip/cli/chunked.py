"""``pnp-lip denoise`` on Zarr: images and volumes that do not fit in memory."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pnp_lip.cli.door import options_of, require_device, say
from pnp_lip.denoisers.chunks import denoise_chunks
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.errors import InputError
from pnp_lip.files import write_text
from pnp_lip.formats.ome_zarr import ZarrImage, read_zarr, write_zarr
from pnp_lip.recipes.claims import claims_of
from pnp_lip.recipes.networks import network
from pnp_lip.solvers.certificates import statement_of
from pnp_lip.versions import versions

__all__ = ["denoise_zarr"]

#: Voxels of a chunk at most, so that a window and what the network makes of it fit in memory.
_VOXELS = 2**22


def denoise_zarr(options: argparse.Namespace) -> dict[str, Any]:
    """Denoise ``options.image`` chunk by chunk into ``options.output``, with a report beside it.

    Returns
    -------
    dict[str, Any]
        what was written as the report.

    Raises
    ------
    InputError
        options that chunks do not have, a place that is taken, or numbers without a white level.
    """
    require_device(options.device)
    output = _output(options)
    image = read_zarr(options.image)
    origin = {"command": options_of(options), "inputs": {Path(options.image).name: _state(options)}}
    record = output.with_suffix(".json")
    if options.resume and output.exists() and (report := _earlier(record, origin)):
        print(f"done before: {output}")
        return report
    if output.exists() or record.exists():
        raise InputError(
            f"{output if output.exists() else record} exists: choose another name (-o), or remove it"
        )
    clean, report = _denoised(image, options)
    with _progress():
        write_zarr(output, clean)
    report = {**report, **origin, "exit_code": 0}
    write_text(record, json.dumps(report, indent=2) + "\n")
    print(f"wrote {output}, {record}")
    return report


def _denoised(image: ZarrImage, options: argparse.Namespace) -> tuple[ZarrImage, dict[str, Any]]:
    white = _white(image, options)
    used = network(1, options.weights, options.device)
    denoiser: Any = VolumeDenoiser(used.denoiser) if options.volume else used.denoiser
    if options.volume and not image.axes.endswith("zyx"):
        raise InputError(f"a volume has the axes zyx at its end, this image has {image.axes}")
    statement = statement_of(denoiser)
    say(f"axes {image.axes} of {image.array.shape}, white level {white:g}")
    brightness = _bounded(image, 3 if options.volume else 2).astype(np.float32) / white
    clean = denoise_chunks(brightness, denoiser, options.sigma).clip(0, 1) * white
    dtype = image.array.dtype
    clean = clean.round() if dtype.kind in "ui" else clean
    report = {
        "task": "denoising",
        "status": "DENOISED",
        "iterations": 1,
        "sigma": options.sigma,
        "lipschitz_upper": statement.upper,
        "averagedness": statement.averagedness,
        "certificate": claims_of(statement, used.sha256),
        "weights_sha256": used.sha256,
        "versions": versions(),
    }
    chunked = clean.astype(dtype).rechunk(image.array.chunks)
    return replace(image, array=chunked), report


def _bounded(image: ZarrImage, spatial: int) -> Any:
    """Chunks of one image or volume each, cut where they are too large."""
    array = image.array
    sides = [1] * (array.ndim - spatial) + list(array.chunksize[-spatial:])
    while np.prod(sides) > _VOXELS:
        largest = int(np.argmax(sides))
        sides[largest] = -(-sides[largest] // 2)
    return array.rechunk(tuple(sides))


def _output(options: argparse.Namespace) -> Path:
    for name in ("simulate", "guided", "report", "photons", "tile"):
        if getattr(options, name):
            raise InputError(f"Zarr is denoised plainly, chunk by chunk: leave out --{name}")
    if isinstance(options.sigma, str):
        raise InputError("the noise of an array in chunks is not estimated: state --sigma")
    if options.page is not None or options.depth_axis is not None:
        raise InputError("the axes of Zarr are its own: leave out --page and --depth-axis")
    output = Path(options.output or "denoise.zarr")
    if output.suffix.lower() != ".zarr":
        raise InputError(f"Zarr is written as Zarr: expected -o NAME.zarr, got {output}")
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent}: create it first")
    return output


def _white(image: ZarrImage, options: argparse.Namespace) -> float:
    dtype = image.array.dtype
    if options.white_level is not None:
        return float(options.white_level)
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    if dtype.kind == "f":
        return 1.0
    raise InputError(f"numbers of type {dtype} need their white level: --white-level NUMBER")


def _state(options: argparse.Namespace) -> str:
    """Names, sizes and times of all files: contents would have to be read twice."""
    root = Path(options.image)
    listed = sorted(
        (str(file.relative_to(root)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in root.rglob("*")
        if file.is_file()
    )
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _earlier(record: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if all(found.get(key) == value for key, value in origin.items()) else None


@contextlib.contextmanager
def _progress() -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from dask.diagnostics import ProgressBar

    with ProgressBar(out=sys.stderr):
        yield
