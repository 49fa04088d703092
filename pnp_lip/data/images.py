"""Image files as arrays in [0, 1], and back with their bit depth kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import png
import torch
from numpy.typing import DTypeLike
from skimage import io
from skimage.color import rgb2gray
from torch import Tensor

from pnp_lip.errors import PnpLipError
from pnp_lip.files import atomic_path

__all__ = [
    "Image",
    "ImageFileError",
    "read_image",
    "require_suffix",
    "to_channels",
    "write_image",
    "write_pair",
]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")


class ImageFileError(PnpLipError, ValueError):
    """A file that cannot be read or written as an image; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Image:
    """An image and how it was stored.

    Attributes:
        pixels: ``[1, C, H, W]`` float32 in [0, 1], with ``C`` 1 (grey) or 3 (colour).
        dtype: type of the stored numbers: ``uint8``, ``uint16`` or ``float32``.
    """

    pixels: Tensor
    dtype: np.dtype


def read_image(path: str | Path) -> Image:
    """Read a grey or colour image (PNG, JPEG, TIFF or NPY; 8 bit, 16 bit or float in [0, 1]).

    Raises:
        ImageFileError: no such file, an unknown suffix, an unreadable file, a wrong shape, or
            numbers that are not finite or outside [0, 1].
    """
    path = Path(path)
    require_suffix(path)
    if not path.is_file():
        raise ImageFileError(f"no such file: {path}")
    try:
        array = _read_array(path)
    except (OSError, ValueError, SyntaxError, png.Error) as error:
        raise ImageFileError(f"{path} cannot be read as an image: {error}") from error
    try:
        pixels = to_channels(array)
    except ValueError as error:
        raise ImageFileError(f"{path}: {error}") from error
    dtype = array.dtype if array.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    return Image(torch.from_numpy(pixels.astype(np.float32))[None], dtype)


def write_image(path: str | Path, pixels: Tensor, dtype: DTypeLike = np.uint8) -> None:
    """Write ``pixels`` (``[1, C, H, W]``, clipped to [0, 1]) atomically.

    Args:
        path: PNG, TIFF or NPY keep 16 bits; JPEG has 8.
        pixels: the image.
        dtype: ``uint8``, ``uint16`` or ``float32`` (TIFF and NPY only; PNG then gets 16 bits).

    Raises:
        ImageFileError: an unknown suffix, or a place that cannot be written.
    """
    path = Path(path)
    require_suffix(path)
    array = pixels[0].detach().clamp(0, 1).cpu().numpy().transpose(1, 2, 0)
    array = array[..., 0] if array.shape[-1] == 1 else array
    stored = _quantise(array, _storable(path, np.dtype(dtype)))
    try:
        with atomic_path(path) as temporary:
            _write_array(temporary, stored)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


def write_pair(
    x: Tensor, y: Tensor, folder: str | Path, name: str = "counterexample"
) -> list[Path]:
    """Write ``x`` and ``y`` unrounded as ``NAME_x.npy`` and ``NAME_y.npy``; images of one or three
    channels also as PNG, clipped to [0, 1], to look at."""
    written = []
    for letter, image in (("x", x), ("y", y)):
        path = Path(folder) / f"{name}_{letter}.npy"
        with atomic_path(path) as temporary:
            np.save(temporary, image.detach().cpu().numpy())
        written.append(path)
        if image.ndim == 4 and image.shape[1] in (1, 3):
            write_image(path.with_suffix(".png"), image)
            written.append(path.with_suffix(".png"))
    return written


def to_channels(array: np.ndarray, channels: int | None = None) -> np.ndarray:
    """An array as read from a file as ``[C, H, W]`` in [0, 1]; an alpha channel is dropped.

    Args:
        array: ``[H, W]``, ``[H, W, 1]``, ``[H, W, 3]`` or ``[H, W, 4]``; integers are divided by
            their largest value, floats must lie in [0, 1].
        channels: turn the image to this many channels (1: luminance, 3: grey three times).

    Raises:
        ValueError: another shape or type, or numbers not finite or outside [0, 1].
    """
    values = _in_unit_range(np.asarray(array))
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[-1] not in (1, 3, 4) or 0 in values.shape:
        raise ValueError(
            f"expected an image of shape (H, W), (H, W, 3) or (H, W, 4), got {np.shape(array)}"
        )
    values = values[..., :3]
    if channels == 1 and values.shape[-1] == 3:
        values = rgb2gray(values)[..., None]
    elif channels == 3 and values.shape[-1] == 1:
        values = np.repeat(values, 3, axis=-1)
    return values.transpose(2, 0, 1)


def _read_array(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if _is_deep_png(path):
        width, height, rows, info = png.Reader(filename=str(path)).asDirect()
        return np.vstack([np.asarray(row, np.uint16) for row in rows]).reshape(
            height, width, info["planes"]
        )
    return np.asarray(io.imread(path))


def _write_array(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix.lower() == ".png" and array.dtype == np.uint16:
        png.from_array(array.reshape(len(array), -1), "L;16" if array.ndim == 2 else "RGB;16").save(
            str(path)
        )
    else:
        io.imsave(path, array, check_contrast=False)


def _is_deep_png(path: Path) -> bool:
    """Whether this is a PNG of 16 bits, of which Pillow would keep 8 in colour."""
    with path.open("rb") as file:
        header = file.read(25)
    return header[:8] == b"\x89PNG\r\n\x1a\n" and header[24:25] == b"\x10"


def _in_unit_range(array: np.ndarray) -> np.ndarray:
    if array.dtype == bool:
        return array.astype(np.float64)
    if array.dtype in (np.uint8, np.uint16):
        return array / float(np.iinfo(array.dtype).max)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"expected 8-bit, 16-bit or floating-point pixels, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError("the image contains NaN or infinite pixels: replace them first")
    if array.size and (array.min() < 0 or array.max() > 1):
        raise ValueError(
            f"floating-point pixels must lie in [0, 1], got [{array.min():g}, {array.max():g}]: "
            f"divide the image by its largest possible value"
        )
    return array.astype(np.float64)


def require_suffix(path: Path) -> None:
    """Raise :class:`ImageFileError` unless the suffix is one this package reads and writes."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ImageFileError(
            f"unknown suffix '{path.suffix}' of {path}: expected one of {', '.join(_SUFFIXES)}"
        )


def _storable(path: Path, dtype: np.dtype) -> np.dtype:
    """The type closest to ``dtype`` that the format of ``path`` can hold."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return np.dtype(np.uint8)
    if path.suffix.lower() == ".png" and dtype == np.float32:
        return np.dtype(np.uint16)
    return dtype


def _quantise(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.floating):
        return array.astype(dtype)
    return np.round(array * np.iinfo(dtype).max).astype(dtype)
