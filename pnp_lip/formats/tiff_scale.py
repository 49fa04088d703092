"""What a TIFF file says about the size of its pixels, kept so that a result says the same."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPageSeries

__all__ = ["scale_of"]

#: What ImageJ's description says about distances and times.
_IMAGEJ = ("unit", "spacing", "finterval", "fps")
#: Attributes of OME's element Pixels that say the same.
_OME = ("PhysicalSize", "TimeIncrement")


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
