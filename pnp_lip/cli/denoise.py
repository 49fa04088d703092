"""``pnp-lip denoise``: the denoiser once, page by page."""

from __future__ import annotations

import argparse

from torch import Tensor

from pnp_lip.cli.door import alpha_note, given, say
from pnp_lip.cli.result import write
from pnp_lip.recipes.denoise import Denoised, add_noise
from pnp_lip.recipes.denoise import denoise as denoised

__all__ = ["denoise"]


def denoise(options: argparse.Namespace) -> int:
    """Remove Gaussian noise."""
    source = given(options)
    say(*source.image.notes, *alpha_note(source.image))

    def one(page: Tensor) -> Denoised:
        noisy = add_noise(page, options.sigma, options.seed) if source.simulate else page
        return denoised(
            noisy,
            options.sigma,
            truth=page if source.simulate else None,
            weights=options.weights,
            seed=options.seed if source.simulate else None,
            tile=options.tile,
            device=options.device,
        )

    write(source, [one(page) for page in source.pages])
    return 0
