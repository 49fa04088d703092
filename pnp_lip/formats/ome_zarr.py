"""Zarr arrays and OME-Zarr images, read and written chunk by chunk."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pnp_lip.formats.raster import ImageFileError

if TYPE_CHECKING:
    import dask.array

__all__ = ["ZarrImage", "is_zarr", "read_zarr", "write_zarr"]

#: Every folder of an array or a group holds one of these files.
_MARKS = ("zarr.json", ".zarray", ".zgroup")
#: Axes of an array that says nothing about them, by their number.
_UNNAMED = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


@dataclass(frozen=True, eq=False)
class ZarrImage:
    """The full resolution of an image.

    Attributes
    ----------
    array
        a dask array of the stored numbers.
    axes
        its axes in OME's letters, such as ``"tczyx"``.
    attributes
        what OME says of the image, to be said of a result as well; empty for a plain array.
    zarr_format
        the version of the format, 2 or 3.
    """

    array: dask.array.Array
    axes: str
    attributes: Mapping[str, Any]
    zarr_format: int


def is_zarr(path: str | Path) -> bool:
    """Whether a name means a Zarr array or group: by its suffix, or because it is one."""
    path = Path(path)
    return path.suffix.lower() == ".zarr" or any((path / mark).is_file() for mark in _MARKS)


def read_zarr(path: str | Path) -> ZarrImage:
    """A Zarr array, or the first and largest level of an OME-Zarr image; nothing is read yet.

    Raises
    ------
    ImageFileError
        zarr or dask is not installed, no array and no OME image there, or axes without rows and
        columns at their end.
    """
    da, zarr = _libraries()
    try:
        node = zarr.open(str(path), mode="r")
    except Exception as error:  # whatever the store raises on what is no zarr
        raise ImageFileError(f"{path} cannot be opened as Zarr: {_line(error)}") from error
    if isinstance(node, zarr.Array):
        axes = _UNNAMED.get(node.ndim)
        if axes is None:
            raise ImageFileError(f"{path}: expected 2 to 5 axes, the array has {node.ndim}")
        return ZarrImage(da.from_zarr(node), axes, {}, node.metadata.zarr_format)
    scales = _multiscales(dict(node.attrs))
    if not scales:
        raise ImageFileError(
            f"{path} is a group without an OME image: name one of its arrays, {_names(node)}"
        )
    level = scales[0]["datasets"][0]
    array = node[level["path"]]
    if not isinstance(array, zarr.Array):
        raise ImageFileError(f"{path}: {level['path']} is no array")
    axes = _axes(scales[0], array.ndim)
    if not axes.endswith("yx") or len(axes) != array.ndim:
        raise ImageFileError(f"{path}: expected axes that end with rows and columns, got {axes}")
    said: dict[str, Any] = {"multiscales": [{**scales[0], "datasets": [{**level, "path": "0"}]}]}
    said = {"ome": {**dict(node.attrs)["ome"], **said}} if "ome" in dict(node.attrs) else said
    return ZarrImage(da.from_zarr(array), axes, said, node.metadata.zarr_format)


def write_zarr(path: str | Path, image: ZarrImage) -> None:
    """Compute and write an image: an array, or a group with one level where OME says something of it.

    It is written beside ``path`` first and moved there when it is whole.

    Raises
    ------
    ImageFileError
        zarr or dask is not installed, or ``path`` exists.
    """
    da, zarr = _libraries()
    path = Path(path)
    if path.exists():
        raise ImageFileError(f"{path} exists: choose another name, or remove it first")
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)  # of a run that was cut
    try:
        target = partial
        if image.attributes:
            group = zarr.open_group(str(partial), mode="w", zarr_format=image.zarr_format)
            group.attrs.update(image.attributes)
            target = partial / "0"
        store = zarr.create_array(
            str(target),
            shape=image.array.shape,
            chunks=tuple(sizes[0] for sizes in image.array.chunks),
            dtype=image.array.dtype,
            zarr_format=image.zarr_format,
        )
        da.store(image.array, store, lock=False)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("dask.array"), importlib.import_module("zarr")
    except ImportError as error:
        raise ImageFileError("Zarr needs zarr and dask: pip install 'pnp-lip[dask]'") from error


def _multiscales(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the versions 0.4 and 0.5 of the format keep it."""
    said = attributes.get("ome", attributes)
    found = said.get("multiscales", []) if isinstance(said, Mapping) else []
    return list(found) if isinstance(found, (list, tuple)) else []


def _axes(scale: Mapping[str, Any], count: int) -> str:
    axes = scale.get("axes")
    if not axes:
        return _UNNAMED.get(count, "")
    return "".join(str(a["name"] if isinstance(a, Mapping) else a)[:1].lower() for a in axes)


def _names(group: Any) -> str:
    return ", ".join(sorted(group.keys())) or "of which it has none"


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
