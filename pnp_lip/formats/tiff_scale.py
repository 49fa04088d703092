"""What a TIFF file says about the size of its pixels, kept so that a result says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPageSeries

__all__ = ["pixel_size", "scale_of"]

#: What ImageJ's description says about distances and times.
_IMAGEJ = ("unit", "spacing", "finterval", "fps")
#: Attributes of OME's element Pixels that say the same.
_OME = ("PhysicalSize", "TimeIncrement")

#: Nanometres in the units of ImageJ and OME. Inches and dots of a screen say nothing about a sample.
_NANOMETRES = {
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(
        ("um", "\u00b5m", "\u03bcm", "\\u00B5m", "micron", "microns", "micrometer"), 1e3
    ),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e6),
    "pm": 1e-3,
    "\u00c5": 0.1,
}
#: Sides that differ by more are no square.
_SQUARE = 0.01


def scale_of(file: TiffFile, series: TiffPageSeries) -> dict[str, Any]:
    """Arguments of ``tifffile.imwrite`` that repeat the resolution and the scale of the axes."""
    tags = series.keyframe.tags
    options: dict[str, Any] = {}
    x, y = (_ratio(tags.valueof(code)) for code in (282, 283))
    if x and y:
        options["resolution"] = (x, y)
        options["resolutionunit"] = int(tags.valueof(296, default=1))
    if file.is_imagej:
        options["imagej"] = True
        said = file.imagej_metadata or {}
        options["metadata"] = {key: said[key] for key in _IMAGEJ if key in said}
    elif file.is_ome:
        options["ome"] = True
        options["metadata"] = _ome_scale(file.ome_metadata or "")
    return options


def _ratio(value: Any) -> float | None:
    """A TIFF rational as a number; ``None`` where it is missing or without meaning."""
    if not isinstance(value, tuple) or len(value) != 2 or 0 in value:
        return None
    return float(value[0]) / float(value[1])


def _ome_scale(xml: str) -> dict[str, Any]:
    try:
        elements = ElementTree.fromstring(xml).iter()
    except ElementTree.ParseError:
        return {}
    for element in elements:
        if element.tag.endswith("}Pixels"):
            return {
                key: value if key.endswith("Unit") else float(value)
                for key, value in element.attrib.items()
                if key.startswith(_OME)
            }
    return {}


def pixel_size(scale: Mapping[str, Any]) -> float | None:
    """The side of a pixel in nanometres as ImageJ or OME say it.

    Parameters
    ----------
    scale
        from :func:`scale_of`.

    Returns
    -------
    float or None
        nothing where the file does not say it, in a unit that is not known, or where pixels are not square.

    Examples
    --------
    >>> pixel_size({"imagej": True, "resolution": (10.0, 10.0), "metadata": {"unit": "um"}})
    100.0
    """
    said = scale.get("metadata", {})
    if scale.get("ome"):
        sides = [said.get(f"PhysicalSize{axis}") for axis in "XY"]
        units = [said.get(f"PhysicalSize{axis}Unit", "\u00b5m") for axis in "XY"]
    elif scale.get("imagej") and "resolution" in scale:
        sides = [1 / density for density in scale["resolution"]]
        units = [said.get("unit")] * 2
    else:
        return None
    lengths = [_NANOMETRES.get(str(unit)) for unit in units]
    if None in sides or None in lengths:
        return None
    x, y = (float(side) * (length or 0.0) for side, length in zip(sides, lengths, strict=True))
    square = x > 0 and y > 0 and abs(x - y) <= _SQUARE * max(x, y)
    return (x + y) / 2 if square else None
