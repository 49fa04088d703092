r"""The point spread function of a microscope from its optics: scalar diffraction, after Richards and Wolf.

.. math:: h(r, z) = \Big|\int_0^\alpha \sqrt{\cos\theta}\,(1 + \cos\theta)\,J_0(k r\sin\theta)\,
          e^{i k z\cos\theta}\sin\theta\,d\theta\Big|^2,
          \qquad \sin\alpha = \mathrm{NA}/n, \quad k = 2\pi n/\lambda,

of a widefield microscope without aberrations, sampled at the centres of the pixels. The integral is
computed by the package ``psf`` (BSD licence; ``pip install 'pnp-lip[microscopy]'``). A measured point
spread function is better: it knows the aberrations.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, fields
from types import ModuleType

import torch
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["Optics"]

#: Where the function is cut off, airy radii in the plane, and depths of focus along the axis.
_AIRY_RADII, _DEPTHS = 4.0, 2.0
#: Pixels a side beyond which a point spread function is refused: a unit is wrong.
_LARGEST = 257


@dataclass(frozen=True)
class Optics:
    """A widefield microscope; lengths in nanometres.

    Attributes
    ----------
    wavelength
        of the light that is recorded.
    aperture
        the numerical aperture NA, below the refractive index.
    pixel
        side of a pixel in the sample: the camera's pixel divided by the magnification.
    step
        from slice to slice; ``None`` for images.
    index
        refractive index of the immersion: 1 dry, 1.33 water, 1.515 oil.

    Raises
    ------
    InputError
        a value out of range.

    Examples
    --------
    >>> from pnp_lip.data.psf import Optics
    >>> Optics(wavelength=520, aperture=0.8, pixel=160, index=1.0).kernel().shape  # doctest: +SKIP
    torch.Size([1, 1, 21, 21])
    """

    wavelength: float
    aperture: float
    pixel: float
    step: float | None = None
    index: float = 1.515

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{field.name} must be a positive number, got {value:g}")
        if not self.aperture < self.index:
            raise InputError(
                f"the numerical aperture {self.aperture:g} must be below the refractive index "
                f"{self.index:g} of the immersion (1 dry, 1.33 water, 1.515 oil)"
            )
        for name, value in (("wavelength", self.wavelength), ("pixel", self.pixel)):
            if value < 5:
                raise InputError(
                    f"{name} is a length in nanometres, got {value:g}: multiply micrometres by 1000"
                )

    @property
    def airy_radius(self) -> float:
        """Radius of the first dark ring in focus, in nanometres."""
        return 0.61 * self.wavelength / self.aperture

    @property
    def depth(self) -> float:
        """Distance of the first dark point on the axis from the focus, in nanometres."""
        cosine = math.sqrt(1 - (self.aperture / self.index) ** 2)
        return self.wavelength / (self.index * (1 - cosine))

    def kernel(self) -> Tensor:
        """The function as a kernel of sum 1: ``[1, 1, h, w]``, or ``[1, 1, d, h, w]`` with a step.

        Raises
        ------
        InputError
            the package ``psf`` is not installed, or the kernel would be too large.
        """
        psf = _library()
        radius = _pixels(_AIRY_RADII * self.airy_radius, self.pixel, "pixel")
        slices = 0
        if self.step is not None:
            slices = _pixels(_DEPTHS * self.depth, self.step, "step")
        shape = (slices + 1, radius + 1)
        found = psf.PSF(
            psf.ISOTROPIC | psf.EMISSION,
            shape=(max(shape[0], 2), shape[1]),
            # From the first sample to the last, in micrometres.
            dims=(max(slices, 1) * (self.step or self.pixel) / 1e3, radius * self.pixel / 1e3),
            em_wavelen=self.wavelength,
            num_aperture=self.aperture,
            refr_index=self.index,
        )
        values = torch.from_numpy(found.slice(0) if self.step is None else found.volume())
        if self.step is None:
            values = torch.cat([values.flip(0)[:-1], values])
            values = torch.cat([values.flip(1)[:, :-1], values], dim=1)
        return (values / values.sum()).float()[None, None]

    def remarks(self) -> tuple[str, ...]:
        """What limits the result, one sentence each."""
        nyquist = self.wavelength / (4 * self.aperture)
        if self.pixel <= nyquist:
            return ()
        return (
            f"the pixels of {self.pixel:g} nm are coarser than {nyquist:.0f} nm, the sampling that "
            f"keeps all that the objective resolves: detail below two pixels cannot come back",
        )


def _pixels(length: float, pitch: float, name: str) -> int:
    count = max(1, math.ceil(length / pitch))
    if 2 * count + 1 > _LARGEST:
        raise InputError(
            f"the point spread function would have {2 * count + 1} samples a side: is {name} "
            f"{pitch:g} in nanometres?"
        )
    return count


def _library() -> ModuleType:
    try:
        return importlib.import_module("psf")
    except ImportError as error:
        raise InputError(
            "a point spread function from the optics needs the package psf: pip install "
            "'pnp-lip[microscopy]', or name a file of a measured one"
        ) from error
