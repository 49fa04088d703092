"""``pnp-lip superresolve``: a small image, and a large one behind it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import Given, alpha_note, given, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import LEAST_NOISE, solve
from pnp_lip.recipes import superresolve as superresolving
from pnp_lip.recipes.problem import Problem

__all__ = ["superresolve"]


def superresolve(options: argparse.Namespace) -> int:
    """Make one image or many larger."""
    return each(options, _superresolve)


def _superresolve(options: argparse.Namespace) -> dict[str, Any]:
    source = given(options)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes, *alpha_note(source.image))

    def problem(page: Tensor, noise: float) -> Problem:
        if source.simulate:
            return superresolving.simulated(
                page, options.factor, noise, options.seed, blur=options.blur
            )
        return superresolving.observed(page, options.factor, noise, blur=options.blur)

    def strength(noise: float) -> float:
        return superresolving.STRENGTH[options.factor] * max(noise, LEAST_NOISE)

    return solve(
        source if source.simulate else _enlarged(source, options), problem, strength, options
    )


def _enlarged(source: Given, options: argparse.Namespace) -> Given:
    """The pixels of the result are smaller than the pixels of the file."""
    storage = source.image.storage.enlarged(options.factor)
    return replace(source, image=replace(source.image, storage=storage))
