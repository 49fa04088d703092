r"""MNIST: 60 000 handwritten digits for training and 10 000 for testing (LeCun, Cortes, Burges 1998).

Read by :class:`torchvision.datasets.MNIST` in the cache ``~/.cache/pnp_lip/mnist``. What is missing
there is copied from ``mnist/`` below the folder named by ``PNP_LIP_DATA``, or else downloaded.
Whatever their source, the SHA-256 of images and labels must be the known one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import datasets

from pnp_lip.data.patches import DATA_VARIABLE
from pnp_lip.files import atomic_path

__all__ = ["Mnist", "load_mnist", "shifted", "warped"]

#: SHA-256 of the bytes of images and labels, for training and for testing.
_HASHES = {
    "train images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "train labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "test images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "test labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


@dataclass(frozen=True, eq=False)
class Mnist:
    """Images ``[N, 1, 28, 28]`` (float32 in [0, 1]) and their digits ``[N]``.

    Distances between images, hence certified radii, are Euclidean in these pixel units.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def hold_out(self, count: int) -> Mnist:
        """The last ``count`` training examples in the place of the test set, to choose parameters by.

        Raises
        ------
        ValueError
            a split that leaves one side empty.
        """
        cut = len(self.images) - count
        if not 0 < cut < len(self.images):
            raise ValueError(f"count must lie between 0 and {len(self.images)}, got {count}")
        return Mnist(self.images[:cut], self.labels[:cut], self.images[cut:], self.labels[cut:])


def load_mnist(*, download: bool = True) -> Mnist:
    """Read the data set, see the module for the places.

    Parameters
    ----------
    download
        whether missing files may be downloaded.

    Raises
    ------
    FileNotFoundError
        the files are in none of the places, or cannot be downloaded; the message
        says how to get them.
    ValueError
        the files hold something else than MNIST.
    """
    cache = Path.home() / ".cache" / "pnp_lip" / "mnist"
    _copy_files(cache / "MNIST" / "raw")
    train, test = (_split(cache, split, download) for split in ("train", "test"))
    return Mnist(_unit(train.data), train.targets, _unit(test.data), test.targets)


def _copy_files(raw: Path) -> None:
    """Copy compressed files from the folder of data into the cache."""
    if not os.environ.get(DATA_VARIABLE):
        return
    for source in (Path(os.environ[DATA_VARIABLE]) / "mnist").glob("*-ubyte.gz"):
        if not (raw / source.stem).exists():
            with atomic_path(raw / source.name) as temporary:
                temporary.write_bytes(source.read_bytes())


def _split(cache: Path, split: str, download: bool) -> datasets.MNIST:
    """Unpacked, read and compared with the known hash."""
    present = any((cache / "MNIST" / "raw").glob("*-ubyte*"))
    try:
        # Whole compressed files that are there already are unpacked, not downloaded again.
        digits = datasets.MNIST(str(cache), train=split == "train", download=download or present)
    except (OSError, RuntimeError, EOFError) as error:
        raise FileNotFoundError(
            f"MNIST is not in {cache} and cannot be fetched ({error}): put the four files "
            f"*-ubyte.gz into mnist/ below a folder and name that folder in {DATA_VARIABLE}"
        ) from error
    found = {"images": _digest(digits.data), "labels": _digest(digits.targets.to(torch.uint8))}
    for what, digest in found.items():
        if digest != _HASHES[f"{split} {what}"]:
            raise ValueError(
                f"the {what} for {split} in {cache} are not those of MNIST: their SHA-256 is "
                f"{digest}; delete the folder, and they are fetched again"
            )
    return digits


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()


def shifted(images: Tensor, generator: torch.Generator, reach: int = 1) -> Tensor:
    """Each of ``images`` (``[B, C, H, W]``) moved by up to ``reach`` pixels in both axes, filled by 0."""
    side = 2 * reach + 1
    choice = torch.randint(side * side, (len(images),), generator=generator).to(images.device)
    padded = functional.pad(images, (reach,) * 4)
    height, width = images.shape[-2:]
    out = torch.empty_like(images)
    for index in range(side * side):
        top, left = divmod(index, side)
        moved = choice == index
        out[moved] = padded[moved][..., top : top + height, left : left + width]
    return out


def warped(images: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    r"""Each of ``images`` (``[B, C, H, W]``) after a random affine map, interpolated, filled by 0.

    Pixel *p*, from the centre, takes the value at :math:`p + Ep + t` with entries of *E* uniform up to
    ``strength`` and entries of *t* up to ten times as many pixels.
    """
    drawn = 2 * torch.rand(len(images), 2, 3, generator=generator).to(images.device) - 1
    shift = 20 / torch.tensor(images.shape[:1:-1], device=images.device)
    scales = torch.stack([torch.ones_like(shift), torch.ones_like(shift), shift], dim=1)
    maps = torch.eye(2, 3, device=images.device) + strength * scales * drawn
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _unit(pixels: Tensor) -> Tensor:
    return pixels[:, None].float() / 255
