"""``pnp-lip saltpepper`` and ``pnp-lip jpeg``: errors that are rare and large."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import alpha_note, given, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import solve
from pnp_lip.recipes import outliers
from pnp_lip.recipes.problem import Problem

__all__ = ["jpeg", "saltpepper"]


def saltpepper(options: argparse.Namespace) -> int:
    """Restore one image or many with wrong pixels."""

    def damage(page: Tensor) -> Tensor:
        return outliers.salted(page, options.wrong, options.seed)

    options.stepsize = outliers.STEP
    sigma = outliers.strength(options.wrong)
    return each(options, lambda one: _restored(one, "salt and pepper", damage, sigma))


def jpeg(options: argparse.Namespace) -> int:
    """Restore one photograph or many after JPEG."""

    def damage(page: Tensor) -> Tensor:
        return outliers.compressed(page, options.quality)

    options.stepsize = outliers.JPEG_STEP
    sigma = outliers.jpeg_strength(options.quality)
    return each(options, lambda one: _restored(one, "JPEG artefacts", damage, sigma))


def _restored(
    options: argparse.Namespace, name: str, damage: Callable[[Tensor], Tensor], sigma: float
) -> dict[str, Any]:
    source = given(options)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes, *alpha_note(source.image))

    def problem(page: Tensor, noise: float) -> Problem:
        if source.simulate:
            return outliers.simulated(page, damage(page), name)
        return outliers.observed(page, name)

    return solve(source, problem, lambda noise: sigma, options)
