r"""Demosaicing: a sensor sees one colour in each pixel, ``y = Mx`` for the mask of a Bayer pattern.

The pattern is red, green / green, blue, the first row first. Where the iteration starts, each colour is
the weighted mean of the nearest pixels that saw it.
"""

from __future__ import annotations

import torch
from deepinv.physics import Demosaicing
from torch import Tensor
from torch.nn.functional import conv2d

from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import (
    Problem,
    as_observation,
    as_truth,
    gaussian_noise,
    require_noise,
)

__all__ = ["STRENGTH", "observed", "simulated", "strength"]

#: Strength of the denoiser, this much for the missing colours, and at least this many times the noise.
STRENGTH = (0.01, 1.5)


def strength(noise: float) -> float:
    """The strength chosen on validation images for a noise level."""
    return max(STRENGTH[0], STRENGTH[1] * noise)


def simulated(x: Tensor, noise: float, seed: int) -> Problem:
    """Keep one colour of each pixel of ``x`` (``[B, 3, H, W]`` in [0, 1]) and add noise.

    Raises
    ------
    InputError
        a grey image, one outside [0, 1], or a noise level outside [0, 1).
    """
    x, noise = as_truth(x), require_noise(noise)
    if x.shape[1] != 3:
        raise InputError(f"expected a colour image [B, 3, H, W], got {tuple(x.shape)}")
    physics = _physics(x)
    return _problem(physics, physics.mask * (x + gaussian_noise(x, noise, seed)), x, noise)


def observed(mosaic: Tensor, noise: float) -> Problem:
    """What the sensor recorded: one number a pixel, in the pattern RGGB.

    Parameters
    ----------
    mosaic
        ``[B, 1, H, W]`` in [0, 1] up to noise.
    noise
        its standard deviation.

    Raises
    ------
    InputError
        an image in colour, or pixels in other units than [0, 1].
    """
    noise = require_noise(noise)
    mosaic = as_observation(mosaic, noise)
    if mosaic.shape[1] != 1:
        raise InputError(
            "expected the grey mosaic that the sensor recorded, got an image in colour: its missing "
            "colours are filled in already"
        )
    y = mosaic.expand(-1, 3, -1, -1)
    physics = _physics(y)
    return _problem(physics, physics.mask * y, None, noise)


def _physics(x: Tensor) -> Demosaicing:
    if min(x.shape[-2:]) < 2:
        raise InputError(f"a mosaic has at least 2 x 2 pixels, got {tuple(x.shape[-2:])}")
    return Demosaicing(tuple(x.shape[1:]), pattern="bayer", device=x.device)


def _problem(physics: Demosaicing, y: Tensor, truth: Tensor | None, noise: float) -> Problem:
    start = _interpolated(y, physics.mask)
    return Problem("demosaicing", physics, y, start, start, truth, noise)


def _interpolated(y: Tensor, mask: Tensor) -> Tensor:
    """Bilinear interpolation of each colour from the pixels that saw it, which keep their value."""
    profile = torch.tensor([0.5, 1.0, 0.5], device=y.device)
    weights = torch.outer(profile, profile).expand(3, 1, 3, 3)
    mask = mask.expand_as(y)
    total = conv2d(mask, weights, padding=1, groups=3)
    filled = conv2d(y, weights, padding=1, groups=3) / total.clamp(min=1e-6)
    return torch.where(mask > 0, y, filled)
