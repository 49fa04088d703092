"""What the panels compute: arrays of layers in, arrays of layers and a report out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.data.cells import cells
from pnp_lip.data.psf import Optics
from pnp_lip.errors import InputError
from pnp_lip.napari.frames import Frames
from pnp_lip.recipes import deconvolve as deconvolving
from pnp_lip.recipes import inpaint as inpainting
from pnp_lip.recipes.denoise import denoise
from pnp_lip.recipes.noise import estimated_noise
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, restore

__all__ = ["Answer", "deconvolved", "denoised", "inpainted", "sample_cells"]

Numbers = NDArray[Any]

#: The strength of the denoiser never falls below that for this noise.
_LEAST_NOISE = 0.003


@dataclass(frozen=True)
class Answer:
    """A restored layer.

    Attributes
    ----------
    data
        of the shape and in the units of the layer it came from, float32.
    text
        the plan and how it ended, for a person.
    report
        the same as plain numbers and strings.
    """

    data: Numbers
    text: str
    report: dict[str, Any]


def denoised(
    data: Numbers,
    *,
    sigma: float = 0.0,
    volume: bool = False,
    rgb: bool = False,
    white: float | None = None,
) -> Answer:
    """Apply the denoiser to a layer: image by image, or to its last three axes as volumes.

    Parameters
    ----------
    data
        of an image layer, ``[..., Y, X]`` or with ``rgb`` ``[..., Y, X, 3]``.
    sigma
        noise level in [0, 1), where 1 is white; 0 estimates it.
    volume
        whether axis -3 is depth.
    rgb
        whether the last axis holds colours.
    white
        the number that stands for white; the largest of 8- and 16-bit types, 1 for floats.

    Raises
    ------
    InputError
        a layer of another shape, numbers outside [0, white], or a noise level out of range.
    """
    frames = Frames(data, volume, rgb, white)
    found = [denoise(frame, sigma or _estimated(frame)) for frame in frames.tensors]
    text = _gathered([one.summary() for one in found])
    return Answer(frames.joined([one.image for one in found]), text, found[0].to_dict())


def deconvolved(
    data: Numbers,
    psf: Numbers | Optics,
    *,
    noise: float = 0.0,
    photons: float = 0.0,
    strength: float = 0.0,
    max_iter: int = 300,
    white: float | None = None,
) -> Answer:
    """Deconvolve a layer of grey values, as volumes where the point spread function has three axes.

    Parameters
    ----------
    data
        ``[..., Y, X]`` or, for a point spread function with slices, ``[..., Z, Y, X]``.
    psf
        numbers >= 0 of any unit with their centre in the middle, or the optics.
    noise
        level of Gaussian noise; 0 estimates it.
    photons
        how many photons white stands for; 0 for Gaussian noise.
    strength
        of the denoiser in multiples of the noise; 0 for what was best on validation images.
    max_iter
        most iterations.
    white
        as in :func:`denoised`.

    Raises
    ------
    InputError
        what does not fit together, in words.
    """
    kernel = psf.kernel() if isinstance(psf, Optics) else _kernel(psf)
    kind = "photons" if photons else "gaussian"
    share = strength or deconvolving.STRENGTH[kind]
    solver = "primal-dual" if photons else "forward-backward"

    def posed(frame: Tensor) -> Problem:
        level = 0.0 if photons else noise or _estimated(frame)
        return deconvolving.observed(frame, kernel, noise=level, photons=photons or None)

    frames = Frames(data, kernel.ndim == 5, False, white)
    return _solved(frames, posed, share, solver, max_iter)


def inpainted(
    data: Numbers,
    labels: Numbers,
    *,
    noise: float = 0.0,
    rgb: bool = False,
    max_iter: int = 300,
    white: float | None = None,
) -> Answer:
    """Fill in the pixels that carry a label.

    Parameters
    ----------
    data
        ``[Y, X]``, or with ``rgb`` ``[Y, X, 3]``.
    labels
        ``[Y, X]``: what is painted (not 0) is MISSING, as one paints over what is to go.
    noise
        level of the noise in the known pixels.
    rgb, white
        as in :func:`denoised`.
    max_iter
        most iterations.

    Raises
    ------
    InputError
        a stack, labels of another size, nothing painted, or everything.
    """
    frames = Frames(data, False, rgb, white)
    if len(frames.tensors) != 1 or labels.shape != data.shape[:2]:
        raise InputError(
            f"expected one image and labels of its size, got {data.shape} and {labels.shape}"
        )
    if not labels.any():
        raise InputError("nothing is painted: paint over what is to be filled in")
    known = torch.from_numpy(np.asarray(labels) == 0)[None, None]
    unit = max(noise, inpainting.STRENGTH["forward-backward"])

    def posed(frame: Tensor) -> Problem:
        return inpainting.observed(frame, known, noise)

    return _solved(frames, posed, 1.0, "forward-backward", max_iter, unit)


def sample_cells() -> list[tuple[Numbers, dict[str, Any], str]]:
    """Sample data: a volume of cells, and the same blurred and noisy."""
    x = cells((16, 96, 96))
    optics = Optics(wavelength=520, aperture=0.7, pixel=150, step=600, index=1.0)
    y = deconvolving.simulated(x, optics.kernel(), photons=300).y
    shown = {"contrast_limits": (0.0, 1.0), "scale": (4.0, 1.0, 1.0)}
    return [
        (x[0, 0].numpy(), {"name": "cells", "visible": False, **shown}, "image"),
        (y[0, 0].numpy(), {"name": "cells, blurred, 300 photons", **shown}, "image"),
    ]


def _solved(
    frames: Frames,
    posed: Callable[[Tensor], Problem],
    share: float,
    solver: str,
    max_iter: int,
    unit: float | None = None,
) -> Answer:
    found = []
    for frame in frames.tensors:
        problem = posed(frame)
        sigma = min(0.99, share * (unit or max(problem.noise, _LEAST_NOISE)))
        found.append(restore(problem, Options(sigma, solver, max_iter=max_iter)))
    text = _gathered([one.summary() for one in found])
    return Answer(frames.joined([one.image for one in found]), text, found[0].to_dict())


def _kernel(psf: Numbers) -> Tensor:
    if psf.ndim not in (2, 3):
        raise InputError(f"a point spread function has two or three axes, got {psf.shape}")
    return torch.from_numpy(np.asarray(psf, dtype=np.float32))[None, None]


def _estimated(frame: Tensor) -> float:
    return estimated_noise(frame if frame.ndim == 4 else frame[:, :, frame.shape[2] // 2])


def _gathered(summaries: list[str]) -> str:
    middle = summaries[len(summaries) // 2]
    return middle if len(summaries) == 1 else f"{len(summaries)} images; in the middle:\n{middle}"
