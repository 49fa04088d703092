"""The noise level of an image, estimated where nobody knows it."""

from __future__ import annotations

import warnings

from skimage.restoration import estimate_sigma
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["estimated_noise"]

#: Smallest side in pixels: fewer than 256 differences say too little.
_SMALLEST = 32


def estimated_noise(y: Tensor) -> float:
    r"""Standard deviation of Gaussian noise, from the finest wavelet coefficients ``d`` of the image.

    .. math:: \mathrm{median}\,|d| \,/\, \Phi^{-1}(3/4)

    is the standard deviation if nothing but noise is that fine (Donoho and Johnstone 1994); the mean over
    the channels, by ``skimage.restoration.estimate_sigma``. Fine texture counts as noise, so a clean
    photograph does not give 0. What removed fine noise, as JPEG does, removes it from the estimate.

    Parameters
    ----------
    y
        one image ``[1, C, H, W]`` in [0, 1] up to noise.

    Raises
    ------
    InputError
        an image of less than 32 pixels a side, or one without any variation.
    """
    if min(y.shape[-2:]) < _SMALLEST:
        raise InputError(
            f"the noise of an image of {y.shape[-2]} x {y.shape[-1]} pixels cannot be estimated, it "
            f"takes {_SMALLEST} a side: state it"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the median of no coefficient
        level = estimate_sigma(y[0].double().cpu().numpy(), average_sigmas=True, channel_axis=0)
    if not 0 <= level < 1 or bool(y.max() == y.min()):
        raise InputError("the noise of this image cannot be estimated: state it")
    return float(level)
