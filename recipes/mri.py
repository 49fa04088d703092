r"""Magnetic resonance imaging from few lines of k-space, with one coil or several.

.. math:: y_c = M F S_c x + \text{noise}, \qquad c = 1, \dots, N,

with the unitary Fourier transform ``F``, a mask ``M`` and coil sensitivities :math:`S_c`. The image ``x``
is complex; the denoiser acts on its real and its imaginary part, and the magnitude is shown. All numbers
are scaled so that 1 is white: ``noise`` is the standard deviation of the real and of the imaginary part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from deepinv.physics import MRI, LinearPhysics, MultiCoilMRI
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.recipes.coils import centred_ifft, estimated_maps, ring_of_coils
from pnp_lip.recipes.problem import Problem, as_truth, gaussian_noise, require_noise

__all__ = [
    "DETERMINED_STRENGTH",
    "STRENGTH",
    "cartesian_mask",
    "is_determined",
    "observed",
    "simulated",
    "strength",
    "undersampled",
]

#: Least strength of the denoiser and its multiple of the noise, for missing lines or estimated maps; the
#: second pair where given maps of many coils leave nothing missing.
STRENGTH, DETERMINED_STRENGTH = (0.02, 1.5), (0.003, 1.0)
#: Numbers that are measured for each pixel, from which on nothing is missing.
_PLENTY = 2

#: Share of the lines about the middle that are always measured, times the acceleration.
_CENTRE = 0.32
#: White lies this far above the brightest pixel of the image without the missing lines.
_HEADROOM = 1.25
#: The zero frequency is looked for within this share of each side about the middle.
_NEAR = 0.125


def strength(noise: float, *, determined: bool = False) -> float:
    """The strength chosen on validation images for a noise level; ``determined`` is said of the problem."""
    least, factor = DETERMINED_STRENGTH if determined else STRENGTH
    return max(least, factor * noise)


def is_determined(problem: Problem) -> bool:
    """Whether the maps of the coils were given, and twice as many numbers measured as pixels are sought.

    Parameters
    ----------
    problem
        of :func:`simulated`, :func:`observed` or :func:`undersampled`.
    """
    said = problem.settings
    return said["maps"] == "given" and said["coils"] * said["sampled"] >= _PLENTY


def cartesian_mask(size: tuple[int, int], acceleration: float, seed: int) -> Tensor:
    """Columns drawn at random around a block in the middle, ``[H, W]`` of zeros and ones.

    Parameters
    ----------
    size
        rows and columns.
    acceleration
        columns per measured column; 8 % of them lie in the middle at 4, 4 % at 8.
    seed
        of the draws.

    Raises
    ------
    InputError
        an acceleration below 1, or more than there are columns.
    """
    height, width = size
    if not 1 <= acceleration <= width:
        raise InputError(
            f"the acceleration lies between 1 and the {width} columns, got {acceleration:g}"
        )
    count = max(1, round(width / acceleration))
    inner = min(count, max(1, round(_CENTRE / acceleration * width)))
    columns = torch.zeros(width)
    first = (width - inner + 1) // 2
    columns[first : first + inner] = 1
    rest = (columns == 0).nonzero()[:, 0]
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))
    columns[rest[order[: count - inner]]] = 1
    return columns.expand(height, width).contiguous()


def simulated(
    x: Tensor,
    acceleration: float,
    noise: float,
    seed: int,
    *,
    coils: int = 1,
    estimate: bool = False,
) -> Problem:
    """Measure ``x`` (``[1, 1, H, W]`` in [0, 1]), given a smooth phase, with some of its lines.

    Parameters
    ----------
    x
        the magnitude.
    acceleration
        see :func:`cartesian_mask`.
    noise
        standard deviation of real and imaginary part in k-space, in units of white.
    seed
        of mask and noise.
    coils
        number of coils on a ring around the object.
    estimate
        estimate the maps from the middle of k-space, as for a real scan, instead of knowing them.

    Raises
    ------
    InputError
        an image outside [0, 1] or in colour, a noise level outside [0, 1), no coil, or an
        acceleration that does not fit.
    """
    x, noise = as_truth(x), require_noise(noise)
    if x.shape[:2] != (1, 1):
        raise InputError(f"expected one grey image [1, 1, H, W], got {tuple(x.shape)}")
    size = (int(x.shape[-2]), int(x.shape[-1]))
    mask = cartesian_mask(size, acceleration, seed).to(x)
    maps = ring_of_coils(coils, size).to(x.device) if coils > 1 else None
    physics = _physics(mask, maps)
    y = physics.A(x * _phase(size).to(x))
    y = mask * (y + gaussian_noise(y, noise, seed))
    if estimate and maps is not None:
        physics = _physics(mask, estimated_maps(_complex(y), mask))
    settings = {
        "acceleration": acceleration,
        "coils": coils,
        "maps": _origin(maps, estimate and maps is not None),
    }
    return _problem(physics, y, x, noise, mask, settings, ())


def observed(
    kspace: Tensor,
    noise: float | None = None,
    *,
    maps: Tensor | None = None,
    mask: Tensor | None = None,
) -> Problem:
    """A scan: k-space with zeros where nothing was measured.

    Parameters
    ----------
    kspace
        ``[N, H, W]`` complex in any unit, one image of ``N`` coils, zero frequency in the middle.
    noise
        in units of white, see the module; estimated from the outer k-space without it.
    maps
        coil sensitivities ``[N, H, W]``; estimated from the middle of k-space without them. They
        are scaled so that the sum of their squares is at most 1.
    mask
        ``[H, W]``, where k-space was measured; where it is not zero without it.

    Raises
    ------
    InputError
        another type or shape, k-space that is zero or not finite, a zero frequency that is not in
        the middle, or maps and masks that do not fit.
    """
    kspace = _checked(kspace)
    mask = _sampled(kspace, mask)
    physics = _physics(mask, _chosen_maps(kspace, maps, mask))
    y = _parts(mask * kspace[None])
    y = y[:, :, 0] if isinstance(physics, MRI) else y
    white = _HEADROOM * float(torch.linalg.vector_norm(physics.A_adjoint(y), dim=1).max())
    y = y / white
    level = _outer_noise(kspace, mask) / white if noise is None else require_noise(noise)
    share = float(mask.mean())
    remarks = [f"measured {100 * share:.1f} % of k-space ({_coils(len(kspace))})"]
    if noise is None:
        remarks.append(f"noise estimated: {level:.2g} of white, from the outer k-space")
    if share == 1:
        remarks.append(
            "warning: nothing is missing in k-space, so the restoration only denoises; zeros mark "
            "what was not measured, or a mask"
        )
    settings = {
        "white": white,
        "coils": len(kspace),
        "maps": _origin(maps, maps is None and len(kspace) > 1),
    }
    return _problem(physics, y, None, min(level, 0.999), mask, settings, tuple(remarks))


def undersampled(
    kspace: Tensor,
    acceleration: float,
    seed: int,
    noise: float | None = None,
    *,
    maps: Tensor | None = None,
) -> Problem:
    """A complete scan; only some of its lines are used, and the truth is the image of all lines.

    Parameters
    ----------
    kspace, noise, maps
        see :func:`observed`.
    acceleration, seed
        see :func:`cartesian_mask`.

    Returns
    -------
    Problem
        with the root sum of squares of all coils as its truth.
    """
    kspace = _checked(kspace)
    size = (int(kspace.shape[-2]), int(kspace.shape[-1]))
    mask = cartesian_mask(size, acceleration, seed).to(kspace.device)
    problem = observed(mask * kspace, noise, maps=maps)
    whole = centred_ifft(kspace).abs().square().sum(dim=0).sqrt()[None, None]
    truth = (whole / problem.settings["white"]).clamp(0, 1)
    return replace(problem, truth=truth, settings=problem.settings | {"acceleration": acceleration})


def _physics(mask: Tensor, maps: Tensor | None) -> LinearPhysics:
    if maps is None:
        return MRI(mask=mask, device=mask.device)
    return MultiCoilMRI(mask=mask, coil_maps=maps, img_size=mask.shape, device=mask.device)


def _problem(
    physics: LinearPhysics,
    y: Tensor,
    truth: Tensor | None,
    noise: float,
    mask: Tensor,
    settings: Mapping[str, object],
    remarks: tuple[str, ...],
) -> Problem:
    start: Tensor = physics.A_adjoint(y)
    return Problem(
        "magnetic resonance imaging",
        physics,
        y,
        start,
        torch.linalg.vector_norm(start, dim=1, keepdim=True),
        truth,
        noise,
        settings={**settings, "sampled": float(mask.mean())},
        remarks=remarks,
        inset=mask[None, None],
        box=(-1.0, 1.0),
        complex_image=True,
    )


def _phase(size: tuple[int, int]) -> Tensor:
    """A smooth phase factor as real and imaginary part, ``[1, 2, H, W]``."""
    rows = torch.linspace(-1, 1, size[0])[:, None]
    columns = torch.linspace(-1, 1, size[1])[None, :]
    phase = 0.6 * rows - 0.4 * columns + 0.5 * (rows**2 + columns**2) + 0.3 * rows * columns
    return torch.stack([phase.cos(), phase.sin()])[None]


def _complex(y: Tensor) -> Tensor:
    """``[1, 2, N, H, W]`` as ``[1, N, H, W]`` complex."""
    return torch.complex(y[:, 0], y[:, 1])


def _parts(z: Tensor) -> Tensor:
    """The inverse of :func:`_complex`."""
    return torch.stack([z.real, z.imag], dim=1)


def _checked(kspace: Tensor) -> Tensor:
    if kspace.ndim != 3 or not kspace.is_complex():
        raise InputError(
            f"expected complex k-space [coils, H, W], got {kspace.dtype} {tuple(kspace.shape)}"
        )
    if not bool(torch.isfinite(kspace.abs()).all()):
        raise InputError("k-space contains NaN or infinity")
    energy = kspace.abs().square().sum(dim=0)
    if not float(energy.max()) > 0:
        raise InputError("k-space is zero everywhere")
    place = divmod(int(energy.argmax()), energy.shape[1])
    for at, side in zip(place, energy.shape, strict=True):
        if abs(at - side // 2) > max(2, _NEAR * side):
            raise InputError(
                f"the largest number of k-space lies at {place} and not near its middle "
                f"{tuple(side // 2 for side in energy.shape)}: numpy.fft.fftshift puts the zero "
                "frequency there"
            )
    return kspace.to(torch.complex64)


def _sampled(kspace: Tensor, mask: Tensor | None) -> Tensor:
    measured = (kspace != 0).any(dim=0).to(torch.float32)
    if mask is None:
        return measured
    if mask.shape != measured.shape:
        raise InputError(
            f"the mask has {' x '.join(map(str, mask.shape))} entries, k-space "
            f"{' x '.join(map(str, measured.shape))}: they must agree"
        )
    known = (mask != 0).to(measured)
    if not bool((known * measured).any()):
        raise InputError("the mask keeps nothing of k-space: 1 is measured, 0 is missing")
    return known


def _chosen_maps(kspace: Tensor, maps: Tensor | None, mask: Tensor) -> Tensor | None:
    """Maps with sums of squares up to 1, or none for a single coil without maps."""
    if maps is None:
        return None if len(kspace) == 1 else estimated_maps(kspace[None], mask)
    if maps.shape != kspace.shape:
        raise InputError(
            f"the maps have shape {tuple(maps.shape)}, k-space {tuple(kspace.shape)}: they must agree"
        )
    maps = maps.to(torch.complex64)
    largest = float(maps.abs().square().sum(dim=0).max().sqrt())
    if not (math.isfinite(largest) and largest > 0):
        raise InputError("the coil maps are zero everywhere, or contain NaN or infinity")
    return maps[None] / largest


def _outer_noise(kspace: Tensor, mask: Tensor) -> float:
    r"""Standard deviation of a part, from the median magnitude in the outer quarter of k-space.

    The magnitude of pure noise has the median :math:`s\sqrt{2\log 2}`; signal there only adds.
    """
    rows, columns = (
        (torch.arange(side) - side // 2).abs() / (side / 2) for side in kspace.shape[-2:]
    )
    outer = (torch.maximum(rows[:, None], columns[None, :]) > 0.75) & (mask.cpu() > 0)
    values = kspace.cpu().abs()[:, outer]
    if values.numel() == 0:
        return 0.0
    return float(values.median()) / math.sqrt(2 * math.log(2))


def _coils(count: int) -> str:
    return "one coil" if count == 1 else f"{count} coils"


def _origin(maps: Tensor | None, estimated: bool) -> str | None:
    if estimated:
        return "estimated from the middle of k-space"
    return None if maps is None else "given"
