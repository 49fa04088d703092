"""Numbers that a scanner recorded: complex or real arrays in NPY, NPZ, MAT and HDF5."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_lip.errors import MissingFileError
from pnp_lip.formats.arrays import read_array
from pnp_lip.formats.raster import ImageFileError

__all__ = ["MEASUREMENT_SUFFIXES", "read_measurement"]

#: Suffixes of files that hold measurements.
MEASUREMENT_SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5")
_HDF5 = (".h5", ".hdf5")


def read_measurement(path: str | Path, expected: str | None = None) -> NDArray[Any]:
    """The array of numbers in a file; ``FILE:NAME`` names one of several.

    Parameters
    ----------
    path
        NPY, NPZ, MAT (up to 7.2) or HDF5 (needs h5py, ``pip install 'pnp-lip[h5]'``).
    expected
        name of the array that is taken where a file holds several and none is named, such as
        ``"kspace"``.

    Returns
    -------
    NDArray
        real or complex numbers, as stored.

    Raises
    ------
    MissingFileError
        no such file.
    ImageFileError
        another suffix, an unreadable file, no such array, several without a name, numbers that are
        not finite, or HDF5 without h5py.
    """
    if re.match(r"[a-z]+://", str(path)):
        raise ImageFileError(f"{path} is an address: download the file and name the copy")
    file, name = _member(Path(path))
    if file.suffix.lower() not in MEASUREMENT_SUFFIXES:
        raise ImageFileError(
            f"unknown suffix '{file.suffix}' of {file}: measurements are numbers in "
            f"{', '.join(MEASUREMENT_SUFFIXES)}"
        )
    if not file.is_file():
        raise MissingFileError(f"no such file: {file}")
    try:
        if file.suffix.lower() in _HDF5:
            array = _from_hdf5(file, name or expected, named=name is not None)
        else:
            array = _from_array(file, name, expected)
    except ImageFileError as error:
        raise ImageFileError(f"{file}: {error}") from error
    except (OSError, ValueError, EOFError) as error:
        raise ImageFileError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    if not np.isfinite(array).all():
        raise ImageFileError(f"{file} contains NaN or infinity: replace these numbers first")
    return array


def _member(path: Path) -> tuple[Path, str | None]:
    file, colon, name = str(path).rpartition(":")
    if colon and Path(file).suffix.lower() in MEASUREMENT_SUFFIXES:
        return Path(file), name
    return path, None


def _from_array(file: Path, name: str | None, expected: str | None) -> NDArray[Any]:
    if name is None and expected is not None:
        try:
            return read_array(file, expected, kinds="biufc")
        except ImageFileError:
            pass  # not called that: then there has to be a single one
    return read_array(file, name, kinds="biufc")


def _from_hdf5(file: Path, name: str | None, *, named: bool) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise ImageFileError("HDF5 needs h5py: pip install 'pnp-lip[h5]'") from error
    with h5py.File(file, "r") as content:
        found: dict[str, Any] = {}
        content.visititems(
            lambda key, item: found.update({key: item}) if _is_numeric(h5py, item) else None
        )
        if name not in found:
            shapes = ", ".join(f"{key} {item.shape}" for key, item in found.items()) or "none"
            if named or len(found) != 1:
                raise ImageFileError(
                    f"expected an array '{name}', it holds {shapes}: name the one you mean, FILE:NAME"
                )
            name = next(iter(found))
        values: NDArray[Any] = found[name][()]
    if values.dtype.names == ("r", "i"):  # as other libraries write complex numbers
        values = values["r"] + 1j * values["i"]
    return values


def _is_numeric(h5py: Any, item: Any) -> bool:
    return (
        isinstance(item, h5py.Dataset)
        and item.ndim > 0
        and (item.dtype.kind in "biufc" or item.dtype.names == ("r", "i"))
    )
