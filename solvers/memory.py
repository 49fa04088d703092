r"""Whether a denoiser fits into memory on the whole image, and the tiles in which it does.

A network with at most ``c`` filters in a layer needs about :math:`(2c + 4C)` numbers for each pixel of an
image of ``C`` channels: the responses of a layer, their clipped copy, and a few images. Tiles compute the
same function (:mod:`pnp_lip.denoisers.tiled`), so that the choice changes neither the theorem nor, beyond
rounding, the result.

A denoiser with a fixed guide is folded and works in strips of rows, so it needs no tiles. Its maps are the
same at every application and stay in memory: a number for each filter and each block of 2 x 2 pixels.
"""

from __future__ import annotations

import os
from typing import cast

import torch
from torch import Tensor, nn

from pnp_lip.denoisers.frozen import WHOLE_BYTES, Frozen
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.denoisers.tiled import Tiled, receptive_radius

__all__ = ["fitted", "free_memory", "maps_memory", "needed_memory"]

#: The share of the free memory that a denoiser may take.
_SHARE = 0.25
#: What is taken for free where the system does not say.
_UNKNOWN = 2**31
#: Smallest side of a tile.
_SMALLEST = 64


def fitted(denoiser: nn.Module, images: Tensor, limit: float | None) -> nn.Module:
    """The denoiser, in tiles if it needs more than the limit on these images.

    Parameters
    ----------
    denoiser
        as it is run; one that is not known to be local is left as it is.
    images
        what it will be given, ``[N, C, H, W]``.
    limit
        most bytes at once; a quarter of what is free if ``None``.
    """
    if isinstance(denoiser, Relaxed):
        inner = fitted(denoiser.denoiser, images, limit)
        if inner is denoiser.denoiser:
            return denoiser
        return Relaxed(inner, float(denoiser.relaxation)).to(denoiser.relaxation.device)
    plain = denoiser.denoiser if type(denoiser) is Frozen else denoiser
    if type(plain) is not LipschitzDenoiser or images.ndim != 4:
        return denoiser
    most = _SHARE * free_memory(images.device) if limit is None else limit
    if needed_memory(plain, images.shape, images.element_size()) <= most:
        return denoiser
    return Tiled(denoiser, _tile(plain, images, most))


def needed_memory(denoiser: LipschitzDenoiser, shape: tuple[int, ...], size: int) -> float:
    """About how many bytes the denoiser needs on images ``[N, C, H, W]`` of numbers of ``size`` bytes."""
    filters = max(len(cast(Tensor, layer.weight)) for layer in denoiser.layers)
    count, channels, height, width = shape
    return float(count * height * width * size * (2 * filters + 4 * channels))


def maps_memory(guided: GuidedDenoiser, shape: tuple[int, ...], size: int) -> float:
    """The bytes of the maps of a fixed guide for images ``[N, C, H, W]`` of numbers of ``size`` bytes.

    Those of a small image are laid out whole besides.
    """
    count, _, height, width = shape
    filters = size * count * sum(guided.denoiser.filters)
    whole = filters * height * width
    stored = filters * -(-height // 2) * -(-width // 2)
    return float(stored + (whole if whole <= WHOLE_BYTES else 0))


def free_memory(device: torch.device) -> float:
    """Bytes that are free on a device, as far as the system says."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float(_UNKNOWN)


def _tile(denoiser: LipschitzDenoiser, images: Tensor, most: float) -> int:
    """The largest side, by halves from that of the image, whose window fits."""
    halo = receptive_radius(denoiser) or 0
    side = max(images.shape[-2:])
    while side > _SMALLEST:
        side = max(_SMALLEST, side // 2)
        window = (*images.shape[:2], side + 2 * halo, side + 2 * halo)
        if needed_memory(denoiser, window, images.element_size()) <= most:
            break
    return side
