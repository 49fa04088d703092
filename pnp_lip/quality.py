"""How close two images are."""

from __future__ import annotations

import math

from skimage.metrics import structural_similarity
from torch import Tensor

__all__ = ["psnr", "quality", "ssim"]


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for images in [0, 1]; ``image`` is clipped.

    Examples
    --------
    >>> import torch
    >>> round(psnr(torch.full((1, 1, 4, 4), 0.5), torch.full((1, 1, 4, 4), 0.4)), 2)
    20.0
    """
    error = float((image.clamp(0, 1) - truth).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


#: Side of the window of SSIM; smaller images have none.
_WINDOW = 7


def ssim(image: Tensor, truth: Tensor) -> float | None:
    """Structural similarity of two images ``[1, C, H, W]`` in [0, 1] (Wang et al. 2004).

    Of volumes ``[1, C, D, H, W]`` with a window in three dimensions. ``None`` for images smaller than
    the window of 7 pixels a side.
    """
    if min(image.shape[2:]) < _WINDOW:
        return None
    first, second = (t[0].clamp(0, 1).cpu().numpy() for t in (image, truth))
    return float(structural_similarity(first, second, channel_axis=0, data_range=1.0))


def quality(
    observation: Tensor, restoration: Tensor, truth: Tensor | None
) -> dict[str, float | None]:
    """PSNR and SSIM of both images, as the entries of a report; ``None`` without the truth."""
    images = {"observation": observation, "restoration": restoration}
    return {
        f"{name}_{what}": None if truth is None else measure(image, truth)
        for name, measure in {"psnr": psnr, "ssim": ssim}.items()
        for what, image in images.items()
    }
