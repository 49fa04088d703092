r"""How strongly the denoiser acts: its noise level, as such or as a share of the noise of ``y``.

.. math:: \sigma = t\,s

with ``s`` the standard deviation of the noise and ``t`` the *strength*. The iteration applies the denoiser
many times, so that ``t < 1`` is right: 0.75 for deblurring, at every noise from 0.01 to 0.05, on
validation images (``python -m benchmarks.strength``). A strength that suits the problem at hand is found
by :mod:`pnp_lip.solvers.discrepancy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from deepinv.physics import GaussianNoise, Physics
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["DEFAULT_STRENGTH", "Level", "required_noise", "stated_noise"]

#: The strength without any other, chosen on validation images for deblurring.
DEFAULT_STRENGTH = 0.75


@dataclass(frozen=True, eq=False)
class Level:
    """Where the noise level of the denoiser comes from.

    Attributes
    ----------
    sigma
        the level itself, a number or one per image; ``None`` to take it from the noise.
    strength
        the share of the noise; ``None`` for the default, ``"auto"`` for the
        discrepancy principle.
    """

    sigma: float | Tensor | None
    strength: float | Literal["auto"] | None

    @classmethod
    def of(cls, sigma: Any, strength: Any) -> Level:
        """What a caller asked for.

        Raises
        ------
        InputError
            both at once, a strength that is not positive, a schedule, or no finite level.
        """
        if sigma is not None and strength is not None:
            raise InputError(
                f"expected sigma, or strength as a share of the noise, not both, got sigma={sigma} and "
                f"strength={strength}"
            )
        if strength is not None and strength != "auto":
            if not (isinstance(strength, (int, float)) and 0 < strength < math.inf):
                raise InputError(
                    f"strength must be a positive share of the noise, or 'auto', got {strength!r}"
                )
            strength = float(strength)
        return cls(None if sigma is None else _noise_level(sigma), strength)

    @property
    def automatic(self) -> bool:
        """Whether the discrepancy principle has to choose first."""
        return self.strength == "auto"

    def at(self, physics: Physics) -> float | Tensor:
        """The level for observations of this physics.

        Raises
        ------
        InputError
            it is a share of a noise that the physics does not state.
        """
        if self.sigma is not None:
            return self.sigma
        noise = required_noise(physics, None)
        return (self.strength if isinstance(self.strength, float) else DEFAULT_STRENGTH) * noise


def stated_noise(physics: Physics) -> float | Tensor | None:
    """The standard deviation of the Gaussian noise that a physics states.

    Parameters
    ----------
    physics
        a deepinv physics; of a stacked one all parts must state the same noise.

    Returns
    -------
    float or Tensor or None
        a number, one per image ``[B]``, or ``None`` without Gaussian noise.
    """
    parts = getattr(physics, "physics_list", None) if _is_stacked(physics) else None
    if parts:
        levels = [stated_noise(part) for part in parts]
        first = levels[0]
        same = all(isinstance(one, float) and one == first for one in levels)
        return first if same else None
    model = getattr(physics, "noise_model", None)
    if not isinstance(model, GaussianNoise):
        return None
    level = torch.as_tensor(model.sigma).detach().flatten()
    return float(level) if level.numel() == 1 else level


def required_noise(physics: Physics, given: float | Tensor | None) -> float | Tensor:
    """The noise that was given, or else stated.

    Raises
    ------
    InputError
        there is none, or it is not positive.
    """
    noise = stated_noise(physics) if given is None else given
    if noise is None or not bool((torch.as_tensor(noise) > 0).all()):
        raise InputError(
            f"the strength of the denoiser is a share of the noise, but {_lack(noise)}: pass sigma=, or "
            f"set physics.noise_model to deepinv's GaussianNoise(sigma)"
        )
    return noise


def _is_stacked(physics: Physics) -> bool:
    return "Stacked" in type(physics).__name__


def _lack(noise: float | Tensor | None) -> str:
    if noise is None:
        return "the physics states no Gaussian noise"
    return f"expected a positive noise, got {noise}"


def _noise_level(sigma: Any) -> float | Tensor:
    """A number, or a tensor with one level per image."""
    if isinstance(sigma, (list, tuple)):
        raise InputError(
            "sigma must be a noise level, got a list: a schedule changes the map in every step, so "
            "that no fixed-point theorem applies; run deepinv's iterations for that"
        )
    level = torch.as_tensor(sigma, dtype=torch.float64 if isinstance(sigma, float) else None)
    if not bool((level.isfinite() & (level >= 0)).all()) or level.ndim > 1:
        raise InputError(f"sigma must be a finite noise level >= 0, or one per image, got {sigma}")
    return float(level) if level.numel() == 1 else level
