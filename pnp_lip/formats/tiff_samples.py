"""What the numbers of a TIFF file mean: which axes are pages, which samples are colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, PLANARCONFIG, TiffPage, TiffPageSeries

from pnp_lip.formats.raster import (
    TURNED,
    ImageFileError,
    Raster,
    Storage,
    from_samples,
    grey_where_equal,
    upright,
)

__all__ = ["colours_of", "raster_of_series", "stack_axes"]

NEGATIVE = "stored as a negative (MinIsWhite): read as a viewer shows it"
_ASSOCIATED, _UNASSOCIATED = 1, 2
_COLOUR = (PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)


def raster_of_series(
    values: NDArray[Any], series: TiffPageSeries, scale: dict[str, Any], *, dumped: bool
) -> Raster:
    """``[N, H, W, C]`` from an array whose axes the series names; Y, X and S are an image's own.

    Parameters
    ----------
    values
        the numbers as tifffile decodes them.
    series
        their description.
    scale
        size of the pixels, to be kept.
    dumped
        the file is an array that tifffile wrote: booleans are numbers there, although
        tifffile declares them a negative.

    Raises
    ------
    ImageFileError
        no rows and columns, or samples without a meaning.
    """
    page = series.keyframe
    samples = _pages_first(values, series.axes)
    if page.photometric == PHOTOMETRIC.PALETTE:
        samples = _coloured(samples[..., 0], page)
    _require_meaning(samples, page)
    samples = np.ascontiguousarray(upright(samples, _orientation(page)))
    white = _white(samples.dtype, page)
    negative = page.photometric == PHOTOMETRIC.MINISWHITE
    negative = negative and not (dumped and samples.dtype == bool)
    if negative:
        samples = ~samples if samples.dtype == bool else (white - samples).astype(samples.dtype)
    axes, shape = stack_axes(series)
    storage = Storage(samples.dtype, white, negative, page.iccprofile, axes, shape, scale)
    return from_samples(samples, storage, notes=_notes(storage, samples, page))


def stack_axes(series: TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Letters and lengths of the axes that are pages; none for a single image."""
    pairs = [
        (letter, int(length))
        for letter, length in zip(series.axes, series.shape, strict=True)
        if letter not in "YXS"
    ]
    if int(np.prod([length for _, length in pairs])) == 1:
        return "", ()
    return "".join(letter for letter, _ in pairs), tuple(length for _, length in pairs)


def colours_of(page: TiffPage) -> str:
    """The name of a page's colour model."""
    return str(getattr(page.photometric, "name", page.photometric))


def _pages_first(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """``[N, H, W, S]`` whatever the order of the axes."""
    if "Y" not in axes or "X" not in axes:
        raise ImageFileError(f"expected an image with rows and columns, got axes {axes}")
    outer = [index for index, letter in enumerate(axes) if letter not in "YXS"]
    inner = [axes.index(letter) for letter in "YXS" if letter in axes]
    values = values.transpose(*outer, *inner)
    if "S" not in axes:
        values = values[..., None]
    return values.reshape(-1, *values.shape[-3:])


def _require_meaning(samples: NDArray[Any], page: TiffPage) -> None:
    """Grey or colour with at most one alpha; other extra samples mean nothing that we know."""
    colours = 3 if page.photometric in _COLOUR and samples.shape[-1] > 1 else 1
    extras = [int(kind) for kind in page.extrasamples or ()]
    alpha = extras[:1] in ([_ASSOCIATED], [_UNASSOCIATED])
    if samples.shape[-1] not in (colours, colours + alpha):
        raise ImageFileError(
            f"it has {samples.shape[-1]} samples a pixel, but only {colours} of them are grey or "
            "colour: save its channels as pages of a stack"
        )


def _coloured(index: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Palette indices as the colours they stand for, in 8 bits where these suffice."""
    colours = np.moveaxis(np.asarray(page.colormap)[:, index], 0, -1)
    for step in (257, 256):
        if (colours % step == 0).all():
            colours = (colours // step).astype(np.uint8)
            break
    return grey_where_equal(colours)


def _white(dtype: np.dtype[Any], page: TiffPage) -> float:
    """The number that stands for white: of the bits that are used, not of the type that holds them."""
    if dtype.kind not in "ui":
        return 1.0
    bits = page.bitspersample
    if page.photometric == PHOTOMETRIC.PALETTE or dtype.kind == "i" or not isinstance(bits, int):
        return float(np.iinfo(dtype).max)
    return float(2**bits - 1)


def _orientation(page: TiffPage) -> int:
    value = page.tags.valueof(274, default=1)
    return int(value) if value in range(1, 9) else 1


def _notes(storage: Storage, samples: NDArray[Any], page: TiffPage) -> tuple[str, ...]:
    height, width = samples.shape[1:3]
    planes = page.photometric == PHOTOMETRIC.RGB and page.planarconfig == PLANARCONFIG.SEPARATE
    said = {
        TURNED: _orientation(page) != 1,
        NEGATIVE: storage.negative,
        f"{len(samples)} pages of {height} x {width} pixels: if this is a colour image, save it with "
        "photometric='rgb'": bool(storage.axes) and width in (3, 4) and height > 2 * width,
        f"its {samples.shape[-1]} planes are declared red, green, blue: if they are pages of a stack, "
        "save them with photometric='minisblack'": planes,
        "its colours are multiplied by its alpha channel: as if on black": (
            [int(kind) for kind in page.extrasamples or ()] == [_ASSOCIATED]
        ),
    }
    return tuple(sentence for sentence, holds in said.items() if holds)
