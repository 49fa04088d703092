"""``pnp-lip deblur``: a known kernel."""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import alpha_note, given, say
from pnp_lip.cli.many import each
from pnp_lip.cli.result import written_before
from pnp_lip.cli.solving import LEAST_NOISE, solve
from pnp_lip.data.kernels import centred, read_kernel
from pnp_lip.errors import InputError
from pnp_lip.recipes import deblur as deblurring
from pnp_lip.recipes.problem import Problem

__all__ = ["deblur"]


def deblur(options: argparse.Namespace) -> int:
    """Restore one image or many, blurred by a known kernel."""
    return each(options, _deblur)


def _deblur(options: argparse.Namespace) -> dict[str, Any]:
    source = given(options, options.kernel)
    if options.resume and (report := written_before(source)):
        return report
    say(*source.image.notes, *alpha_note(source.image))
    kernel = _kernel(options, source.simulate)

    def problem(page: Tensor, noise: float) -> Problem:
        if source.simulate:
            return deblurring.simulated(page, kernel, noise, options.seed)
        return deblurring.observed(page, kernel, noise)

    def strength(noise: float) -> float:
        return deblurring.STRENGTH[options.solver] * max(noise, LEAST_NOISE)

    return solve(source, problem, strength, options)


def _kernel(options: argparse.Namespace, simulate: bool) -> Tensor:
    if options.kernel:
        kernel = read_kernel(options.kernel)
        return centred(kernel) if options.centre_kernel else kernel
    if not simulate:
        raise InputError("a real image needs its --kernel; --simulate blurs a clean image instead")
    return deblurring.motion_kernel()
