"""Files as numbers: what each format says about its pixels, read by libraries that know it."""

from pnp_lip.formats.raster import ImageFileError, Raster, Storage
from pnp_lip.formats.reading import SUFFIXES, read_raster, require_suffix
from pnp_lip.formats.writing import write_raster

__all__ = [
    "SUFFIXES",
    "ImageFileError",
    "Raster",
    "Storage",
    "read_raster",
    "require_suffix",
    "write_raster",
]
