"""Masks: which pixels of an image are known, however a program stored that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.formats.raster import ImageFileError, Raster
from pnp_lip.formats.reading import read_raster

__all__ = ["Mask", "mask_of_alpha", "read_mask"]

#: From so many consecutive values on they are shades of grey and no labels.
_MOST_LABELS = 32


@dataclass(frozen=True, eq=False)
class Mask:
    """Known and missing pixels.

    Attributes
    ----------
    known
        ``[1, 1, H, W]`` float32, 1 where the pixel is known and 0 where it is missing.
    notes
        how the file was understood, where that was not plain.
    """

    known: Tensor
    notes: tuple[str, ...] = ()

    def inverted(self) -> Mask:
        """Known and missing exchanged."""
        return Mask(1 - self.known, self.notes)


def read_mask(path: str | Path) -> Mask:
    """Read a mask: bright pixels are known, dark ones missing.

    Of two values the larger is known, whatever they are: 0 and 255, 0 and 1, False and True. Labels
    0, 1, 2, ... are known where they are not 0. Colours (red on black, the palettes of annotation
    programs) mark what is missing on a background of one grey. Shades of grey are known above half of
    the full range, with a note. Where the picture is of one colour and its alpha channel is not, the
    alpha channel is the mask: opaque is known.

    Raises
    ------
    ImageFileError
        unreadable, a stack, negative or not finite numbers, or colours and alpha
        that contradict each other.
    """
    raster = read_raster(path)
    try:
        return _mask(raster)
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error


def mask_of_alpha(alpha: Tensor) -> Mask | None:
    """The mask in an alpha channel ``[1, 1, H, W]``: opaque is known; ``None`` if all of it is opaque."""
    known = (alpha > 0.5).float()
    if bool(known.all()):
        return None
    return Mask(known, ("transparent pixels count as missing",))


def _mask(raster: Raster) -> Mask:
    if len(raster.pages) != 1:
        raise ImageFileError(f"a mask is one image, this is a stack of {len(raster.pages)} pages")
    grey = raster.pages[0].astype(np.float64).mean(axis=-1)
    if not np.isfinite(grey).all() or grey.min() < 0:
        raise ImageFileError("a mask holds finite numbers >= 0: bright is known, 0 is missing")
    known, notes = _known(grey, raster)
    if raster.alpha is None or (raster.alpha > 0.5).all():
        return _as_mask(known, notes)
    opaque = raster.alpha[0] > 0.5
    if known.all() or not known.any():
        note = "the mask is in the alpha channel: opaque pixels are known, transparent ones missing"
        return _as_mask(opaque, (note,))
    if (known & opaque == known).all():
        return _as_mask(known, (*notes, "its alpha channel was not used"))
    raise ImageFileError(
        "its colours and its alpha channel name different pixels: save the mask without alpha"
    )


def _known(grey: NDArray[np.float64], raster: Raster) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    coloured = (raster.pages[0] != raster.pages[0][..., :1]).any(axis=-1)
    if coloured.any() and len(np.unique(grey[~coloured])) == 1:
        return ~coloured, (
            "its coloured pixels count as missing, as annotation programs mark them",
        )
    values = np.unique(grey)
    if len(values) == 1:
        return grey > 0, ()
    if len(values) == 2:
        low, high = values
        note = f"its two values are {low:g} and {high:g}: the larger marks known pixels"
        return grey == high, (note,) if low > 0 else ()
    if _are_labels(values, raster.pages):
        note = f"it holds the labels 0 to {values[-1]:g}: 0 counts as missing, the others as known"
        return grey > 0, (note,)
    half = _full_range(grey, raster) / 2
    between = np.mean((grey > values[0]) & (grey < values[-1]))
    note = (
        f"it is not two-valued ({len(values)} values, {100 * between:.3g} % of the pixels between the "
        f"darkest and the brightest): pixels above {half:g} count as known"
    )
    return grey > half, (note,)


def _are_labels(values: NDArray[np.float64], pages: NDArray[Any]) -> bool:
    """Whether the values are 0, 1, 2, ... in one channel."""
    few = len(values) <= _MOST_LABELS and pages.shape[-1] == 1
    return few and bool((values == np.arange(len(values))).all())


def _full_range(grey: NDArray[np.float64], raster: Raster) -> float:
    """White of 8 and 16 bits and of floats in [0, 1]; the largest value of anything else."""
    if raster.pages.dtype in (np.uint8, np.uint16):
        return raster.storage.white
    return max(1.0, float(grey.max())) if raster.pages.dtype.kind == "f" else float(grey.max())


def _as_mask(known: NDArray[np.bool_], notes: tuple[str, ...]) -> Mask:
    return Mask(torch.from_numpy(known.astype(np.float32))[None, None], notes)
