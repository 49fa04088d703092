"""NPY, NPZ and MAT: one numeric array of a file, never a pickled object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from pnp_lip.formats.raster import ImageFileError, Raster, Storage, from_samples

__all__ = ["raster_of_array", "read_array"]

_HELP = "name the one you mean, FILE:NAME"
#: Kinds of real numbers, in the letters of numpy.
_REAL = "biuf"


def read_array(path: Path, name: str | None = None, *, kinds: str = _REAL) -> NDArray[Any]:
    """The array in a NPY file, or the one called ``name`` in a NPZ or MAT file.

    Without a name a NPZ or MAT file must hold a single numeric array of two dimensions or more.

    Parameters
    ----------
    path
        the file.
    name
        of the array.
    kinds
        of numbers that count as numeric, in the letters of numpy; ``"c"`` are complex ones.

    Raises
    ------
    ImageFileError
        no numeric array, or several.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        return _numeric(np.load(path, allow_pickle=False), kinds)
    if start.startswith(b"PK"):
        with np.load(path, allow_pickle=False) as archive:
            return _chosen({key: _member(archive, key) for key in archive.files}, name, kinds)
    if path.suffix.lower() != ".mat":
        raise ImageFileError("it is not what numpy.save or numpy.savez writes")
    try:
        found = loadmat(path)
    except NotImplementedError as error:
        raise ImageFileError(
            "it is a MATLAB 7.3 file (HDF5): save it in MATLAB with save(..., '-v7')"
        ) from error
    return _chosen({key: value for key, value in found.items() if key[:2] != "__"}, name, kinds)


def raster_of_array(array: NDArray[Any], *, volumes: bool = False) -> Raster:
    """``[H, W]`` or ``[H, W, S]``, samples last, as one image.

    Parameters
    ----------
    array
        real numbers.
    volumes
        read three axes as slices, rows and columns instead.

    Raises
    ------
    ImageFileError
        another shape, with a word about stacks and channels that come first.
    """
    white = float(np.iinfo(array.dtype).max) if np.issubdtype(array.dtype, np.integer) else 1.0
    if volumes and array.ndim == 3 and array.size:
        return from_samples(
            array[..., None], Storage(array.dtype, white, axes="Z", shape=array.shape[:1])
        )
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[-1] not in (1, 2, 3, 4) or 0 in values.shape:
        raise ImageFileError(
            f"expected an image of shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}: "
            "channels come last; pages of a stack are read from TIFF, whose metadata name the axes"
        )
    return from_samples(values[None], Storage(array.dtype, white))


def _member(archive: np.lib.npyio.NpzFile, key: str) -> NDArray[Any]:
    """An array of the archive; one of objects counts as none."""
    try:
        member: NDArray[Any] = archive[key]
    except ValueError:
        return np.empty(0, object)
    return member


def _chosen(arrays: dict[str, Any], name: str | None, kinds: str) -> NDArray[Any]:
    numeric = {
        key: value
        for key, value in arrays.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in kinds
    }
    if name is not None:
        if name not in numeric:
            raise ImageFileError(f"it holds no numeric array '{name}', but {_names(numeric)}")
        return _numeric(numeric[name], kinds)
    images = {key: value for key, value in numeric.items() if value.ndim >= 2 and value.size > 1}
    if len(images) != 1:
        raise ImageFileError(f"expected one array, it holds {_names(images)}: {_HELP}")
    return _numeric(next(iter(images.values())), kinds)


def _names(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value.shape}" for key, value in arrays.items()) or "none"


def _numeric(array: NDArray[Any], kinds: str) -> NDArray[Any]:
    if array.dtype.kind not in kinds:
        which = "real" if kinds == _REAL else "real or complex"
        raise ImageFileError(f"expected {which} numbers, got an array of type {array.dtype}")
    return array.astype(array.dtype.newbyteorder("="))
