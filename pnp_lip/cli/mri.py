"""``pnp-lip mri``: an image from few lines of k-space."""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import say
from pnp_lip.cli.many import each
from pnp_lip.cli.scan import scanned, solve_scan, tensor
from pnp_lip.errors import InputError
from pnp_lip.formats.measurements import read_measurement
from pnp_lip.recipes import mri as imaging
from pnp_lip.recipes.problem import Problem

__all__ = ["mri"]

_NOISE, _ACCELERATION = 0.005, 4.0


def mri(options: argparse.Namespace) -> int:
    """Reconstruct one scan or several."""
    return each(options, _mri)


def _mri(options: argparse.Namespace) -> dict[str, Any]:
    scan = scanned(options, expected="kspace")
    if scan.simulate:
        problems = [_simulated(scan.numbers, options)]
    else:
        problems = _observed(_as_slices(scan.numbers, options), options)
    noise = max(problem.noise for problem in problems)
    determined = all(imaging.is_determined(problem) for problem in problems)
    strength = imaging.strength(noise, determined=determined)
    return solve_scan(scan, problems, lambda _: strength, options)


def _simulated(truth: Tensor, options: argparse.Namespace) -> Problem:
    return imaging.simulated(
        truth.to(options.device),
        options.acceleration or _ACCELERATION,
        _NOISE if options.noise is None else options.noise,
        options.seed,
        coils=options.coils,
        estimate=options.coils > 1,
    )


def _observed(slices: Tensor, options: argparse.Namespace) -> list[Problem]:
    slices = slices.to(options.device)
    maps = _file(options.maps, slices.shape, "coil maps")
    mask = _file(options.mask, slices.shape[-2:], "mask")
    problems = []
    for number, kspace in enumerate(slices):
        own = None if maps is None else maps.expand_as(slices)[number]
        if options.acceleration:
            if mask is not None:
                raise InputError("--acceleration draws its own lines: leave out --mask")
            problem = imaging.undersampled(
                kspace, options.acceleration, options.seed, options.noise, maps=own
            )
        else:
            problem = imaging.observed(kspace, options.noise, maps=own, mask=mask)
        problems.append(problem)
    return problems


def _as_slices(kspace: Tensor, options: argparse.Namespace) -> Tensor:
    """``[slices, coils, H, W]``."""
    if kspace.ndim == 2:
        return kspace[None, None]
    if kspace.ndim == 3:
        if options.slices:
            return kspace[:, None]
        say(
            f"the first of three axes counts {len(kspace)} coils; --slices takes it for slices of one "
            "coil"
        )
        return kspace[None]
    if kspace.ndim == 4:
        return kspace
    raise InputError(
        f"expected k-space [H, W], [coils, H, W] or [slices, coils, H, W], got {tuple(kspace.shape)}"
    )


def _file(name: str | None, shape: tuple[int, ...], what: str) -> Tensor | None:
    """Numbers of a second file, whose last axes have to fit."""
    if name is None:
        return None
    found = tensor(read_measurement(name))
    if len(shape) == 4 and found.ndim == 2:
        found = found[None]
    if found.ndim > len(shape) or tuple(found.shape) != tuple(shape[-found.ndim :]):
        raise InputError(
            f"{name}: the {what} have shape {tuple(found.shape)}, k-space {tuple(shape)}: their last "
            "axes must agree"
        )
    return found
