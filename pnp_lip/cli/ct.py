"""``pnp-lip ct``: an image from few projections."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from torch import Tensor

from pnp_lip.cli.many import each
from pnp_lip.cli.scan import scanned, solve_scan, tensor
from pnp_lip.errors import InputError
from pnp_lip.formats.measurements import read_measurement
from pnp_lip.recipes import ct as tomography
from pnp_lip.recipes.problem import Problem

__all__ = ["ct"]

_NOISE = 0.005
_LENGTHS = ("source_distance", "detector_distance", "detector_spacing", "pixel_size")


def ct(options: argparse.Namespace) -> int:
    """Reconstruct one sinogram or several."""
    return each(options, _ct)


def _ct(options: argparse.Namespace) -> dict[str, Any]:
    scan = scanned(options, expected="sinogram")
    noise = _NOISE if options.noise is None else options.noise
    pose = _simulated if scan.simulate else _observed
    problem = pose(scan.numbers, noise, options)
    strength = partial(tomography.strength, counted=options.photons is not None)
    return solve_scan(scan, [problem], strength, options)


def _simulated(truth: Tensor, noise: float, options: argparse.Namespace) -> Problem:
    truth = truth.to(options.device)
    fan = _fan(options) or (tomography.Fan.around(truth.shape[-1]) if options.fan else None)
    angles = _angles(options, options.views)
    if options.photons is not None:
        return tomography.low_dose(truth, angles, options.photons, options.seed, fan=fan)
    return tomography.simulated(truth, angles, noise, options.seed, fan=fan)


def _observed(sinogram: Tensor, noise: float, options: argparse.Namespace) -> Problem:
    if options.transpose:
        sinogram = sinogram.transpose(-2, -1).contiguous()
    fan = _fan(options)
    if options.fan and fan is None:
        raise InputError(
            "a fan needs its lengths: "
            + ", ".join("--" + name.replace("_", "-") for name in _LENGTHS)
        )
    views = sinogram.shape[-1] if sinogram.ndim else 0
    return tomography.observed(
        sinogram.to(options.device),
        _angles(options, views),
        noise,
        fan=fan,
        photons=options.photons,
        size=options.size,
        axis=options.axis,
    )


def _angles(options: argparse.Namespace, views: int) -> Tensor:
    if options.angles is None:
        return tomography.evenly(views, fan=options.fan)
    return tensor(read_measurement(options.angles)).flatten()


def _fan(options: argparse.Namespace) -> tomography.Fan | None:
    """The geometry that is stated, all of it or nothing."""
    lengths = [getattr(options, name) for name in _LENGTHS]
    if all(length is None for length in lengths):
        return None
    if not options.fan or None in lengths:
        raise InputError(
            "the geometry of a fan is --fan with all of "
            + ", ".join("--" + name.replace("_", "-") for name in _LENGTHS)
        )
    return tomography.Fan(*lengths)
