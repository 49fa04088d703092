"""Photographs on disk: where they are, and random patches of them.

Data are never shipped. A folder is looked for below the one named by ``PNP_LIP_DATA``, then below
``~/.cache/pnp_lip``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from skimage import io
from torch import Tensor

from pnp_lip.data.images import to_channels
from pnp_lip.errors import InputError, MissingFileError

__all__ = ["Photographs", "find_data", "read_folder"]

#: Environment variable naming the folder that holds the data sets.
DATA_VARIABLE = "PNP_LIP_DATA"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


def find_data(name: str) -> Path:
    """The folder of the data set ``name``, e.g. ``"bsds500/train"``.

    Parameters
    ----------
    name
        an existing folder, or a path relative to ``$PNP_LIP_DATA`` or ``~/.cache/pnp_lip``.

    Raises
    ------
    MissingFileError
        in none of these places; the message says how to provide it.
    """
    roots = [Path(), Path.home() / ".cache" / "pnp_lip"]
    if os.environ.get(DATA_VARIABLE):
        roots.insert(1, Path(os.environ[DATA_VARIABLE]))
    for root in roots:
        if (root / name).is_dir():
            return root / name
    raise MissingFileError(
        f"no folder '{name}': expected it as given, below ${DATA_VARIABLE}, or below "
        f"~/.cache/pnp_lip; set {DATA_VARIABLE} to the folder that contains it"
    )


def read_folder(name: str, channels: int) -> list[Tensor]:
    """All images of a folder as uint8 tensors ``[channels, H, W]``, in the order of their names."""
    folder = find_data(name)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise MissingFileError(f"no images ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    return [torch.from_numpy(_as_bytes(io.imread(path), channels)) for path in files]


def _as_bytes(pixels: np.ndarray, channels: int) -> np.ndarray:
    image = to_channels(pixels, channels)
    return np.ascontiguousarray((image * 255).round().astype(np.uint8))


class Photographs:
    """Images kept in memory as bytes, from which random square patches are cut.

    Parameters
    ----------
    folders
        data sets as :func:`find_data` takes them.
    channels
        1 (colour files are turned to luminance) or 3.
    patch
        side of the patches in pixels.
    device
        where the bytes are kept and patches are cut.

    Raises
    ------
    MissingFileError
        a folder is missing or empty.
    InputError
        an image is smaller than a patch.
    """

    def __init__(
        self,
        folders: Sequence[str],
        channels: int,
        patch: int,
        device: str | torch.device = "cpu",
    ) -> None:
        images = [image for folder in folders for image in read_folder(folder, channels)]
        for image in images:
            if min(image.shape[-2:]) < patch:
                raise InputError(
                    f"patches of {patch} pixels do not fit into an image of "
                    f"{image.shape[-2]} x {image.shape[-1]}: lower patch in the configuration"
                )
        self.patch = patch
        self.sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        areas = [0, *(height * width for height, width in self.sizes)]
        self.starts = torch.tensor(areas).cumsum(0).tolist()
        self.pixels = torch.cat([image.flatten(1) for image in images], dim=1).to(device)
        self.places = _turned_places(patch).to(device)

    def patches(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` patches ``[count, C, patch, patch]`` in [0, 1], randomly placed and turned.

        The generator is one of the CPU; the patches are cut where the images are.
        """
        corners, widths, turns = zip(*(self._draw(generator) for _ in range(count)), strict=True)
        device = self.pixels.device
        corner, width, turn = (torch.tensor(v).to(device) for v in (corners, widths, turns))
        rows, columns = self.places[:, turn]
        index = corner[:, None, None] + rows * width[:, None, None] + columns
        cut = self.pixels[:, index].float() / 255
        return cut.transpose(0, 1).clone(memory_format=torch.contiguous_format)

    def _draw(self, generator: torch.Generator) -> tuple[int, int, int]:
        """Where the patch begins among all pixels, the width of its image, and how it is turned."""

        def below(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        image = below(len(self.sizes))
        height, width = self.sizes[image]
        top, left = below(height - self.patch + 1), below(width - self.patch + 1)
        quarters = below(4)
        return self.starts[image] + top * width + left, width, 2 * quarters + below(2)


def _turned_places(side: int) -> Tensor:
    """Rows and columns that a turned patch reads, ``[2, 8, side, side]``.

    Quarter turns, mirrored where the index is odd.
    """
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    turned = [torch.rot90(places, quarters, (-2, -1)) for quarters in range(4)]
    return torch.stack([version for t in turned for version in (t, t.flip(-1))], dim=1)
