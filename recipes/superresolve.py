r"""Super-resolution: an image blurred, sampled at every ``f``-th pixel, and noised.

.. math:: y[j] = \sum_i g\big(i - fj - \tfrac{f-1}{2}\big)\, x[i] + \text{noise},

so a pixel of ``y`` sits at the middle of the ``f x f`` pixels it stands for, as in a photograph that was
made smaller: the result does not move. ``g`` is a Gaussian of half a small pixel, or the cubic kernel of
Keys 1981 stretched by ``f``, as programs that resize photographs have it; the border is continued by its
pixels.
"""

from __future__ import annotations

import math

import torch
from deepinv.physics import Downsampling
from torch import Tensor
from torch.nn.functional import interpolate

from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import (
    Problem,
    as_observation,
    as_truth,
    gaussian_noise,
    require_noise,
)

__all__ = ["BLURS", "FACTORS", "STRENGTH", "observed", "sampling_kernel", "simulated"]

#: How many times larger each side becomes.
FACTORS = (2, 3, 4)

#: What the image is blurred with before every ``f``-th pixel is kept.
BLURS = ("gaussian", "bicubic")

#: Strength of the denoiser in units of the noise, chosen on validation images at noise 0.01 and 0.03.
STRENGTH = {2: 2.5, 3: 3.5, 4: 4.0}

#: Standard deviation of the Gaussian in pixels of the small image, and where it is cut off.
_WIDTH, _CUT = 0.5, 3.0
#: Where the cubic kernel ends, in pixels of the small image.
_CUBIC = 2.0


def sampling_kernel(factor: int, blur: str = "gaussian") -> Tensor:
    """The blur before the sampling, ``[1, 1, k, k]``, sum 1.

    Its middle lies ``(f - 1) / 2`` pixels before its centre pixel, see above.

    Parameters
    ----------
    factor
        one of :data:`FACTORS`.
    blur
        one of :data:`BLURS`.

    Raises
    ------
    InputError
        another factor or blur.
    """
    if factor not in FACTORS:
        raise InputError(f"the factor is 2, 3 or 4, got {factor}")
    if blur not in BLURS:
        raise InputError(f"unknown blur '{blur}': expected one of {', '.join(BLURS)}")
    reach = _CUT * _WIDTH if blur == "gaussian" else _CUBIC
    side = 2 * math.ceil(reach * factor + (factor - 1) / 2) + 1
    offsets = (torch.arange(side) - side // 2 + (factor - 1) / 2) / factor
    profile = torch.exp(-((offsets / _WIDTH) ** 2) / 2) if blur == "gaussian" else _cubic(offsets)
    profile = torch.where(offsets.abs() <= reach, profile, torch.zeros(side))
    profile = profile / profile.sum()
    return torch.outer(profile, profile)[None, None]


def _cubic(t: Tensor) -> Tensor:
    """The kernel of Keys with ``a = -1/2``, on [-2, 2]."""
    t = t.abs()
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t <= 1, near, far)


def simulated(
    x: Tensor, factor: int, noise: float, seed: int, *, blur: str = "gaussian"
) -> Problem:
    """Make ``x`` (``[B, C, H, W]`` in [0, 1]) smaller; sides are cut to multiples of the factor.

    Raises
    ------
    InputError
        an unknown factor, an image outside [0, 1] or smaller than the factor, or a
        noise level outside [0, 1).
    """
    x, noise = as_truth(x), require_noise(noise)
    height, width = (side - side % factor for side in x.shape[-2:])
    if min(height, width) == 0:
        raise InputError(f"an image of {x.shape[-2]} x {x.shape[-1]} pixels cannot be made smaller")
    x = x[..., :height, :width].contiguous()
    physics = _physics(x.shape, factor, blur, x.device)
    y = physics.A(x)
    y = y + gaussian_noise(y, noise, seed)
    return _problem(physics, y, x, factor, blur, noise)


def observed(y: Tensor, factor: int, noise: float, *, blur: str = "gaussian") -> Problem:
    """A real small image ``y`` that is to be ``factor`` times as large.

    Raises
    ------
    InputError
        an unknown factor, pixels in other units than [0, 1], or a noise level
        outside [0, 1).
    """
    noise = require_noise(noise)
    y = as_observation(y, noise)
    batch, channels, height, width = y.shape
    shape = (batch, channels, height * factor, width * factor)
    physics = _physics(shape, factor, blur, y.device)
    return _problem(physics, y, None, factor, blur, noise)


def _physics(
    shape: tuple[int, ...] | torch.Size, factor: int, blur: str, device: torch.device
) -> Downsampling:
    return Downsampling(
        img_size=tuple(shape[1:]),
        filter=sampling_kernel(factor, blur).to(device),
        factor=factor,
        padding="replicate",
        device=device,
    )


def _problem(
    physics: Downsampling, y: Tensor, truth: Tensor | None, factor: int, blur: str, noise: float
) -> Problem:
    # The result has the frame of the interpolated observation, which is also the first image.
    start = interpolate(y, scale_factor=factor, mode="bicubic", align_corners=False)
    settings = {"factor": factor, "blur": blur, "boundary": "replicate"}
    return Problem("super-resolution", physics, y, start, start, truth, noise, settings=settings)
