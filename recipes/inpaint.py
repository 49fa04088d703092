"""Inpainting: known pixels, missing pixels, Plug-and-Play with a nonexpansive denoiser."""

from __future__ import annotations

import torch
from deepinv.physics import Inpainting
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import (
    Problem,
    as_observation,
    as_truth,
    gaussian_noise,
    require_noise,
)

__all__ = ["STRENGTH", "check_mask", "observed", "random_mask", "simulated"]

#: Strength of the denoiser in [0, 1] for noiseless known pixels, chosen on validation images.
STRENGTH = {"forward-backward": 0.01, "admm": 0.01}

#: Known pixels that differ by no more than this look as if they were what is to be filled.
_ONE_VALUE = 2 / 255


def random_mask(x: Tensor, missing: float, seed: int) -> Tensor:
    """A mask ``[1, 1, H, W]`` with 0 at about a share ``missing`` of the pixels, drawn one by one.

    Raises
    ------
    InputError
        a share outside [0, 1).
    """
    if not 0 <= missing < 1:
        raise InputError(f"the share of missing pixels must lie in [0, 1), got {missing}")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(1, 1, *x.shape[2:], generator=generator)
    return (draws >= missing).to(x)


def check_mask(mask: Tensor, image: Tensor) -> Tensor:
    """A mask as zeros (missing) and ones (known), ``[1, 1, H, W]``, after checking it.

    Parameters
    ----------
    mask
        ``[1, C, H, W]``, boolean or in [0, 1]; a pixel is known where all channels exceed one
        half.
    image
        the image it belongs to.

    Raises
    ------
    InputError
        another size than the image, or no known pixel.
    """
    if mask.ndim != 4 or mask.shape[2:] != image.shape[2:]:
        raise InputError(
            f"the mask has {' x '.join(str(side) for side in mask.shape[-2:])} pixels, the image "
            f"{image.shape[2]} x {image.shape[3]}: they must agree"
        )
    known = (mask > 0.5).all(dim=1, keepdim=True).to(image.device, torch.float32)
    if not bool(known.any()):
        raise InputError("the mask says that no pixel is known (white is known, black is missing)")
    return known


def simulated(x: Tensor, mask: Tensor, noise: float, seed: int) -> Problem:
    """Hide the pixels of ``x`` (``[B, C, H, W]`` in [0, 1]) where ``mask`` is 0, add noise to the others.

    Raises
    ------
    InputError
        a bad mask, see :func:`check_mask`, an image outside [0, 1], or a noise level
        outside [0, 1).
    """
    x, noise = as_truth(x), require_noise(noise)
    mask = check_mask(mask, x)
    y = mask * (x + gaussian_noise(x, noise, seed))
    return _problem(y, mask, x, noise, (_share(mask),))


def observed(y: Tensor, mask: Tensor, noise: float) -> Problem:
    """A real image ``y``; its pixels where ``mask`` is 0 are to be replaced.

    Raises
    ------
    InputError
        a bad mask, see :func:`check_mask`, pixels in other units than [0, 1], or a noise
        level outside [0, 1).
    """
    noise = require_noise(noise)
    mask = check_mask(mask, y)
    remarks = (_share(mask), *_warnings(y, mask))
    # Whatever stands in the place of a missing pixel, NaN for instance, is not read.
    y = as_observation(torch.where(mask > 0.5, y, torch.zeros_like(y)), noise)
    return _problem(y, mask, None, noise, remarks)


def _problem(
    y: Tensor, mask: Tensor, truth: Tensor | None, noise: float, remarks: tuple[str, ...]
) -> Problem:
    physics = Inpainting(tuple(y.shape[1:]), mask=mask.expand_as(y)[0], device=y.device)
    start = _nearest_known(y, mask)
    settings: dict[str, object] = {"missing": float(1 - mask.double().mean())}
    return Problem(
        "inpainting",
        physics,
        y,
        start,
        y,
        truth,
        noise,
        settings=settings,
        remarks=remarks,
        inset=mask,
    )


def _share(mask: Tensor) -> str:
    return f"missing {100 * float(1 - mask.double().mean()):.1f} % of the pixels"


def _warnings(y: Tensor, mask: Tensor) -> tuple[str, ...]:
    """What points to a mask that says the opposite of what was meant."""
    if bool(mask.all()):
        return (
            "warning: the mask marks no pixel as missing, so nothing is filled: black is missing",
        )
    known = y[mask.expand_as(y) > 0.5]
    if float(known.max() - known.min()) <= _ONE_VALUE and _vary(y[mask.expand_as(y) <= 0.5]):
        return (
            f"warning: all known pixels have the value {float(known.mean()):.3g}, as if they were the "
            "holes: the mask is likely inverted (white is known); --invert-mask exchanges them",
        )
    return ()


def _vary(pixels: Tensor) -> bool:
    pixels = pixels[pixels.isfinite()]
    return pixels.numel() > 0 and float(pixels.max() - pixels.min()) > _ONE_VALUE


def _nearest_known(y: Tensor, mask: Tensor) -> Tensor:
    """Every missing pixel with the value of a nearest known one: where the iteration starts."""
    missing = (mask[0, 0] == 0).cpu().numpy()
    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    filled: Tensor = y[..., torch.from_numpy(rows), torch.from_numpy(columns)]
    return filled
