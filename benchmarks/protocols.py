"""Degradations as published, so that numbers of other papers stand beside ours.

Deblurring is that of "Learning pseudo-contractive denoisers for inverse problems" (Wei, Chen, Li 2024):
CBSD68 cropped to multiples of 8, the eight kernels of Levin et al. 2009 rounded to 8 bits, periodic
convolution, normal noise of numpy's legacy generator seeded with 0 for every image, PSNR of images rounded
to 8 bits with all channels together. Super-resolution is the same with a Gaussian kernel of standard
deviation 2 on 25 x 25 pixels, of which every second pixel is kept, the upper left one first. Published
numbers are the largest mean over the iterations, with parameters chosen on these images; ours are of the
converged image, with one strength chosen on validation images.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from deepinv.physics import BlurFFT, Downsampling, LinearPhysics
from torch import Tensor
from torch.nn.functional import interpolate

from pnp_lip.data.patches import find_data
from pnp_lip.recipes.problem import Problem

__all__ = [
    "KERNELS",
    "LEVELS",
    "cropped",
    "deblurring",
    "eight_bit_psnr",
    "in_turn",
    "levin_kernel",
    "super_resolution",
]

#: Names of the kernels, and the noise levels of the published table in units of 1/255.
KERNELS = tuple(f"k{number}" for number in range(1, 9))
LEVELS = (12.75, 17.85)
_MULTIPLE, _GAUSSIAN, _SIDE = 8, 2.0, 25


def in_turn(number: int) -> str:
    """The kernel of an image where each is blurred with one: the first with k1, the ninth again."""
    return KERNELS[number % len(KERNELS)]


def levin_kernel(name: str) -> Tensor:
    """One of the eight kernels, rounded to 8 bits, ``[1, 1, h, w]`` with sum 1."""
    with np.load(find_data("kernels") / "levin09.npz") as kernels:
        kernel = np.round(255 * kernels[name])
    return torch.from_numpy(kernel / kernel.sum()).float()[None, None]


def gaussian_kernel() -> Tensor:
    """The blur before the sampling, ``[1, 1, 25, 25]`` with sum 1."""
    offsets = torch.arange(_SIDE) - _SIDE // 2
    profile = torch.exp(-(offsets**2) / (2 * _GAUSSIAN**2))
    kernel = torch.outer(profile, profile)
    return (kernel / kernel.sum())[None, None]


def cropped(image: Tensor) -> Tensor:
    """A uint8 image ``[C, H, W]`` as ``[1, C, H, W]`` in [0, 1], sides cut to multiples of 8."""
    height, width = (side - side % _MULTIPLE for side in image.shape[-2:])
    return image[None, :, :height, :width].float() / 255


def deblurring(truth: Tensor, kernel: Tensor, level: float) -> Problem:
    """``truth`` (``[1, C, H, W]``) blurred periodically, with noise of ``level`` in units of 1/255."""
    physics = BlurFFT(tuple(truth.shape[1:]), filter=kernel)
    y = _noised(physics, truth, level)
    return Problem("deblurring", physics, y, y, y, truth, level / 255)


def super_resolution(truth: Tensor, level: float) -> Problem:
    """``truth`` blurred periodically by a Gaussian and halved, with noise of ``level``."""
    physics = Downsampling(
        tuple(truth.shape[1:]), filter=gaussian_kernel(), factor=2, padding="circular"
    )
    y = _noised(physics, truth, level)
    start = interpolate(y, scale_factor=2, mode="bicubic", align_corners=False)
    return Problem("super-resolution", physics, y, start, start, truth, level / 255)


def eight_bit_psnr(image: Tensor, truth: Tensor) -> float:
    """PSNR in dB of ``image`` rounded to 8 bits, all channels together."""
    rounded = (255 * image.clamp(0, 1)).round() / 255
    return -10 * math.log10(float((rounded - truth).double().square().mean()))


def _noised(physics: LinearPhysics, truth: Tensor, level: float) -> Tensor:
    y: Tensor = physics.A(truth)
    noise = np.random.RandomState(0).normal(0, level / 255, tuple(y.shape))
    return y + torch.from_numpy(noise).float()
