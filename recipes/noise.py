"""The noise level of an image, estimated where nobody knows it."""

from __future__ import annotations

from deepinv.models import PatchCovarianceNoiseEstimator
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["estimated_noise"]

#: Smallest side in pixels on which patches say anything.
_SMALLEST = 32


def estimated_noise(y: Tensor) -> float:
    """Standard deviation of Gaussian noise, from the smallest eigenvalues of the patches' covariance.

    After Chen, Zhu and Heng 2015, by deepinv. Fine texture counts as noise, so a clean photograph
    does not give 0.

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
    level = float(PatchCovarianceNoiseEstimator()(y.cpu().float()))
    if not 0 <= level < 1:
        raise InputError("the noise of this image cannot be estimated: state it")
    return level
