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

from pnp_lip.images import to_channels

__all__ = ["Photographs", "find_data", "read_folder"]

#: Environment variable naming the folder that holds the data sets.
DATA_VARIABLE = "PNP_LIP_DATA"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


def find_data(name: str) -> Path:
    """The folder of the data set ``name``, e.g. ``"bsds500/train"``.

    Args:
        name: an existing folder, or a path relative to ``$PNP_LIP_DATA`` or ``~/.cache/pnp_lip``.

    Raises:
        FileNotFoundError: in none of these places; the message says how to provide it.
    """
    roots = [Path(), Path.home() / ".cache" / "pnp_lip"]
    if os.environ.get(DATA_VARIABLE):
        roots.insert(1, Path(os.environ[DATA_VARIABLE]))
    for root in roots:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(
        f"no folder '{name}': expected it as given, below ${DATA_VARIABLE}, or below "
        f"~/.cache/pnp_lip; set {DATA_VARIABLE} to the folder that contains it"
    )


def read_folder(name: str, channels: int) -> list[Tensor]:
    """All images of a folder as uint8 tensors ``[channels, H, W]``, in the order of their names."""
    folder = find_data(name)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no images ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    return [torch.from_numpy(_as_bytes(io.imread(path), channels)) for path in files]


def _as_bytes(pixels: np.ndarray, channels: int) -> np.ndarray:
    image = to_channels(pixels, channels)
    return np.ascontiguousarray((image * 255).round().astype(np.uint8))


class Photographs:
    """Images kept in memory as bytes, from which random square patches are cut.

    Args:
        folders: data sets as :func:`find_data` takes them.
        channels: 1 (colour files are turned to luminance) or 3.
        patch: side of the patches in pixels.

    Raises:
        FileNotFoundError: a folder is missing or empty.
        ValueError: an image is smaller than a patch.
    """

    def __init__(self, folders: Sequence[str], channels: int, patch: int) -> None:
        self.images = [image for folder in folders for image in read_folder(folder, channels)]
        self.patch = patch
        for image in self.images:
            if min(image.shape[-2:]) < patch:
                raise ValueError(
                    f"patches of {patch} pixels do not fit into an image of "
                    f"{image.shape[-2]} x {image.shape[-1]}: lower patch in the configuration"
                )

    def patches(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` patches ``[count, C, patch, patch]`` in [0, 1], randomly placed and flipped."""
        return torch.stack([self._one(generator) for _ in range(count)])

    def _one(self, generator: torch.Generator) -> Tensor:
        def below(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        image = self.images[below(len(self.images))]
        top = below(image.shape[-2] - self.patch + 1)
        left = below(image.shape[-1] - self.patch + 1)
        cut = image[:, top : top + self.patch, left : left + self.patch].float() / 255
        cut = torch.rot90(cut, below(4), (-2, -1))
        return cut.flip(-1) if below(2) else cut
