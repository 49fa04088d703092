"""``pnp-lip deconvolve``: images and volumes of a microscope."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import Given, alpha_note, given, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import LEAST_NOISE, solve
from pnp_lip.data.kernels import centred, read_psf
from pnp_lip.data.psf import Optics
from pnp_lip.errors import InputError
from pnp_lip.formats.tiff_scale import pixel_size
from pnp_lip.recipes import deconvolve as deconvolving
from pnp_lip.recipes.problem import Problem

__all__ = ["deconvolve"]

#: The point spread function of a simulation without one: a dry objective, in nanometres.
_SIMULATED = Optics(wavelength=520, aperture=0.7, pixel=150, step=600, index=1.0)
_OPTICS = ("wavelength", "na", "pixel", "step")


def deconvolve(options: argparse.Namespace) -> int:
    """Restore one image or stack, or many."""
    return each(options, _deconvolve)


def _deconvolve(options: argparse.Namespace) -> dict[str, Any]:
    if options.photons is not None:
        options = argparse.Namespace(**{**vars(options), "solver": "primal-dual", "noise": 0.0})
    source = given(options, options.psf)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes, *alpha_note(source.image))
    kernel = _kernel(options, source)
    source = _without_offset(source, options.offset)
    if kernel.ndim == 5:
        source = source.in_depth(options.depth_axis)

    def problem(page: Tensor, noise: float) -> Problem:
        if source.simulate:
            return deconvolving.simulated(
                page, kernel, noise=noise, photons=options.photons, seed=options.seed
            )
        return deconvolving.observed(page, kernel, noise=noise, photons=options.photons)

    def strength(noise: float) -> float:
        kind = "gaussian" if options.photons is None else "photons"
        return min(0.99, deconvolving.STRENGTH[kind] * max(noise, LEAST_NOISE))

    return solve(source, problem, strength, options, counted=options.photons is not None)


def _kernel(options: argparse.Namespace, source: Given) -> Tensor:
    """The kernel: read from its file, computed from the optics, or simulated."""
    stated = [name for name in _OPTICS if getattr(options, name) is not None]
    if options.psf is not None:
        if stated:
            raise InputError(f"state --psf or the optics (--{stated[0]}), not both")
        kernel = read_psf(options.psf)
        return centred(kernel) if options.centre_kernel else kernel
    if not stated:
        if not source.simulate:
            raise InputError(
                "a real image needs its point spread function: --psf FILE, or --wavelength, --na and "
                "--pixel (unless ImageJ or OME wrote it into the file), for a volume also --step"
            )
        several = bool(source.image.storage.axes)
        return (_SIMULATED if several else replace(_SIMULATED, step=None)).kernel()
    pixel = _pixel(options.pixel, source)
    needed = {"--wavelength": options.wavelength, "--na": options.na, "--pixel": pixel}
    missing = [name for name, value in needed.items() if value is None]
    if missing or pixel is None:
        raise InputError(f"the optics lack {', '.join(missing)}")
    optics = Optics(options.wavelength, options.na, pixel, options.step, options.index)
    say(*optics.remarks())
    return optics.kernel()


def _pixel(stated: float | None, source: Given) -> float | None:
    """The side of a pixel: as stated, or as the file says it, which is said."""
    found = pixel_size(source.image.storage.scale)
    if stated is None and found is not None:
        say(f"a pixel is {found:.4g} nm, as the file says; --pixel states another size")
        return found
    if stated is not None and found is not None and abs(stated - found) > 0.02 * found:
        say(
            f"warning: a pixel is {found:.4g} nm in the file, and {stated:.4g} nm by --pixel, which counts"
        )
    return stated


def _without_offset(source: Given, offset: float | None) -> Given:
    """The pixels with ``offset``, in stored numbers, taken off."""
    if offset is None:
        return source
    if source.simulate:
        raise InputError("--offset is of a camera: a simulation has none")
    dark = offset / source.image.storage.white
    if not dark < 1:
        raise InputError(f"the offset {offset:g} is not below the white level")
    pixels = source.image.pixels - dark
    return replace(source, image=replace(source.image, pixels=pixels))
