r"""MNIST: 60 000 handwritten digits for training and 10 000 for testing (LeCun, Cortes, Burges 1998).

Four gzipped idx files. They are looked for

1. in the folder named by ``PNP_LIP_MNIST``,
2. in ``mnist/`` below the folder named by ``PNP_LIP_DATA``,
3. in the cache ``~/.cache/pnp_lip/mnist``,

and otherwise downloaded into the cache. Whatever their source, their SHA-256 must be the known one.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pnp_lip.data.patches import DATA_VARIABLE

__all__ = [
    "FILES",
    "MNIST_VARIABLE",
    "Mnist",
    "find_mnist",
    "load_mnist",
    "read_idx",
    "shifted",
    "warped",
]

#: Environment variable naming the folder that holds the four files.
MNIST_VARIABLE = "PNP_LIP_MNIST"

#: Where files are downloaded from: torchvision's mirror.
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"

#: The files and their SHA-256: images and labels for training, images and labels for testing.
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}

_HELP = f"set {MNIST_VARIABLE} to a folder that holds {', '.join(FILES)}, e.g. as downloaded from {MIRROR}"


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

        Raises:
            ValueError: a split that leaves one side empty.
        """
        cut = len(self.images) - count
        if not 0 < cut < len(self.images):
            raise ValueError(f"count must lie between 0 and {len(self.images)}, got {count}")
        return Mnist(self.images[:cut], self.labels[:cut], self.images[cut:], self.labels[cut:])


def load_mnist(*, download: bool = True) -> Mnist:
    """Read the data set, see the module for the places.

    Args:
        download: whether missing files may be downloaded.

    Raises:
        FileNotFoundError: the files are in none of the places; the message says how to get them.
        ConnectionError: the download failed.
        ValueError: a file is damaged.
    """
    folder = find_mnist(download=download)
    arrays = [torch.from_numpy(read_idx(_checked(folder / name))) for name in FILES]
    images, labels, test_images, test_labels = arrays
    return Mnist(_unit(images), labels.long(), _unit(test_images), test_labels.long())


def find_mnist(*, download: bool = True) -> Path:
    """The folder that holds the four files, downloaded if need be; raises as :func:`load_mnist`."""
    named = os.environ.get(MNIST_VARIABLE)
    if named:
        missing = [name for name in FILES if not (Path(named) / name).is_file()]
        if missing:
            raise FileNotFoundError(f"${MNIST_VARIABLE} is {named}, without {missing[0]}: {_HELP}")
        return Path(named)
    cache = Path.home() / ".cache" / "pnp_lip" / "mnist"
    data = os.environ.get(DATA_VARIABLE)
    for folder in ([Path(data) / "mnist"] if data else []) + [cache]:
        if all((folder / name).is_file() for name in FILES):
            return folder
    if not download:
        raise FileNotFoundError(
            f"no MNIST in mnist/ below ${DATA_VARIABLE} nor in {cache}: {_HELP}, or call "
            f"pnp_lip.data.mnist.load_mnist() once with a network, which fills the cache"
        )
    for name, digest in FILES.items():
        _download(cache / name, digest)
    return cache


def _download(path: Path, digest: str) -> None:
    """Written whole, and only if the hash is right."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(f"{MIRROR}/{path.name}", str(path), digest, progress=False)
    except OSError as error:
        raise ConnectionError(f"{path.name} cannot be downloaded ({error}): {_HELP}") from error
    except RuntimeError as error:
        raise ValueError(f"{MIRROR}/{path.name} is not the known file: {error}; {_HELP}") from error


def _checked(path: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != FILES[path.name]:
        raise ValueError(
            f"{path} is damaged: expected SHA-256 {FILES[path.name]}, got {digest}; delete it, and "
            f"it is downloaded again if it lies in the cache"
        )
    return path


def read_idx(path: str | Path) -> np.ndarray:
    """The array of bytes in a gzipped idx file: magic ``0 0 8 n``, ``n`` big-endian sizes, the bytes.

    Raises:
        ValueError: not gzip, cut short, another magic number, or another length than announced.
    """
    try:
        content = gzip.decompress(Path(path).read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is no whole gzip file: {error}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(
            f"{path}: expected an idx file of bytes, magic 000008, got {content[:3].hex()}"
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise ValueError(f"{path}: its header of {header} bytes is cut short")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - header != expected:
        raise ValueError(f"{path}: expected {expected} bytes of data, got {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


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
