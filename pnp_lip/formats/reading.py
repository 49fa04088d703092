"""Which library reads a file: its first bytes decide, not its name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from PIL import UnidentifiedImageError

from pnp_lip.formats.arrays import raster_of_array, read_array
from pnp_lip.formats.pillow import read_pillow
from pnp_lip.formats.raster import ImageFileError, Raster
from pnp_lip.formats.tiff import read_tiff

__all__ = ["SUFFIXES", "read_raster", "require_suffix"]

#: Suffixes of files that can be written, and of arrays that can only be read.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_READ_ONLY = (".npz", ".mat")

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ARRAYS = (b"\x93NUMPY", b"PK")


def read_raster(path: str | Path, *, volumes: bool = False) -> Raster:
    """The pixels of a PNG, JPEG, TIFF, NPY, NPZ or MAT file.

    Parameters
    ----------
    path
        the file; ``FILE.npz:NAME`` and ``FILE.mat:NAME`` name one array of several.
    volumes
        read an array of three axes as the slices of a volume, and not as a colour image.

    Raises
    ------
    ImageFileError
        no such file, an unknown suffix, a damaged file, or contents that are not
        understood, by name.
    """
    if re.match(r"[a-z]+://", str(path)):
        raise ImageFileError(f"{path} is an address: download the file and name the copy")
    path, name = _member(Path(path))
    _require_file(path)
    require_suffix(path, (*SUFFIXES, *_READ_ONLY))
    try:
        return _reader(path, name, volumes)(path)
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageFileError(
            f"{path} is no PNG, JPEG or TIFF file, whatever its name says: save it as one"
        ) from error
    except MemoryError as error:
        raise ImageFileError(f"{path} is too large for the memory of this machine") from error
    except Exception as error:  # decoders raise anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageFileError(f"{path} cannot be read as an image: {reason}") from error


def require_suffix(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Raise :class:`ImageFileError` unless the suffix is one this package knows."""
    if path.suffix.lower() not in suffixes:
        raise ImageFileError(
            f"unknown suffix '{path.suffix}' of {path}: expected one of {', '.join(suffixes)}"
        )


def _member(path: Path) -> tuple[Path, str | None]:
    """The file and the name of the array in it, ``FILE:NAME``."""
    file, colon, name = str(path).rpartition(":")
    if colon and Path(file).suffix.lower() in _READ_ONLY and Path(file).is_file():
        return Path(file), name
    return path, None


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder: name the files in it")
    if not path.is_file() and path.suffix.lower() in ("", *SUFFIXES, *_READ_ONLY):
        raise ImageFileError(f"no such file: {path}{_similar(path)}")
    if path.is_file() and path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes)")


def _similar(path: Path) -> str:
    """The file of that folder whose name is close to a mistyped one."""
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent})"
    names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f" (did you mean {path.with_name(close[0])}?)" if close else ""


def _reader(path: Path, name: str | None, volumes: bool) -> Callable[[Path], Raster]:
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(_TIFF):
        return read_tiff
    if start.startswith(_ARRAYS) or path.suffix.lower() in (".npy", *_READ_ONLY):
        return lambda file: raster_of_array(read_array(file, name), volumes=volumes)
    return read_pillow
