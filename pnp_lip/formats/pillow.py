"""PNG and JPEG, read and written by Pillow; PNG of 16 bits by pypng, since Pillow keeps 8 in colour."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import png
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from pnp_lip.formats.raster import (
    TURNED,
    ImageFileError,
    Raster,
    Storage,
    from_samples,
    grey_where_equal,
    upright,
)

__all__ = ["from_pillow", "open_quietly", "read_pillow", "write_pillow"]

_ORIENTATION = 0x0112
#: Modes of Pillow that hold grey or colour directly, with their samples.
_DIRECT = ("1", "L", "LA", "RGB", "RGBA", "I;16", "F")


def read_pillow(path: Path) -> Raster:
    """The picture in a PNG or JPEG file as a viewer shows it."""
    with open_quietly(path, ("PNG", "JPEG")) as image:  # Pillow opens MPO as JPEG
        if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
            raise ImageFileError("it is an animation: save the frame you mean as an image")
        if _is_deep_png(path):
            return _deep_png(path, image)
        return from_pillow(image)


def open_quietly(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """Open an image without Pillow's warning about large ones; damaged ones raise as they are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=formats)


def from_pillow(image: Image.Image) -> Raster:
    """The first frame of an opened image: upright, in grey or red, green and blue.

    Raises
    ------
    ImageFileError
        colours that cannot be converted, by the name of their model.
    """
    notes = []
    orientation = image.getexif().get(_ORIENTATION, 1)
    image = ImageOps.exif_transpose(image)
    if orientation in range(2, 9):
        notes.append(TURNED)
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        image, how = _rgb_of_cmyk(image, profile)
        profile = None
        notes.append(how)
    samples = _samples(image)
    storage = Storage(samples.dtype, _white(samples.dtype), profile=profile)
    return from_samples(samples[None], storage, notes=(*notes, *_profile_note(profile)))


def write_pillow(path: Path, pixels: NDArray[Any], profile: bytes | None) -> None:
    """Write ``[H, W, C]`` of 8 bits (PNG, JPEG) or 16 bits (PNG)."""
    if pixels.dtype == np.uint16:
        _write_deep_png(path, pixels, profile)
        return
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    options: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    if path.suffix.lower() != ".png":
        options |= {"quality": 95, "subsampling": 0}
    image.save(path, **options)


def _samples(image: Image.Image) -> NDArray[Any]:
    """``[H, W, S]`` of an image in any mode that has a meaning in grey or colour."""
    mode = image.mode
    if mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if mode == "PA" or "transparency" in image.info else "RGB")
    elif mode == "RGBX":
        image = image.convert("RGB")
    elif mode in ("La", "RGBa"):
        image = image.convert("LA" if mode == "La" else "RGBA")
    elif mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    elif mode == "I":
        return _unsigned(np.asarray(image))[..., None]
    elif mode == "YCbCr":
        image = image.convert("RGB")
    if image.mode not in _DIRECT:
        raise ImageFileError(f"its colours are stored as {image.mode}: save it as RGB or grey")
    values = np.asarray(image)
    values = values if values.ndim == 3 else values[..., None]
    if mode not in ("P", "PA"):
        return values
    colours = grey_where_equal(values[..., :3])
    return np.concatenate([colours, values[..., 3:]], axis=-1)


def _unsigned(values: NDArray[Any]) -> NDArray[Any]:
    """Pillow's mode I: 32 bits that come from 16 as a rule."""
    if values.size and values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max:
        return values.astype(np.uint16)
    return values


def _white(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def _rgb_of_cmyk(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Printing inks as sRGB: by their profile, or by the plain formula where there is none."""
    if profile is None:
        return image.convert(
            "RGB"
        ), "converted from CMYK to RGB without a profile: colours may differ"
    try:
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, io.BytesIO(profile), target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise ImageFileError(
            f"its CMYK colours cannot be converted by its profile ({error}): save it as RGB"
        ) from error
    if converted is None:
        raise ImageFileError("its CMYK colours cannot be converted: save it as RGB")
    return converted, "converted from CMYK to sRGB by its colour profile"


def _profile_note(profile: bytes | None) -> tuple[str, ...]:
    """Say which profile is carried over, except for the one that everybody assumes."""
    if profile is None:
        return ()
    try:
        name = ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError):
        name = "unreadable"
    if "srgb" in name.lower():
        return ()
    return (f"its colour profile '{name}' is kept: numbers are not converted to sRGB",)


def _is_deep_png(path: Path) -> bool:
    """Whether this is a PNG of 16 bits; in colour, Pillow would keep only 8."""
    with path.open("rb") as file:
        header = file.read(25)
    return header[:8] == b"\x89PNG\r\n\x1a\n" and header[24:25] == b"\x10"


def _deep_png(path: Path, image: Image.Image) -> Raster:
    """Samples by pypng; orientation and profile by Pillow, which has read the other chunks."""
    with path.open("rb") as file:  # a reader of a file name would leave it open
        width, height, rows, info = png.Reader(file=file).read()
        samples = np.vstack([np.asarray(row, np.uint16) for row in rows])
    samples = samples.reshape(1, height, width, info["planes"])
    orientation = image.getexif().get(_ORIENTATION, 1)
    notes = (TURNED,) if orientation in range(2, 9) else ()
    profile = image.info.get("icc_profile")
    storage = Storage(np.dtype(np.uint16), 65535.0, profile=profile)
    return from_samples(
        upright(samples, orientation), storage, notes=(*notes, *_profile_note(profile))
    )


def _write_deep_png(path: Path, pixels: NDArray[Any], profile: bytes | None) -> None:
    mode = "L;16" if pixels.shape[-1] == 1 else "RGB;16"
    buffer = io.BytesIO()
    png.from_array(pixels.reshape(len(pixels), -1), mode).write(buffer)
    if profile is None:
        path.write_bytes(buffer.getvalue())
        return
    buffer.seek(0)
    header, *others = png.Reader(file=buffer).chunks()
    colours = (b"iCCP", b"profile\0\0" + zlib.compress(profile))
    with path.open("wb") as file:
        png.write_chunks(file, [header, colours, *others])
