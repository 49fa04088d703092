"""Restoration problems: an observation, the physics behind it, and the truth where it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from deepinv.optim.data_fidelity import DataFidelity
from deepinv.physics import LinearPhysics
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["Problem", "as_observation", "as_truth", "gaussian_noise", "require_noise"]

#: How far an observation without noise may leave [0, 1], and how many standard deviations with it.
_BEYOND, _DEVIATIONS = 0.5, 8
#: How far rounding may carry a clean image out of [0, 1].
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Problem:
    """What a recipe hands to a solver.

    Attributes
    ----------
    name
        what is done, for titles.
    physics
        how the observation came about.
    y
        the observation as the physics gives it.
    start
        first image of the iteration, ``[1, C, H, W]``, or volume ``[1, C, D, H, W]``; of a complex
        image real and imaginary part.
    observation
        the observation as an image, for pictures and for its PSNR.
    truth
        the image before degradation, where it is known.
    margin
        rows and columns (of volumes slices first) by which the reconstruction exceeds the frame of
        ``observation``.
    noise
        standard deviation of the noise, in [0, 1].
    settings
        what else a repetition needs.
    remarks
        what a person should know before waiting for the result, one sentence each.
    inset
        kernel or mask ``[1, 1, h, w]``, drawn into the observation.
    fidelity
        the data term; without it half the square of ``Ax - y``. All but ``L2`` need the primal-dual
        method.
    box
        where the numbers of ``x`` lie, for the solver that keeps them there.
    complex_image
        whether the two channels of ``x`` are a complex image; its magnitude is shown.
    """

    name: str
    physics: LinearPhysics
    y: Tensor
    start: Tensor
    observation: Tensor
    truth: Tensor | None
    noise: float
    margin: tuple[int, ...] = (0, 0)
    settings: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    inset: Tensor | None = None
    fidelity: DataFidelity | None = None
    box: tuple[float, float] = (0.0, 1.0)
    complex_image: bool = False

    @property
    def channels(self) -> int:
        """How many channels the denoiser sees; real and imaginary part are denoised each by itself."""
        return 1 if self.complex_image else int(self.start.shape[1])

    def in_frame(self, x: Tensor) -> Tensor:
        """What is shown of a reconstruction: its magnitude, in the frame of the observation."""
        if self.complex_image:
            x = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        sides = self.observation.shape[-len(self.margin) :]
        starts = [extra // 2 for extra in self.margin]
        for axis, (first, length) in enumerate(zip(starts, sides, strict=True), -len(sides)):
            x = x.narrow(axis, first, length)
        return x


def gaussian_noise(x: Tensor, noise: float, seed: int) -> Tensor:
    """Independent normal numbers of standard deviation ``noise``, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return noise * torch.randn(x.shape, generator=generator).to(x.device, x.dtype)


def require_noise(noise: float, name: str = "the noise") -> float:
    """``noise`` if it is a standard deviation in units of the full range.

    Raises
    ------
    InputError
        negative, not finite, or 1 and more: then it is in units of 1/255 as a rule.
    """
    noise = float(noise)
    if math.isfinite(noise) and noise >= 1:
        raise InputError(
            f"{name} is a standard deviation in [0, 1), where 1 is white, got {noise:g}: for 8-bit "
            f"numbers divide by 255 ({noise / 255:.4g})"
        )
    if not 0 <= noise < 1:
        raise InputError(f"{name} must be a standard deviation in [0, 1), got {noise:g}")
    return noise


def as_observation(y: Tensor, noise: float, *, volumes: bool = False) -> Tensor:
    """``y`` as float32 ``[B, C, H, W]``, after checking its units.

    Noise may carry pixels out of [0, 1], by a few standard deviations. With ``volumes`` also
    ``[B, C, D, H, W]``.

    Raises
    ------
    InputError
        another shape or type, NaN, infinity, or numbers of another unit.
    """
    y = _as_images(y, volumes)
    low, high = float(y.min()), float(y.max())
    slack = _BEYOND + _DEVIATIONS * noise
    if low < -slack or high > 1 + slack:
        raise InputError(_outside(low, high))
    return y


def as_truth(x: Tensor, *, volumes: bool = False) -> Tensor:
    """A clean image (with ``volumes`` also a volume) as float32 ``[B, C, H, W]`` in [0, 1].

    Raises
    ------
    InputError
        as :func:`as_observation`, or any pixel outside [0, 1].
    """
    x = _as_images(x, volumes)
    low, high = float(x.min()), float(x.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(_outside(low, high))
    return x.clamp(0, 1)


def _as_images(x: Tensor, volumes: bool) -> Tensor:
    if not isinstance(x, Tensor):
        raise InputError(f"expected a tensor [B, C, H, W], got {type(x).__name__}")
    if x.ndim not in (4, 4 + volumes) or x.numel() == 0 or x.shape[1] not in (1, 3):
        kinds = "images [B, C, H, W]" + (" or volumes [B, C, D, H, W]" if volumes else "")
        raise InputError(f"expected {kinds} with C = 1 or 3, got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"expected floats in [0, 1], got {x.dtype}: divide by the white level")
    if not bool(x.isfinite().all()):
        raise InputError("the image contains NaN or infinity")
    return x.to(torch.float32)


def _outside(low: float, high: float) -> str:
    return (
        f"pixels lie in [0, 1] up to noise, got [{low:.6g}, {high:.6g}]: divide by the number that "
        "stands for white, for instance 255"
    )
