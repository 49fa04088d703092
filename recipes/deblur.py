"""Deblurring: a known kernel, Gaussian noise, Plug-and-Play with a nonexpansive denoiser."""

from __future__ import annotations

from deepinv.physics import Blur, BlurFFT
from deepinv.physics.generator import MotionBlurGenerator
from torch import Generator, Tensor
from torch.nn.functional import pad

from pnp_lip.data.kernels import kernel_remarks, normalised
from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import (
    Problem,
    as_observation,
    as_truth,
    gaussian_noise,
    require_noise,
)

__all__ = ["STRENGTH", "check_kernel", "extended", "motion_kernel", "observed", "simulated"]

#: Strength of the denoiser in units of the noise, chosen on validation images for each solver.
STRENGTH = {"forward-backward": 0.75, "admm": 0.8}


def motion_kernel(size: int = 25, seed: int = 3) -> Tensor:
    """The trace of a shaking camera, ``[1, 1, size, size]`` with sum 1.

    A random trajectory after Schuler et al. 2015, drawn by deepinv.
    """
    generator = MotionBlurGenerator((size, size), rng=Generator().manual_seed(seed))
    kernel: Tensor = generator.step(batch_size=1)["filter"]
    return kernel


def check_kernel(kernel: Tensor, image: Tensor) -> Tensor:
    """A kernel ``[1, 1, h, w]`` scaled to sum 1, after checking it.

    Raises
    ------
    InputError
        negative or not finite entries, sum zero, or larger than the image.
    """
    kernel = normalised(kernel)
    if any(k > n for k, n in zip(kernel.shape[2:], image.shape[2:], strict=True)):
        raise InputError(
            f"the kernel of {kernel.shape[2]} x {kernel.shape[3]} pixels is larger than the image of "
            f"{image.shape[2]} x {image.shape[3]}"
        )
    return kernel.to(image)


def simulated(x: Tensor, kernel: Tensor, noise: float, seed: int) -> Problem:
    """Blur ``x`` (``[B, C, H, W]`` in [0, 1]) periodically, the field's benchmark, and add noise.

    Raises
    ------
    InputError
        a bad kernel, see :func:`check_kernel`, an image outside [0, 1], or a noise level
        outside [0, 1).
    """
    x, noise = as_truth(x), require_noise(noise)
    kernel = check_kernel(kernel, x)
    physics = BlurFFT(tuple(x.shape[1:]), filter=kernel, device=x.device)
    y = physics.A(x)
    y = y + gaussian_noise(y, noise, seed)
    settings = _settings(kernel, "circular")
    return Problem("deblurring", physics, y, y, y, x, noise, settings=settings, inset=kernel)


def observed(y: Tensor, kernel: Tensor, noise: float) -> Problem:
    """A real observation ``y``: nothing is assumed beyond its frame (a "valid" convolution).

    Raises
    ------
    InputError
        a bad kernel, see :func:`check_kernel`, pixels in other units than [0, 1], or a
        noise level outside [0, 1).
    """
    noise = require_noise(noise)
    y = as_observation(y, noise)
    kernel = check_kernel(kernel, y)
    physics = Blur(kernel, padding="valid", device=y.device)
    # Tight enough that an inexact proximity operator stays below the stopping tolerance.
    physics.tol, physics.max_iter = 1e-6, 200
    rows, columns = kernel.shape[2] - 1, kernel.shape[3] - 1
    return Problem(
        "deblurring",
        physics,
        y,
        extended(y, rows, columns),
        y,
        None,
        noise,
        (rows, columns),
        _settings(kernel, "valid"),
        kernel_remarks(kernel),
        kernel,
    )


def extended(y: Tensor, rows: int, columns: int) -> Tensor:
    """``y`` continued by its border pixels to the size of the scene behind it."""
    top, left = rows // 2, columns // 2
    return pad(y, (left, columns - left, top, rows - top), mode="replicate")


def _settings(kernel: Tensor, boundary: str) -> dict[str, object]:
    return {"kernel": kernel[0, 0].cpu().tolist(), "boundary": boundary}
