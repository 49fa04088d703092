"""``pnp-lip demosaic``: colours from the mosaic of a sensor."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import alpha_note, given, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import solve
from pnp_lip.recipes import demosaic as demosaicing
from pnp_lip.recipes.problem import Problem

__all__ = ["demosaic"]

#: The photograph in colour that is taken where none is named.
_PHOTOGRAPH = "astronaut"


def demosaic(options: argparse.Namespace) -> int:
    """Restore the colours of one mosaic or many."""
    options.images = options.images or [_PHOTOGRAPH]
    return each(options, _demosaic)


def _demosaic(options: argparse.Namespace) -> dict[str, Any]:
    source = given(options)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes, *alpha_note(source.image))

    def problem(page: Tensor, noise: float) -> Problem:
        if source.simulate:
            return demosaicing.simulated(page, noise, options.seed)
        return demosaicing.observed(page, noise)

    # A mosaic is a grey file without a profile for colours.
    storage = replace(source.image.storage, profile=None)
    colourless = replace(source, image=replace(source.image, storage=storage))
    chosen = source if source.simulate else colourless
    return solve(chosen, problem, demosaicing.strength, options)
