"""Inpainting: known pixels, missing pixels, Plug-and-Play with a nonexpansive denoiser."""

from __future__ import annotations

import torch
from deepinv.physics import Inpainting
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from pnp_lip.recipes.problem import Problem, gaussian_noise

__all__ = ["STRENGTH", "check_mask", "observed", "random_mask", "simulated"]

#: Strength of the denoiser in [0, 1] for noiseless known pixels, chosen on validation images.
STRENGTH = {"forward-backward": 0.01, "admm": 0.01}


def random_mask(x: Tensor, missing: float, seed: int) -> Tensor:
    """A mask ``[1, 1, H, W]`` with 0 at about a share ``missing`` of the pixels, drawn one by one.

    Raises:
        ValueError: a share outside [0, 1).
    """
    if not 0 <= missing < 1:
        raise ValueError(f"the share of missing pixels must lie in [0, 1), got {missing}")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(1, 1, *x.shape[2:], generator=generator)
    return (draws >= missing).to(x)


def check_mask(mask: Tensor, image: Tensor) -> Tensor:
    """A mask as zeros (missing) and ones (known), ``[1, 1, H, W]``, after checking it.

    Args:
        mask: ``[1, C, H, W]`` in [0, 1]; a pixel is known where all channels exceed one half.
        image: the image it belongs to.

    Raises:
        ValueError: another size than the image, or no known pixel.
    """
    if mask.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"the mask has {mask.shape[2]} x {mask.shape[3]} pixels, the image "
            f"{image.shape[2]} x {image.shape[3]}: they must agree"
        )
    known = (mask > 0.5).all(dim=1, keepdim=True).to(image)
    if not bool(known.any()):
        raise ValueError("the mask says that no pixel is known (white is known, black is missing)")
    return known


def simulated(x: Tensor, mask: Tensor, noise: float, seed: int) -> Problem:
    """Hide the pixels of ``x`` (``[1, C, H, W]``) where ``mask`` is 0 and add noise to the others."""
    mask = check_mask(mask, x)
    y = mask * (x + gaussian_noise(x, noise, seed))
    return _problem(y, mask, x, noise)


def observed(y: Tensor, mask: Tensor, noise: float) -> Problem:
    """A real image ``y`` of which the pixels where ``mask`` is 0 are to be replaced."""
    mask = check_mask(mask, y)
    return _problem(mask * y, mask, None, noise)


def _problem(y: Tensor, mask: Tensor, truth: Tensor | None, noise: float) -> Problem:
    physics = Inpainting(tuple(y.shape[1:]), mask=mask.expand_as(y)[0], device=y.device)
    start = _nearest_known(y, mask)
    settings: dict[str, object] = {"missing": float(1 - mask.mean())}
    return Problem("inpainting", physics, y, start, y, truth, noise, settings=settings)


def _nearest_known(y: Tensor, mask: Tensor) -> Tensor:
    """Every missing pixel with the value of a nearest known one: where the iteration starts."""
    missing = (mask[0, 0] == 0).cpu().numpy()
    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    filled: Tensor = y[..., torch.from_numpy(rows), torch.from_numpy(columns)]
    return filled
