r"""Computed tomography from few views or few photons, with parallel rays or a fan.

.. math:: y = Ax + \text{noise} \qquad\text{or}\qquad
          n \sim \mathrm{Poisson}\big(n_0 e^{-p}\big), \quad p = cAx, \quad y = \tfrac1c\log(n_0/n),

with the projection ``A``, scaled to norm 1. Few photons make noise that depends on the ray, of variance
about :math:`1/n`; the data term :math:`\frac12\sum_i w_i(Ax - y)_i^2` with :math:`w = n/\max n` is the
quadratic model of their likelihood (Sauer and Bouman 1993). The iteration starts from the filtered
back-projection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import Tomography
from torch import Tensor

from pnp_lip.data.rotation import axis_of_rotation
from pnp_lip.errors import InputError
from pnp_lip.recipes.problem import Problem, as_truth, gaussian_noise, require_noise

__all__ = [
    "COUNTED_STRENGTH",
    "STRENGTH",
    "Fan",
    "evenly",
    "low_dose",
    "observed",
    "simulated",
    "strength",
]

#: Strength of the denoiser, this much for the missing views, and at least this many times the noise;
#: the second for photon counts, whose weights leave less of the data term.
STRENGTH, COUNTED_STRENGTH = (0.005, 1.0), (0.003, 0.35)

#: Logarithm of the attenuation of a ray through a white image, from edge to edge.
_OPACITY = 4.0
#: White lies this far above the brightest pixels of the filtered back-projection; and which those are.
_HEADROOM, _BRIGHTEST = 1.25, 0.999


@dataclass(frozen=True)
class Fan:
    """A fan of rays from a source that turns around the object, with a flat detector.

    Attributes
    ----------
    source, detector
        their distances from the axis of rotation.
    spacing
        between detector pixels.
    pixel
        side of an image pixel; all four in one unit.
    """

    source: float
    detector: float
    spacing: float
    pixel: float

    def __post_init__(self) -> None:
        for name in ("source", "detector", "spacing", "pixel"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"the fan's {name} must be a positive length, got {value:g}")

    @classmethod
    def around(cls, width: int) -> Fan:
        """One that sees an image of ``width`` pixels from four times its side."""
        return cls(source=4.0 * width, detector=4.0 * width, spacing=2.0, pixel=1.0)

    def detectors(self, width: int) -> int:
        """Detector pixels that the shadow of an image of ``width`` pixels falls on."""
        reach = self.pixel * width / math.sqrt(2)
        if reach >= self.source:
            raise InputError(
                f"the source at {self.source:g} lies inside the image, which reaches {reach:g}"
            )
        shadow = (self.source + self.detector) * math.tan(math.asin(reach / self.source))
        return 2 * math.ceil(shadow / self.spacing) + 2


def strength(noise: float, *, counted: bool = False) -> float:
    """The strength chosen on validation images for a noise level, of line integrals or of counts."""
    least, factor = COUNTED_STRENGTH if counted else STRENGTH
    return max(least, factor * noise)


def evenly(views: int, *, fan: bool = False) -> Tensor:
    """Angles of ``views`` projections in degrees: over half a turn, of a fan over a whole one.

    Raises
    ------
    InputError
        no view.
    """
    if views < 1:
        raise InputError(f"there is at least one view, got {views}")
    return torch.arange(views) * ((360.0 if fan else 180.0) / views)


def simulated(
    x: Tensor, angles: Tensor, noise: float, seed: int, *, fan: Fan | None = None
) -> Problem:
    """Project ``x`` (``[1, 1, N, N]`` in [0, 1]) and add noise of the same size to every ray.

    Parameters
    ----------
    x
        a square image.
    angles
        of the views in degrees, ``[V]``.
    noise
        standard deviation, in units of the largest projection of ``x``.
    seed
        of the noise.
    fan
        the geometry; parallel rays without it.

    Returns
    -------
    Problem
        with the filtered back-projection as observation and start.

    Raises
    ------
    InputError
        an image that is not square, grey and in [0, 1], or a noise level outside [0, 1).
    """
    x, noise = _square(x), require_noise(noise)
    physics = _physics(x.shape[-1], angles, fan, x.device)
    y = physics.A(x)
    y = y + gaussian_noise(y, noise * float(y.abs().max()), seed)
    return _problem(physics, y, x, noise, _settings(angles, fan), None)


def low_dose(
    x: Tensor, angles: Tensor, photons: float, seed: int, *, fan: Fan | None = None
) -> Problem:
    """Count the photons that pass ``x`` when ``photons`` start on each ray.

    A ray through a white image from edge to edge attenuates by :math:`e^{-4}`. The arguments are those
    of :func:`simulated`.

    Raises
    ------
    InputError
        an image that is not square, grey and in [0, 1], or less than one photon.
    """
    x = _square(x)
    if not (math.isfinite(photons) and photons >= 1):
        raise InputError(f"at least one photon starts on each ray, got {photons:g}")
    physics = _physics(x.shape[-1], angles, fan, x.device)
    scale = _OPACITY / float(physics.A(torch.ones_like(x)).max())
    expected = photons * torch.exp(-scale * physics.A(x))
    generator = torch.Generator().manual_seed(seed)
    counts = torch.poisson(expected.cpu(), generator=generator).to(x.device)
    y, fidelity, noise = _from_counts(counts, photons)
    settings = _settings(angles, fan) | {"photons": photons}
    return _problem(physics, y / scale, x, noise, settings, fidelity)


def observed(
    sinogram: Tensor,
    angles: Tensor,
    noise: float,
    *,
    fan: Fan | None = None,
    photons: float | None = None,
    size: int | None = None,
    axis: float | None = None,
) -> Problem:
    """A sinogram that was measured.

    Parameters
    ----------
    sinogram
        ``[D, V]``: line integrals in any unit, or photon counts if ``photons`` is given; a row for each
        detector pixel.
    angles
        of the ``V`` views in degrees.
    noise
        standard deviation, in units of the largest line integral; counts tell it themselves.
    fan
        the geometry; parallel rays without it.
    photons
        that start on each ray.
    size
        side of the image in pixels; the number of detector pixels without it (only that for
        parallel rays, where the object lies inside the inscribed circle).
    axis
        the row that the axis of rotation is seen in, counted from 0, to half a pixel; the middle,
        ``(D - 1) / 2``, without it, with a remark if the centres of mass speak against it. Rows of
        air are added so that it is the middle.

    Returns
    -------
    Problem
        whose ``settings["white"]`` is the attenuation of a pixel that is shown white.

    Raises
    ------
    InputError
        shapes that do not fit, numbers that are not finite, negative counts, or a sinogram of
        nothing.
    """
    sinogram = _as_sinogram(sinogram, angles)
    if axis is not None:
        sinogram = _centred(sinogram, axis, 0.0 if photons is None else photons)
    width = size or len(sinogram)
    if fan is None and width != len(sinogram):
        raise InputError(
            f"parallel rays give an image of as many pixels a side as there are detector pixels, "
            f"{len(sinogram)}, got size {width}"
        )
    physics = _physics(width, angles, fan, sinogram.device, detectors=len(sinogram))
    y, fidelity, noise = sinogram[None, None], None, require_noise(noise)
    if photons is not None:
        y, fidelity, noise = _from_counts(y, photons)
    remarks = () if axis is not None or fan is not None else _axis_remark(y[0, 0], angles)
    y = y / physics.operator_norm
    bright = float(physics.fbp(y).flatten().quantile(_BRIGHTEST))
    if not bright > 0:
        raise InputError("the filtered back-projection of this sinogram is dark everywhere")
    white = _HEADROOM * bright
    settings = _settings(angles, fan) | {"white": white, "photons": photons}
    return _problem(physics, y / white, None, noise, settings, fidelity, remarks)


def _axis_remark(integrals: Tensor, angles: Tensor) -> tuple[str, ...]:
    """What the centres of mass say against an axis in the middle."""
    found, middle = axis_of_rotation(integrals, angles), (len(integrals) - 1) / 2
    if found is None:
        return ()
    row, error = found
    nearest = round(2 * row) / 2
    if nearest == middle or abs(row - middle) < 5 * error:
        return ()
    return (
        f"the axis of rotation is taken to be in row {middle:g}, the middle, but the centres of mass "
        f"put it in row {row:.2f}: if that is right, --axis {nearest:g}",
    )


def _physics(
    width: int,
    angles: Tensor,
    fan: Fan | None,
    device: torch.device,
    detectors: int | None = None,
) -> Tomography:
    parameters = None
    if fan is not None:
        parameters = {
            "pixel_spacing": fan.pixel,
            "source_radius": fan.source,
            "detector_radius": fan.detector,
            "n_detector_pixels": detectors or fan.detectors(width),
            "detector_spacing": fan.spacing,
        }
    return Tomography(
        angles=angles.to(device, torch.float32),
        img_width=width,
        # A sinogram from a file shows what lies inside the circle that all its views see.
        circle=fan is None and detectors is not None,
        fan_beam=fan is not None,
        fan_parameters=parameters,
        normalize=True,
        device=device,
    )


def _problem(
    physics: Tomography,
    y: Tensor,
    truth: Tensor | None,
    noise: float,
    settings: dict[str, object],
    fidelity: L2 | None,
    remarks: tuple[str, ...] = (),
) -> Problem:
    start = physics.fbp(y).clamp(0, 1)
    return Problem(
        "computed tomography",
        physics,
        y,
        start,
        start,
        truth,
        noise,
        settings=settings,
        remarks=remarks,
        fidelity=fidelity,
    )


def _from_counts(counts: Tensor, photons: float) -> tuple[Tensor, L2, float]:
    """Line integrals, the weighted data term, and the noise of the rays that weigh most.

    A ray without a photon counts as half a photon, and weighs as little as that.

    Raises
    ------
    InputError
        negative counts.
    """
    if bool((counts < 0).any()):
        raise InputError("photon counts are not negative")
    seen = counts.clamp(min=0.5)
    integrals = torch.log(photons / seen)
    weights = seen / seen.max()
    # The data term of these weights is the one of a scan whose rays all have this noise.
    noise = float(seen.max().rsqrt() / integrals.max().clamp(min=1e-6))
    return integrals, L2(sigma=weights.rsqrt()), min(noise, 0.999)


def _square(x: Tensor) -> Tensor:
    x = as_truth(x)
    if x.shape[:2] != (1, 1) or x.shape[-1] != x.shape[-2]:
        raise InputError(f"expected one square grey image [1, 1, N, N], got {tuple(x.shape)}")
    return x


def _as_sinogram(sinogram: Tensor, angles: Tensor) -> Tensor:
    if sinogram.ndim != 2 or sinogram.is_complex() or 0 in sinogram.shape:
        raise InputError(
            f"expected a real sinogram [detector pixels, views], got {tuple(sinogram.shape)}"
        )
    if sinogram.shape[1] != len(angles):
        raise InputError(
            f"the sinogram has {sinogram.shape[1]} columns for {len(angles)} angles: a column is a "
            "view (transpose it if its rows are)"
        )
    if not bool(sinogram.isfinite().all()):
        raise InputError("the sinogram contains NaN or infinity")
    return sinogram.to(torch.float32)


def _centred(sinogram: Tensor, axis: float, air: float) -> Tensor:
    """With rows of air on one side, so that the axis lies in the middle."""
    last = len(sinogram) - 1
    if not 0 <= axis <= last:
        raise InputError(
            f"the axis of rotation is seen in a row between 0 and {last}, got {axis:g}"
        )
    extra = round(2 * axis - last)
    before, after = max(0, -extra), max(0, extra)
    return torch.nn.functional.pad(sinogram, (0, 0, before, after), value=air)


def _settings(angles: Tensor, fan: Fan | None) -> dict[str, object]:
    return {
        "angles": [round(float(angle), 6) for angle in angles],
        "fan": None if fan is None else vars(fan).copy(),
    }
