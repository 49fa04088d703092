r"""Errors that are rare and large: salt and pepper, and the blocks of JPEG, through the l1 norm.

.. math:: 0 \in (D^{-1} - I)x + \tau\,\partial\|x - y\|_1

A pixel may be wrong by any amount and pulls no harder than one that is wrong by a little. The
primal-dual method converges to a solution for a firmly nonexpansive denoiser; that the solution is
close to the truth is measured, not proved. For JPEG the model is a simplification: the rounding of
block coefficients is neither rare nor independent, so its gain is small.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from deepinv.optim.data_fidelity import L1
from deepinv.physics import Denoising
from PIL import Image as PillowImage
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import Problem, as_observation, as_truth

__all__ = [
    "JPEG_STEP",
    "STEP",
    "compressed",
    "jpeg_strength",
    "observed",
    "salted",
    "simulated",
    "strength",
]

#: Stepsize :math:`\tau` of the primal-dual method, which weighs the data against the denoiser, for salt
#: and pepper and for JPEG; chosen on validation images with the strengths below.
STEP, JPEG_STEP = 0.025, 0.018


def strength(share: float) -> float:
    """The strength for a share of wrong pixels, chosen on validation images at 0.1 and 0.3."""
    return min(0.2, 0.025 + 0.25 * share)


def jpeg_strength(quality: int) -> float:
    """The strength for a JPEG quality, 1 to 100, chosen on validation images at 10 and 30."""
    return min(0.1, 0.14 / max(quality, 1) ** 0.37)


def salted(x: Tensor, share: float, seed: int) -> Tensor:
    """``x`` with a share of its pixels black or white, each channel drawn by itself.

    Raises
    ------
    InputError
        a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError(f"the share of wrong pixels must lie in [0, 1), got {share:g}")
    draws = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).to(x.device)
    return torch.where(draws < share / 2, 0.0, torch.where(draws > 1 - share / 2, 1.0, x))


def compressed(x: Tensor, quality: int) -> Tensor:
    """``x`` (``[1, C, H, W]`` in [0, 1]) written as JPEG and read again.

    Raises
    ------
    InputError
        a quality outside 1 to 100, or several images.
    """
    if not 1 <= quality <= 100:
        raise InputError(f"a JPEG quality lies between 1 and 100, got {quality}")
    if len(x) != 1:
        raise InputError(f"expected one image [1, C, H, W], got {tuple(x.shape)}")
    pixels = (255 * x[0].clamp(0, 1)).round().byte().cpu().numpy().transpose(1, 2, 0)
    file = io.BytesIO()
    PillowImage.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
        file, "JPEG", quality=quality
    )
    values = np.asarray(PillowImage.open(file), dtype=np.float32) / 255
    values = values[..., None] if values.ndim == 2 else values
    return torch.from_numpy(values.transpose(2, 0, 1).copy())[None].to(x.device)


def simulated(x: Tensor, wrong: Tensor, name: str = "salt and pepper") -> Problem:
    """A clean image ``x`` and what became of it, ``wrong``, see :func:`salted`, :func:`compressed`.

    Raises
    ------
    InputError
        an image outside [0, 1].
    """
    return _problem(as_observation(wrong, 0.0), as_truth(x), name)


def observed(y: Tensor, name: str = "salt and pepper") -> Problem:
    """A real image ``y`` with wrong pixels or JPEG blocks.

    Raises
    ------
    InputError
        pixels in other units than [0, 1].
    """
    return _problem(as_observation(y, 0.0), None, name)


def _problem(y: Tensor, truth: Tensor | None, name: str) -> Problem:
    return Problem(name, Denoising(device=y.device), y, y, y, truth, 0.0, fidelity=L1())
