"""Which library writes a file: its suffix decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_lip.files import atomic_path
from pnp_lip.formats.pillow import write_pillow
from pnp_lip.formats.raster import ImageFileError, Storage
from pnp_lip.formats.reading import require_suffix
from pnp_lip.formats.tiff import write_tiff

__all__ = ["require_storable", "stored_as", "write_raster"]

_JPEG = (".jpg", ".jpeg")
_TIFF = (".tif", ".tiff")
_LARGEST_JPEG = 65500


def stored_as(path: Path, storage: Storage) -> Storage:
    """The storage closest to ``storage`` that the format of ``path`` can hold."""
    suffix, dtype = path.suffix.lower(), storage.dtype
    if dtype.kind == "b" or (suffix in _JPEG and dtype != np.uint8):
        storage = replace(storage, dtype=np.dtype(np.uint8), white=255.0)
    elif suffix == ".png" and dtype not in (np.uint8, np.uint16):
        storage = replace(storage, dtype=np.dtype(np.uint16), white=65535.0)
    if storage.scale.get("imagej") and storage.dtype not in (np.uint8, np.uint16, np.float32):
        storage = replace(storage, scale={})
    return storage


def require_storable(path: Path, pages: int, size: tuple[int, int], stack: bool) -> None:
    """Refuse before long work what the format of ``path`` cannot hold.

    Raises
    ------
    ImageFileError
        an unknown suffix, a stack for a format of one image, too many pixels for JPEG.
    """
    require_suffix(path)
    suffix = path.suffix.lower()
    if (stack or pages > 1) and suffix not in (*_TIFF, ".npy"):
        raise ImageFileError(
            f"{path} cannot hold a stack of {pages} pages: write TIFF or NPY (-o NAME.tif)"
        )
    if suffix in _JPEG and max(size) > _LARGEST_JPEG:
        raise ImageFileError(
            f"{path}: JPEG ends at {_LARGEST_JPEG} pixels a side: write PNG or TIFF"
        )


def write_raster(path: Path, values: NDArray[np.floating[Any]], storage: Storage) -> None:
    """Write ``values`` ``[N, H, W, C]`` in [0, 1] atomically, stored as ``storage`` says.

    Raises
    ------
    ImageFileError
        a format that cannot hold it, or a place that cannot be written.
    """
    require_storable(path, len(values), values.shape[1:3], bool(storage.axes))
    storage = stored_as(path, storage)
    pages = _quantised(values, storage)
    try:
        with atomic_path(path) as temporary:
            _write(temporary, pages, storage)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _write(path: Path, pages: NDArray[Any], storage: Storage) -> None:
    suffix = path.suffix.lower()
    if suffix in _TIFF:
        write_tiff(path, pages, storage)
    elif suffix == ".npy":
        pages = pages[..., 0] if pages.shape[-1] == 1 else pages
        with path.open("wb") as file:  # numpy.save would append .npy to .NPY
            np.save(file, pages if storage.axes else pages[0])
    else:
        write_pillow(path, pages[0], storage.profile)


def _quantised(values: NDArray[np.floating[Any]], storage: Storage) -> NDArray[Any]:
    scaled = np.clip(values, 0, 1) * storage.white
    if np.issubdtype(storage.dtype, np.floating):
        return scaled.astype(storage.dtype)
    return np.round(scaled).astype(storage.dtype)
