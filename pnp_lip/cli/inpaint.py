"""``pnp-lip inpaint``: known and missing pixels."""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import Given, alpha_note, given, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import solve
from pnp_lip.data.masks import Mask, mask_of_alpha, read_mask
from pnp_lip.errors import InputError
from pnp_lip.recipes import inpaint as inpainting
from pnp_lip.recipes.problem import Problem

__all__ = ["inpaint"]


def inpaint(options: argparse.Namespace) -> int:
    """Fill in the missing pixels of one image or many."""
    return each(options, _inpaint)


def _inpaint(options: argparse.Namespace) -> dict[str, Any]:
    source = given(options, options.mask)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes)
    mask = _mask(options, source)
    say(*mask.notes)

    def problem(page: Tensor, noise: float) -> Problem:
        if source.simulate:
            return inpainting.simulated(page, mask.known, noise, options.seed)
        return inpainting.observed(page, mask.known, noise)

    def strength(noise: float) -> float:
        return max(inpainting.STRENGTH[options.solver], noise)

    return solve(source, problem, strength, options, least=inpainting.STRENGTH[options.solver])


def _mask(options: argparse.Namespace, source: Given) -> Mask:
    """From its file, from the alpha channel of the image, or drawn at random."""
    alpha = source.image.alpha
    if options.mask:
        mask = read_mask(options.mask)
        mask = mask.inverted() if options.invert_mask else mask
        return Mask(mask.known, (*mask.notes, *alpha_note(source.image)))
    if not source.simulate:
        found = None if alpha is None else mask_of_alpha(alpha[:1])
        if found is None:
            raise InputError("a real image needs its --mask; --simulate hides pixels instead")
        return found.inverted() if options.invert_mask else found
    known = inpainting.random_mask(source.pages[0], options.missing, options.seed)
    return Mask(known, alpha_note(source.image))
