"""Stored numbers as brightness in [0, 1]: black is 0, the white level is 1."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_lip.formats.raster import ImageFileError, Raster

__all__ = ["in_unit_range", "with_white_level"]

#: How far rounding may carry a pixel out of [0, 1], as a share of the range.
_ROUNDING = 1e-6
#: Full ranges of the detectors whose numbers come in 16 bits.
_DETECTORS = (8, 10, 12, 14)


def with_white_level(raster: Raster, white: float | None) -> Raster:
    """The raster with the white level the caller states, or with a note where it needs one.

    Raises
    ------
    ImageFileError
        a white level that is not positive, or below the brightest pixel.
    """
    if white is None:
        return raster.with_notes(*_unused_bits(raster))
    if not (math.isfinite(white) and white > 0):
        raise ImageFileError(f"the white level must be a positive number, got {white:g}")
    top = float(raster.pages.max())
    if top > white * (1 + _ROUNDING):
        raise ImageFileError(
            f"the brightest pixel is {top:g}, above the white level {white:g}: state the largest number "
            "that the camera can write"
        )
    return replace(raster, storage=replace(raster.storage, white=float(white)))


def in_unit_range(values: NDArray[Any], white: float | None = None) -> NDArray[np.float64]:
    """``values / white`` as float64, clipped where rounding left [0, 1].

    Parameters
    ----------
    values
        pixels of any real type.
    white
        the number that stands for 1; without it the largest of an 8- or 16-bit type, and 1
        for floats.

    Raises
    ------
    ValueError
        a type without a white level of its own, NaN, infinity, or numbers outside
        [0, white].
    """
    dtype = values.dtype
    if dtype.kind == "b":
        return values.astype(np.float64)
    if dtype.kind not in "uif":
        raise ValueError(f"expected real numbers, got {dtype}")
    if white is None:
        if dtype.kind in "ui" and dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"expected 8-bit, 16-bit or floating-point pixels, got {dtype}: state the number "
                "that stands for white (--white-level)"
            )
        white = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
    scaled = values.astype(np.float64) / white
    if not np.isfinite(scaled).all():
        raise ValueError("the image contains NaN or infinite pixels: replace them first")
    if scaled.size and (scaled.min() < -_ROUNDING or scaled.max() > 1 + _ROUNDING):
        raise ValueError(_outside(values, white))
    return scaled.clip(0, 1)


def _outside(values: NDArray[Any], white: float) -> str:
    low, high = float(values.min()), float(values.max())
    where = "[0, 1]" if white == 1 else f"[0, {white:g}]"
    if low < 0:
        remedy = f"subtract the smallest number first, here {low:.9g}"
    else:
        remedy = "divide by the number that stands for white, or state it (--white-level 255)"
    kind = "floating-point pixels" if values.dtype.kind == "f" else "pixels"
    return f"{kind} must lie in {where}, got [{low:.9g}, {high:.9g}]: {remedy}"


def _unused_bits(raster: Raster) -> tuple[str, ...]:
    """A word on 16-bit files whose numbers stop where a detector of fewer bits does."""
    if raster.storage.dtype != np.uint16 or raster.storage.white != 65535:
        return ()
    top = int(raster.pages.max())
    fits = [2**bits - 1 for bits in _DETECTORS if top < 2**bits]
    if not fits or top == 0:
        return ()
    return (
        f"16 bits, but the brightest pixel is {top}: if the camera has fewer bits, state its white "
        f"level (--white-level {fits[0]}), or the image counts as dark and its noise as weak",
    )
