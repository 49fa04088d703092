r"""Few photons: Poisson noise, with a blur in front of it or without.

.. math:: y = \tfrac1n\,\mathrm{Poisson}(nAx)

for ``n`` photons at white.

* :func:`denoise` takes the square root of the counts (Anscombe 1948), whose noise is nearly normal
  with the same variance everywhere, denoises there, and takes it back without bias (Mäkitalo and Foi
  2011). What is proved of the denoiser holds for the roots: the map from counts to counts is neither
  nonexpansive nor averaged, since the root is steep at zero.
* :func:`simulated` and :func:`observed` pose the deconvolution with the Kullback-Leibler divergence

  .. math:: g(v) = n\sum_i v_i - y_i\log v_i,

  for the primal-dual method, which converges for a firmly nonexpansive denoiser.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from deepinv.models.anscombe import (
    generalized_anscombe_transform,
    inverse_generalized_anscombe_transform,
)
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import Blur, BlurFFT, LinearPhysics
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.recipes.deblur import check_kernel, extended
from pnp_lip.recipes.denoise import Denoised
from pnp_lip.recipes.denoise import denoise as denoise_normal
from pnp_lip.recipes.problem import Problem, as_observation, as_truth

__all__ = ["STRENGTH", "counted", "denoise", "observed", "simulated", "strength"]

#: Strength of the denoiser in units of the noise at the mean of the image, chosen on validation images.
STRENGTH = 0.5
#: Strength of the denoiser on the roots of the counts, in units of their noise.
ROOT_STRENGTH = 1.0

_CLAIM = (
    "proved for the square roots of the counts: they move by no more than those of the data; from "
    "counts to counts nothing is claimed"
)
#: The root of no photon, below which the inverse is not defined.
_DARKEST = 2 * math.sqrt(3 / 8)


def strength(y: Tensor, photons: float) -> float:
    """The strength chosen on validation images, for an observation in [0, 1] of so many photons."""
    return min(0.999, STRENGTH * math.sqrt(max(float(y.mean()), 1e-6) / require_photons(photons)))


def counted(x: Tensor, photons: float, seed: int) -> Tensor:
    """``x`` (``[B, C, H, W]``, nonnegative) as ``photons`` at white show it, divided by them."""
    generator = torch.Generator().manual_seed(seed)
    photons = require_photons(photons)
    rates = (photons * x.clamp(min=0)).cpu()
    return (torch.poisson(rates, generator=generator) / photons).to(x)


def denoise(
    y: Tensor,
    photons: float,
    *,
    truth: Tensor | None = None,
    sigma: float | None = None,
    weights: str = "default",
    seed: int | None = None,
    device: str | torch.device | None = None,
) -> Denoised:
    """Denoise ``y``, counts divided by ``photons``, through Anscombe's transform.

    Parameters
    ----------
    y
        the observation ``[1, C, H, W]``, or a volume ``[1, C, D, H, W]``, white at 1.
    photons
        the number of photons that white stands for.
    truth
        the clean image, for the report.
    sigma
        strength on the scale where the roots of white are 1; from ``photons`` without it.
    weights, seed, device
        see :func:`pnp_lip.recipes.denoise.denoise`.

    Returns
    -------
    Denoised
        whose statement is about the denoiser, that is, about the roots.

    Raises
    ------
    InputError
        negative counts, other units, or less than one photon.
    """
    photons = require_photons(photons)
    y = _as_counts(y, photons)
    gain, scale = 1 / photons, math.sqrt(photons) / 2
    sigma = ROOT_STRENGTH / (2 * math.sqrt(photons)) if sigma is None else sigma
    roots = scale * generalized_anscombe_transform(y, gain, 0.0)
    found = denoise_normal(roots, sigma, weights=weights, seed=seed, device=device)
    lifted = (found.image / scale).clamp(min=_DARKEST * gain)
    image = inverse_generalized_anscombe_transform(lifted, gain, 0.0).clamp(0, 1)
    return replace(found, image=image, observation=y, truth=truth, remarks=(_CLAIM,))


def simulated(x: Tensor, kernel: Tensor, photons: float, seed: int) -> Problem:
    """Blur ``x`` (``[B, C, H, W]`` in [0, 1]) periodically and count photons.

    Raises
    ------
    InputError
        a bad kernel, an image outside [0, 1], or less than one photon.
    """
    x = as_truth(x)
    kernel = check_kernel(kernel, x)
    physics = BlurFFT(tuple(x.shape[1:]), filter=kernel, device=x.device)
    y = counted(physics.A(x), photons, seed)
    return _problem(physics, y, y, x, kernel, photons, (0, 0))


def observed(y: Tensor, kernel: Tensor, photons: float) -> Problem:
    """A real observation ``y``, in [0, 1] with white at ``photons`` photons.

    Nothing is assumed beyond its frame.

    Raises
    ------
    InputError
        a bad kernel, negative counts or other units, or less than one photon.
    """
    y = _as_counts(y, require_photons(photons))
    kernel = check_kernel(kernel, y)
    physics = Blur(kernel, padding="valid", device=y.device)
    rows, columns = kernel.shape[2] - 1, kernel.shape[3] - 1
    return _problem(physics, y, extended(y, rows, columns), None, kernel, photons, (rows, columns))


def require_photons(photons: float) -> float:
    """``photons`` if it is a number of at least one.

    Raises
    ------
    InputError
        anything else.
    """
    if not (math.isfinite(photons) and photons >= 1):
        raise InputError(
            f"the number of photons at white is at least 1, got {photons:g}: it is the white level "
            "divided by the counts of the camera for one photon"
        )
    return float(photons)


def _problem(
    physics: LinearPhysics,
    y: Tensor,
    start: Tensor,
    truth: Tensor | None,
    kernel: Tensor,
    photons: float,
    margin: tuple[int, int],
) -> Problem:
    level = math.sqrt(max(float(y.mean()), 1e-6) / photons)
    return Problem(
        "deconvolution of photon counts",
        physics,
        y,
        start,
        y,
        truth,
        min(level, 0.999),
        margin,
        {"kernel": kernel[0, 0].cpu().tolist(), "photons": photons},
        inset=kernel,
        fidelity=PoissonLikelihood(gain=1 / photons),
    )


def _as_counts(y: Tensor, photons: float) -> Tensor:
    y = as_observation(y, min(0.999, math.sqrt(1 / photons)), volumes=True)
    if bool((y < 0).any()):
        raise InputError(
            f"photon counts are not negative, got {float(y.min()):.3g}: subtract no more than the "
            "camera's offset"
        )
    return y
