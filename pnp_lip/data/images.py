"""Image files as tensors in [0, 1], and back as they were stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from skimage.color import rgb2gray
from torch import Tensor

from pnp_lip.files import atomic_path
from pnp_lip.formats.raster import ImageFileError, Storage
from pnp_lip.formats.reading import read_raster, require_suffix
from pnp_lip.formats.units import in_unit_range, with_white_level
from pnp_lip.formats.writing import write_raster

__all__ = [
    "Image",
    "ImageFileError",
    "read_image",
    "read_stack",
    "require_suffix",
    "to_channels",
    "write_image",
    "write_pair",
]


@dataclass(frozen=True, eq=False)
class Image:
    """An image, or the pages of a stack, and how they were stored.

    Attributes
    ----------
    pixels
        ``[N, C, H, W]`` float32 in [0, 1], with ``C`` 1 (grey) or 3 (colour); ``N`` is 1 but
        for stacks.
    storage
        how they were stored: type, white level, colour profile, axes of a stack.
    alpha
        ``[N, 1, H, W]`` in [0, 1] where the file has an alpha channel, else ``None``.
    notes
        what a person should be told about how the file was read.
    """

    pixels: Tensor
    storage: Storage
    alpha: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the stored numbers, such as ``uint8`` or ``float32``."""
        return self.storage.dtype

    def page(self, number: int) -> Image:
        """One page of a stack, counted from 0, as an image of its own."""
        scale = {key: value for key, value in self.storage.scale.items() if "resolution" in key}
        storage = replace(self.storage, axes="", shape=(), scale=scale)
        alpha = None if self.alpha is None else self.alpha[number : number + 1]
        return Image(self.pixels[number : number + 1], storage, alpha, self.notes)


def read_image(
    path: str | Path, *, page: int | None = None, white_level: float | None = None
) -> Image:
    """Read a grey or colour image: PNG, JPEG, TIFF, or an array in NPY, NPZ or MAT.

    Parameters
    ----------
    path
        the file; ``FILE.npz:NAME`` names one of several arrays.
    page
        which page of a stack, from 0.
    white_level
        the stored number that stands for 1; the largest of 8- and 16-bit types and 1
        for floats without it.

    Raises
    ------
    ImageFileError
        no such file, an unknown suffix, an unreadable file, colours or a shape that
        are not understood, numbers outside [0, white], or a stack without a page.

    Examples
    --------
    >>> from pnp_lip.data import read_image
    >>> image = read_image("cells.tif", page=3)  # doctest: +SKIP
    >>> image.pixels.shape, image.notes  # doctest: +SKIP
    """
    image = read_stack(path, white_level=white_level)
    count = len(image.pixels)
    if page is None:
        if count > 1:
            raise ImageFileError(
                f"{path} is a stack of {count} pages (axes {image.storage.axes}): choose one, 0 to "
                f"{count - 1} (page)"
            )
        return image
    if not 0 <= page < count:
        raise ImageFileError(f"{path} has pages 0 to {count - 1}, got page {page}")
    return image.page(page)


def read_stack(path: str | Path, *, white_level: float | None = None) -> Image:
    """Read an image or all pages of a stack; arguments and errors as in :func:`read_image`."""
    raster = read_raster(path)
    try:
        raster = with_white_level(raster, white_level)
        stated = raster.storage.white if _has_white(raster.storage, white_level) else None
        values = in_unit_range(raster.pages, stated)
    except ValueError as error:
        raise ImageFileError(f"{path}: {error}") from error
    alpha = None if raster.alpha is None else torch.from_numpy(raster.alpha).float()[:, None]
    pixels = torch.from_numpy(values.astype(np.float32).transpose(0, 3, 1, 2).copy())
    return Image(pixels, _as_written(raster.storage), alpha, raster.notes)


def write_image(path: str | Path, pixels: Tensor, stored: Storage | DTypeLike = np.uint8) -> None:
    """Write ``pixels`` (``[N, C, H, W]``, clipped to [0, 1]) atomically; the folder is created.

    Parameters
    ----------
    path
        PNG, TIFF or NPY keep 16 bits; JPEG has 8. Stacks are TIFF or NPY.
    pixels
        the image, or the pages of a stack.
    stored
        the storage of the image it came from, or a type: ``uint8``, ``uint16`` or
        ``float32`` (TIFF and NPY only; PNG then gets 16 bits).

    Raises
    ------
    ImageFileError
        an unknown suffix, a format that cannot hold it, or a place that cannot be
        written.

    Examples
    --------
    >>> import tempfile
    >>> from pnp_lip.data import photograph
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/x.png", photograph("camera", size=32))
    ...     read_image(f"{folder}/x.png").pixels.shape
    torch.Size([1, 1, 32, 32])
    """
    values = pixels.detach().cpu().double().numpy().transpose(0, 2, 3, 1)
    write_raster(Path(path), values, _storage(stored, len(values)))


def to_channels(array: NDArray[Any], channels: int | None = None) -> NDArray[np.float64]:
    """An array as read from a file as ``[C, H, W]`` in [0, 1]; an alpha channel is dropped.

    Parameters
    ----------
    array
        ``[H, W]``, ``[H, W, 1]``, ``[H, W, 3]`` or ``[H, W, 4]``; integers are divided by
        their largest value, floats must lie in [0, 1].
    channels
        turn the image to this many channels (1: luminance, 3: grey three times).

    Raises
    ------
    ValueError
        another shape or type, or numbers not finite or outside [0, 1].
    """
    values = in_unit_range(np.asarray(array))
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


def write_pair(
    x: Tensor, y: Tensor, folder: str | Path, name: str = "counterexample"
) -> list[Path]:
    """Write ``x`` and ``y`` unrounded as ``NAME_x.npy`` and ``NAME_y.npy``.

    Images of one or three channels also become PNG, clipped to [0, 1], to look at.
    """
    written = []
    for letter, image in (("x", x), ("y", y)):
        path = Path(folder) / f"{name}_{letter}.npy"
        with atomic_path(path) as temporary:
            np.save(temporary, image.detach().cpu().numpy())
        written.append(path)
        if image.ndim == 4 and len(image) == 1 and image.shape[1] in (1, 3):
            write_image(path.with_suffix(".png"), image)
            written.append(path.with_suffix(".png"))
    return written


def _has_white(storage: Storage, stated: float | None) -> bool:
    """Whether the white level is known: stated, or the number of bits of an unsigned type."""
    return stated is not None or storage.dtype in (np.uint8, np.uint16)


def _as_written(storage: Storage) -> Storage:
    """Floats of any length are written as float32 in the units they came in."""
    if storage.dtype.kind == "f":
        return replace(storage, dtype=np.dtype(np.float32))
    return storage


def _storage(stored: Storage | DTypeLike, pages: int) -> Storage:
    if isinstance(stored, Storage):
        return stored
    dtype = np.dtype(stored)
    white = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
    several = pages > 1
    return Storage(dtype, white, axes="Z" if several else "", shape=(pages,) if several else ())
