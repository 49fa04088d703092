"""Many images with one command: a folder of results, a table of them, and what is done stays done."""

from __future__ import annotations

import argparse
import csv
import glob
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pnp_lip.cli.failure import described
from pnp_lip.errors import InputError
from pnp_lip.files import write_text
from pnp_lip.formats.ome_zarr import is_zarr
from pnp_lip.formats.reading import SUFFIXES

__all__ = ["each"]

TABLE = "results.csv"
_COLUMNS = (
    "image",
    "output",
    "exit_code",
    "status",
    "iterations",
    "residual",
    "psnr_observation",
    "psnr_restoration",
    "message",
)
#: Formats that lose nothing, in which a result is written like its input.
_KEPT = (".png", ".tif", ".tiff", ".npy", ".zarr")


def each(options: argparse.Namespace, one: Callable[[argparse.Namespace], dict[str, Any]]) -> int:
    """Run a command on its image, or on each of several.

    Parameters
    ----------
    options
        of the command line; ``images`` may hold files, folders and patterns.
    one
        the command for the single image ``options.image``, which it need not repeat where
        ``options.resume`` is set and an earlier run finished it; returns its report, with the exit
        code as ``"exit_code"``.

    Returns
    -------
    int
        The exit code, of several images the largest.

    Raises
    ------
    InputError
        several images without a folder for their results, or with the same name.
    """
    images = [file for name in options.images for file in _files(name)]
    if len(images) < 2 and not _is_folder(options.output):
        options.image, options.resume = images[0] if images else None, False
        return int(one(options)["exit_code"])
    folder = _folder(options.output, len(images))
    outputs = [folder / _result_name(Path(image)) for image in images]
    _require_distinct(outputs)
    return _run(options, one, images, outputs, _Table(folder / TABLE, options.force))


class _Table:
    """The rows so far, written anew after each image."""

    def __init__(self, path: Path, force: bool) -> None:
        if path.exists() and not force and not _is_table(path):
            raise InputError(f"{path} exists and is no table of results: move it, or use --force")
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def _run(
    options: argparse.Namespace,
    one: Callable[[argparse.Namespace], dict[str, Any]],
    images: Sequence[str],
    outputs: Sequence[Path],
    table: _Table,
) -> int:
    codes = [0]
    for number, (image, output) in enumerate(zip(images, outputs, strict=True), 1):
        print(f"[{number}/{len(images)}] {image}", flush=True)
        named = argparse.Namespace(
            **{**vars(options), "image": image, "output": str(output), "resume": True}
        )
        row = _attempt(named, one)
        codes.append(row["exit_code"])
        table.add({**row, "image": image, "output": str(output)})
    failed = sum(code != 0 for code in codes)
    print(f"{len(images) - failed} of {len(images)} without complaint; see {table.path}")
    return max(codes)


def _attempt(
    options: argparse.Namespace, one: Callable[[argparse.Namespace], dict[str, Any]]
) -> dict[str, Any]:
    """The report of one image, or why there is none: the others go on."""
    try:
        return one(options)
    except Exception as error:
        if options.traceback or isinstance(error, BrokenPipeError):
            raise
        code, sentence = described(error)
        print(f"pnp-lip {options.command}: {sentence}", file=sys.stderr)
        return {"exit_code": code, "status": "FAILED", "message": sentence}


def _files(name: str) -> list[str]:
    """A file as it is; the images of a folder; what a pattern matches where no shell expanded it."""
    path = Path(name)
    if is_zarr(path):
        return [name]
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if _is_image(entry))
        if not found:
            raise InputError(f"no images ({', '.join(SUFFIXES)}) in the folder {path}")
        return [str(entry) for entry in found]
    if not path.exists() and (matches := sorted(glob.glob(name))):
        return matches
    return [name]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(".figure.png")


def _is_folder(output: str | None) -> bool:
    if output is None or is_zarr(output):
        return False
    return output.endswith(("/", "\\")) or Path(output).is_dir()


def _folder(output: str | None, count: int) -> Path:
    if output is None:
        raise InputError(f"{count} images need a folder for their results: -o FOLDER/")
    path = Path(output)
    if path.is_file():
        raise InputError(f"{count} images need a folder for their results, {path} is a file")
    if not path.is_dir() and not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}: create it first")
    path.mkdir(exist_ok=True)
    return path


def _result_name(image: Path) -> str:
    """The name of the input, in a format that loses nothing."""
    suffix = image.suffix.lower()
    if suffix in (".npz", ".mat"):
        return f"{image.stem}.npy"
    return image.name if suffix in _KEPT else f"{image.stem}.png"


def _require_distinct(outputs: Sequence[Path]) -> None:
    stems: dict[str, Path] = {}
    for output in outputs:
        if output.stem in stems:
            raise InputError(
                f"two images would share the report {output.stem}.json: restore them into different "
                "folders"
            )
        stems[output.stem] = output


def _is_table(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().strip() == ",".join(_COLUMNS)
