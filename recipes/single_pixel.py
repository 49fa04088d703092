r"""The single-pixel camera and other compressed sensing: few numbers, each a pattern times the image.

.. math:: y_i = \langle p_i, x\rangle + \text{noise}, \qquad i = 1, \dots, m

with the first ``m`` patterns of Hadamard by their number of sign changes (``simulated``), or with any
patterns that were shown (``observed``).
"""

from __future__ import annotations

import torch
from deepinv.physics import CompressedSensing, LinearPhysics, SinglePixelCamera
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import Problem, as_truth, gaussian_noise, require_noise

__all__ = ["STRENGTH", "observed", "simulated", "strength"]

#: Strength of the denoiser, this much for what was not measured, and at least this many times the noise.
STRENGTH = (0.02, 1.0)


def strength(noise: float) -> float:
    """The strength chosen on validation images for a noise level."""
    return max(STRENGTH[0], STRENGTH[1] * noise)


def simulated(x: Tensor, share: float, noise: float, seed: int) -> Problem:
    """Measure ``x`` (``[1, C, H, W]`` in [0, 1]) with a share of the Hadamard patterns.

    Parameters
    ----------
    x
        an image whose sides are powers of 2; each channel is measured by itself.
    share
        of the patterns, in (0, 1].
    noise
        standard deviation on each number; the patterns have norm 1.
    seed
        of the noise.

    Raises
    ------
    InputError
        other sides, a share outside (0, 1], an image outside [0, 1], or a noise level outside [0, 1).
    """
    x, noise = as_truth(x), require_noise(noise)
    if not 0 < share <= 1:
        raise InputError(f"the share of the patterns lies in (0, 1], got {share:g}")
    if any(side & (side - 1) for side in x.shape[-2:]):
        raise InputError(
            f"Hadamard patterns need sides that are powers of 2, got {x.shape[-2]} x {x.shape[-1]}"
        )
    count = max(1, round(share * x.shape[-2] * x.shape[-1]))
    physics = SinglePixelCamera(count, tuple(x.shape[1:]), fast=True, device=x.device)
    y = physics.A(x)
    y = physics.mask * (y + gaussian_noise(y, noise, seed))
    return _problem(physics, y, x, noise, {"patterns": count, "share": share})


def observed(y: Tensor, patterns: Tensor, noise: float) -> Problem:
    """Numbers that a detector gave for patterns that were shown.

    Parameters
    ----------
    y
        ``[m]`` real numbers in any unit.
    patterns
        ``[m, H, W]`` real numbers, one pattern for each.
    noise
        standard deviation, in units of the largest number.

    Raises
    ------
    InputError
        shapes that do not fit, or numbers that are not finite or all zero.
    """
    noise = require_noise(noise)
    if patterns.ndim != 3 or y.ndim != 1 or len(y) != len(patterns):
        raise InputError(
            f"expected m numbers [m] and as many patterns [m, H, W], got {tuple(y.shape)} and "
            f"{tuple(patterns.shape)}"
        )
    matrix, y = patterns.flatten(1).double(), y.double()
    if not bool(matrix.isfinite().all() and y.isfinite().all()):
        raise InputError("the measurement contains NaN or infinity")
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    if not (norm > 0 and float(y.abs().max()) > 0):
        raise InputError("the patterns or the measured numbers are zero everywhere")
    # The least-norm image says how bright the scene is; white lies a little above it.
    image = torch.linalg.lstsq(matrix, y[:, None]).solution
    white = 1.25 * float(image.abs().max())
    physics = CompressedSensing(len(y), (1, *patterns.shape[1:]), device=patterns.device)
    physics._A.copy_((matrix / norm).float())
    physics._A_dagger.copy_(torch.linalg.pinv(matrix / norm).float())
    physics._A_adjoint.copy_((matrix / norm).float().T)
    scaled = (y / (white * norm)).float()[None]
    return _problem(physics, scaled, None, noise, {"white": white, "patterns": len(y)})


def _problem(
    physics: LinearPhysics,
    y: Tensor,
    truth: Tensor | None,
    noise: float,
    settings: dict[str, object],
) -> Problem:
    start: Tensor = physics.A_dagger(y)
    start = start.clamp(0, 1)
    name = "single-pixel imaging"
    return Problem(name, physics, y, start, start, truth, noise, settings=settings)
