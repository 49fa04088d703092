"""``pnp-lip denoise``: the denoiser once, page by page."""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

from pnp_lip.cli.chunked import denoise_zarr
from pnp_lip.cli.door import alpha_note, given, noise_levels, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import write, written_before
from pnp_lip.errors import InputError
from pnp_lip.formats.ome_zarr import is_zarr
from pnp_lip.recipes import photons
from pnp_lip.recipes.denoise import Denoised, add_noise
from pnp_lip.recipes.denoise import denoise as denoised

__all__ = ["denoise"]


def denoise(options: argparse.Namespace) -> int:
    """Remove Gaussian noise from one image or many."""
    return each(options, _denoise)


def _denoise(options: argparse.Namespace) -> dict[str, Any]:
    if options.image is not None and is_zarr(options.image):
        return denoise_zarr(options)
    source = given(options)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes, *alpha_note(source.image))
    if options.volume:
        source = source.in_depth(options.depth_axis)

    pages = list(source.pages)
    if options.photons is not None:
        return write(source, [_counted(page, source.simulate, options) for page in pages])
    levels = noise_levels(pages, options.sigma, source.simulate)
    done = [_one(*page, source.simulate, options) for page in zip(pages, levels, strict=True)]
    return write(source, done)


def _one(page: Tensor, sigma: float, simulate: bool, options: argparse.Namespace) -> Denoised:
    """A page with Gaussian noise."""
    return denoised(
        add_noise(page, sigma, options.seed) if simulate else page,
        sigma,
        truth=page if simulate else None,
        weights=options.weights,
        guided=options.guided,
        seed=options.seed if simulate else None,
        tile=options.tile,
        device=options.device,
    )


def _counted(page: Tensor, simulate: bool, options: argparse.Namespace) -> Denoised:
    """A page of photon counts."""
    if options.guided or options.tile is not None:
        raise InputError("--photons goes without --guided and without --tile")
    return photons.denoise(
        photons.counted(page, options.photons, options.seed) if simulate else page,
        options.photons,
        truth=page if simulate else None,
        weights=options.weights,
        seed=options.seed if simulate else None,
        device=options.device,
    )
