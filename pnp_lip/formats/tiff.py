"""TIFF, read and written by tifffile; Pillow helps with compressions that need a library here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from tifffile import PHOTOMETRIC, TiffFile, TiffPageSeries, imwrite

from pnp_lip.formats.pillow import from_pillow, open_quietly
from pnp_lip.formats.raster import ImageFileError, Raster, Storage
from pnp_lip.formats.tiff_samples import NEGATIVE, colours_of, raster_of_series, stack_axes
from pnp_lip.formats.tiff_scale import scale_of

__all__ = ["read_tiff", "write_tiff"]

_DIRECT = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
#: Colour models that Pillow converts.
_BY_PILLOW = (PHOTOMETRIC.YCBCR, PHOTOMETRIC.SEPARATED)
_REDUCED = 1


def read_tiff(path: Path) -> Raster:
    """All pages of a TIFF file; which axes are pages and which are colours its metadata say.

    Raises
    ------
    ImageFileError
        pages of several sizes, colours that are not understood (by name), or a
        compression that neither tifffile nor Pillow can undo here.
    ImportError, ValueError
        from tifffile.
    """  # noqa: DOC501
    with _quietly(), TiffFile(path) as file:
        series = _only_series(file)
        page, scale = series.keyframe, scale_of(file, series)
        if page.photometric in _BY_PILLOW:
            return _by_pillow(path, series, f"its colours are {colours_of(page)}", scale)
        if page.photometric not in _DIRECT:
            raise ImageFileError(f"its colours are {colours_of(page)}: save it as RGB or grey")
        try:
            values = series.asarray()
        except (ValueError, NotImplementedError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
            coding = getattr(page.compression, "name", page.compression)
            return _by_pillow(path, series, f"it is compressed by {coding}", scale)
        _require_whole(file, series)
        return raster_of_series(values, series, scale, dumped=bool(file.is_shaped))


def write_tiff(path: Path, pages: NDArray[Any], storage: Storage) -> None:
    """Write ``[N, H, W, C]`` as one image, or as the stack whose axes ``storage`` names."""
    colour = pages.shape[-1] == 3
    negative = storage.negative and not colour
    if negative:
        pages = (storage.white - pages).astype(pages.dtype)
    photometric = "rgb" if colour else "miniswhite" if negative else "minisblack"
    shape = pages.shape[1:] if colour else pages.shape[1:-1]
    options = dict(storage.scale)
    if storage.axes:
        shape = (*storage.shape, *shape)
        axes = storage.axes + ("YXS" if colour else "YX")
        options["metadata"] = {**options.get("metadata", {}), "axes": axes}
    pages = pages.reshape(shape)
    imwrite(path, pages, photometric=photometric, iccprofile=storage.profile, **options)


def _only_series(file: TiffFile) -> TiffPageSeries:
    """The images of full size; smaller copies of them (thumbnails, pyramids) do not count."""
    full = [
        series for series in file.series if not int(series.keyframe.subfiletype or 0) & _REDUCED
    ]
    if not full:
        raise ImageFileError("it cannot be read as an image: it holds none, or is damaged")
    if len(full) > 1:
        shapes = ", ".join(str(series.shape) for series in full)
        raise ImageFileError(
            f"it holds {len(full)} images of several kinds ({shapes}): save the one you mean by itself"
        )
    return full[0]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the log of tifffile: what is wrong with a file is said once, by us."""
    log = logging.getLogger("tifffile")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _require_whole(file: TiffFile, series: TiffPageSeries) -> None:
    """tifffile may fill what a cut file lacks with zeros: say so instead."""
    for page in series.pages:
        if page is None:
            raise ImageFileError("the file is cut off: pages are missing")
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        if any(offset + count > file.filehandle.size for offset, count in segments):
            raise ImageFileError("the file is cut off: pixels are missing")


def _by_pillow(path: Path, series: TiffPageSeries, what: str, scale: dict[str, Any]) -> Raster:
    """Pages that tifffile cannot decode by itself, if Pillow keeps all of their samples.

    Raises
    ------
    ImageFileError
        Pillow cannot either; the remedy is the library that can.
    """
    try:
        with open_quietly(path, ("TIFF",)) as image:
            frames = [from_pillow(frame) for frame in ImageSequence.Iterator(image)]
    except ImageFileError as error:
        raise ImageFileError(f"{what}, and {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageFileError(
            f"{what}, which needs another library: pip install 'pnp-lip[formats]', or save it "
            "without compression, as RGB or grey"
        ) from error
    first, axes_shape = frames[0], stack_axes(series)
    _require_same(first, series, what)
    pages = np.concatenate([frame.pages for frame in frames])
    alphas = [frame.alpha for frame in frames if frame.alpha is not None]
    negative = series.keyframe.photometric == PHOTOMETRIC.MINISWHITE
    axes, shape = axes_shape
    storage = replace(first.storage, negative=negative, axes=axes, shape=shape, scale=scale)
    notes = (*first.notes, NEGATIVE) if negative else first.notes
    return Raster(pages, np.concatenate(alphas) if alphas else None, storage, notes)


def _require_same(frame: Raster, series: TiffPageSeries, what: str) -> None:
    """Refuse where Pillow drops samples, or does not turn a negative of more than 8 bits."""
    page = series.keyframe
    samples = frame.pages.shape[-1] + (frame.alpha is not None)
    stored = page.samplesperpixel
    deep = page.photometric == PHOTOMETRIC.MINISWHITE and frame.storage.dtype not in (
        bool,
        np.uint8,
    )
    converted = page.photometric in (*_BY_PILLOW, PHOTOMETRIC.PALETTE)
    if deep or (samples != stored and not converted):
        raise ImageFileError(f"{what}: pip install 'pnp-lip[formats]', or save it uncompressed")
