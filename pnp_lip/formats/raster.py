"""Pixels as a file stores them, in one layout whatever the format: pages, rows, columns, samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_lip.errors import InputError

__all__ = [
    "TURNED",
    "ImageFileError",
    "Raster",
    "Storage",
    "from_samples",
    "grey_where_equal",
    "upright",
]

Numbers = NDArray[Any]
#: Sizes of a pixel in the words of OME.
_PIXEL_SIZES = ("PhysicalSizeX", "PhysicalSizeY")
#: Said of an image that was stored on its side.
TURNED = "turned as its orientation tag says"


class ImageFileError(InputError):
    """A file that cannot be read or written as an image; the message says what to do."""


@dataclass(frozen=True)
class Storage:
    """How the pixels of a file were stored, so that a result can be stored the same way.

    Attributes
    ----------
    dtype
        type of the stored numbers, in the byte order of this machine.
    white
        the stored number that stands for 1; black is 0.
    negative
        the file stores ``white - value`` (TIFF's MinIsWhite).
    profile
        the ICC colour profile, as bytes.
    axes
        letters of the axes that are pages, in TIFF's words (``"TZ"``); empty for one image.
    shape
        lengths of those axes.
    scale
        TIFF's resolution and description of the axes, as arguments of ``tifffile.imwrite``.
    """

    dtype: np.dtype[Any]
    white: float
    negative: bool = False
    profile: bytes | None = None
    axes: str = ""
    shape: tuple[int, ...] = ()
    scale: Mapping[str, Any] = field(default_factory=dict)

    def enlarged(self, factor: int) -> Storage:
        """The same for ``factor`` times as many pixels a side, which are that much smaller."""
        scale = dict(self.scale)
        if "resolution" in scale:
            scale["resolution"] = tuple(factor * density for density in scale["resolution"])
        if "metadata" in scale:
            scale["metadata"] = {
                key: value / factor if key in _PIXEL_SIZES else value
                for key, value in scale["metadata"].items()
            }
        return replace(self, scale=scale)


@dataclass(frozen=True, eq=False)
class Raster:
    """What a file holds.

    Attributes
    ----------
    pages
        ``[N, H, W, C]``, grey (``C = 1``) or red, green, blue (``C = 3``); black is 0.
    alpha
        ``[N, H, W]`` in [0, 1], or ``None``.
    storage
        how it was stored.
    notes
        what a reader should be told, one sentence each.
    """

    pages: Numbers
    alpha: NDArray[np.float64] | None
    storage: Storage
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> Raster:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def from_samples(samples: Numbers, storage: Storage, *, notes: tuple[str, ...] = ()) -> Raster:
    """A raster from ``[N, H, W, S]`` with S = 1 (grey), 2 (grey, alpha), 3 (colour), 4 (colour, alpha).

    Raises
    ------
    ImageFileError
        another number of samples, or no pixel at all.
    """
    count = samples.shape[-1]
    if count not in (1, 2, 3, 4) or 0 in samples.shape:
        raise ImageFileError(
            f"expected 1 to 4 samples a pixel (grey or colour, with or without alpha) and at least "
            f"one pixel, got shape {samples.shape[1:]}"
        )
    if count in (1, 3):
        return Raster(samples, None, storage, notes)
    alpha = samples[..., -1] / storage.white
    return Raster(samples[..., :-1], alpha, storage, notes)


def grey_where_equal(samples: Numbers) -> Numbers:
    """``[..., 3]`` as ``[..., 1]`` where red, green and blue are equal in every pixel."""
    if samples.shape[-1] == 3 and (samples == samples[..., :1]).all():
        return samples[..., :1]
    return samples


def upright(samples: Numbers, orientation: int) -> Numbers:
    """``[N, H, W, ...]`` as a viewer shows it, for the orientation 1 to 8 of EXIF and TIFF."""
    if orientation >= 5:  # the stored rows are the shown columns
        samples = samples.swapaxes(1, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[:, ::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, :, ::-1]
    return samples
