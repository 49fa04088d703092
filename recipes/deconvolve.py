r"""Deconvolution of microscope images and volumes: a known point spread function, photons or normal noise.

.. math:: y \sim \frac1N\,\mathrm{Poisson}(N\,k * x) \quad\text{or}\quad y = k * x + \text{noise},

where ``N`` is the number of photons that white stands for. Photons are counted by the Kullback-Leibler
divergence and the primal-dual method; for Gaussian noise it is half the square of ``k * x - y``. A volume
is denoised along its three families of planes, see :mod:`pnp_lip.denoisers.volume`.
"""

from __future__ import annotations

import math

from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import Blur
from torch import Tensor
from torch.nn.functional import pad

from pnp_lip.data.kernels import kernel_remarks, normalised
from pnp_lip.errors import InputError
from pnp_lip.recipes.photons import counted, require_photons
from pnp_lip.recipes.problem import (
    Problem,
    as_observation,
    as_truth,
    gaussian_noise,
    require_noise,
)

__all__ = ["STRENGTH", "noise_of_photons", "observed", "simulated"]

#: Strength of the denoiser in units of the noise, for Gaussian noise and for photons, chosen on
#: generated volumes.
STRENGTH = {"gaussian": 0.6, "photons": 0.5}

#: From so many samples on a kernel is applied by fast Fourier transforms.
_DIRECT = 81


def noise_of_photons(y: Tensor, photons: float) -> float:
    r"""The mean level of the noise of counted photons, :math:`\sqrt{\mathrm{mean}(y)/N}`."""
    return math.sqrt(max(float(y.mean()), 0.0) / photons)


def simulated(
    x: Tensor, kernel: Tensor, *, noise: float = 0.0, photons: float | None = None, seed: int = 0
) -> Problem:
    """Blur ``x`` periodically and add noise, or count photons.

    Parameters
    ----------
    x
        a clean image ``[1, C, H, W]`` or volume ``[1, C, D, H, W]`` in [0, 1].
    kernel
        ``[1, 1, h, w]`` or ``[1, 1, d, h, w]``.
    noise
        standard deviation of Gaussian noise, without ``photons``.
    photons
        how many photons white stands for.
    seed
        of the noise.

    Raises
    ------
    InputError
        a kernel that does not fit, pixels outside [0, 1], or a noise level out of range.
    """
    x, noise = as_truth(x, volumes=True), require_noise(noise)
    kernel = _fitting(kernel, x)
    if any(k > n for k, n in zip(kernel.shape[2:], x.shape[2:], strict=True)):
        sizes = [" x ".join(str(side) for side in t.shape[2:]) for t in (kernel, x)]
        raise InputError(f"the kernel of {sizes[0]} pixels is larger than the image of {sizes[1]}")
    physics = _blur(kernel, "circular", x)
    y = physics.A(x)
    y = y + gaussian_noise(y, noise, seed) if photons is None else counted(y, photons, seed)
    return _problem(physics, y, kernel, noise, photons, truth=x)


def observed(
    y: Tensor, kernel: Tensor, *, noise: float = 0.0, photons: float | None = None
) -> Problem:
    """A real observation; nothing is assumed beyond its frame.

    Light from outside of the frame is part of the model: the reconstruction is larger than what was
    recorded by the width of the kernel, also along the axis, and is cut to the frame in the end. So the
    kernel may have more slices than the stack.

    Parameters
    ----------
    y
        an image ``[1, C, H, W]`` or volume ``[1, C, D, H, W]`` in [0, 1] up to noise, black without an
        offset of the camera.
    kernel
        ``[1, 1, h, w]`` or ``[1, 1, d, h, w]``.
    noise, photons
        as in :func:`simulated`.

    Raises
    ------
    InputError
        a kernel that does not fit, pixels in other units, or a noise level out of range.
    """
    noise = require_noise(noise)
    y = as_observation(y, noise, volumes=True)
    kernel = _fitting(kernel, y)
    if photons is not None:
        require_photons(photons)
        y = y.clamp(min=0)
    return _problem(_blur(kernel, "valid", y), y, kernel, noise, photons, truth=None)


def _problem(
    physics: Blur,
    y: Tensor,
    kernel: Tensor,
    noise: float,
    photons: float | None,
    *,
    truth: Tensor | None,
) -> Problem:
    margin = tuple(side - 1 for side in kernel.shape[2:]) if physics.padding == "valid" else None
    level = noise if photons is None else noise_of_photons(y, photons)
    fidelity = None if photons is None else PoissonLikelihood(gain=1 / photons, denormalize=True)
    return Problem(
        "deconvolution",
        physics,
        y,
        _extended(y, margin or ()),
        y,
        truth,
        level,
        margin=margin or (0,) * (kernel.ndim - 2),
        settings=_settings(kernel, physics.padding, photons),
        remarks=kernel_remarks(kernel) if truth is None else (),
        inset=kernel if kernel.ndim == 4 else kernel.amax(dim=2),
        fidelity=fidelity,
    )


def _fitting(kernel: Tensor, image: Tensor) -> Tensor:
    kernel = normalised(kernel)
    if kernel.ndim != image.ndim:
        words = {4: "an image", 5: "a volume"}
        raise InputError(
            f"the kernel is {words[kernel.ndim]}, what is to be restored {words[image.ndim]}: they must "
            "have the same dimensions"
        )
    return kernel.to(image)


def _blur(kernel: Tensor, padding: str, image: Tensor) -> Blur:
    large = math.prod(kernel.shape[2:]) > _DIRECT
    physics = Blur(kernel, padding=padding, use_fft=large, device=image.device)
    # Tight enough that an inexact proximity operator stays below the stopping tolerance.
    physics.tol, physics.max_iter = 1e-6, 200
    return physics


def _extended(y: Tensor, margin: tuple[int, ...]) -> Tensor:
    """``y`` continued by its border pixels to the size of the scene behind it."""
    sides: list[int] = []
    for extra in margin:
        sides = [extra // 2, extra - extra // 2, *sides]  # torch pads the last axis first
    return pad(y, sides, mode="replicate") if any(margin) else y


def _settings(kernel: Tensor, padding: str, photons: float | None) -> dict[str, object]:
    shape = list(kernel.shape[2:])
    stored = {"kernel": kernel[0, 0].cpu().tolist()} if kernel.ndim == 4 else {}
    return {"kernel_shape": shape, **stored, "boundary": padding, "photons": photons}
