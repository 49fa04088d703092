"""Public-domain and freely licensed photographs that come with scikit-image, for demonstrations."""

from __future__ import annotations

import torch
from skimage import data
from skimage.transform import downscale_local_mean
from torch import Tensor

from pnp_lip.data.images import to_channels

__all__ = ["PHOTOGRAPHS", "photograph"]

#: Names that :func:`photograph` knows; all are stored inside scikit-image's wheel.
PHOTOGRAPHS = ("camera", "astronaut", "coffee", "chelsea", "coins", "rocket")


def photograph(name: str = "camera", size: int = 256) -> Tensor:
    """A photograph at half its resolution, its centre cut to at most ``size`` pixels a side.

    Parameters
    ----------
    name
        one of :data:`PHOTOGRAPHS`.
    size
        largest side in pixels.

    Returns
    -------
    Tensor
        ``[1, C, H, W]`` float32 in [0, 1], ``C`` 1 or 3.

    Raises
    ------
    ValueError
        an unknown name.

    Examples
    --------
    >>> photograph("camera", size=64).shape
    torch.Size([1, 1, 64, 64])
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"unknown photograph '{name}': expected one of {', '.join(PHOTOGRAPHS)}")
    pixels = to_channels(getattr(data, name)())
    halved = downscale_local_mean(pixels, (1, 2, 2))
    top, left = (max(0, side - size) // 2 for side in halved.shape[1:])
    cut = halved[:, top : top + size, left : left + size]
    return torch.from_numpy(cut.copy()).float()[None]
