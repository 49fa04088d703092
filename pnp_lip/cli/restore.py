"""``pnp-lip deblur``, ``inpaint`` and ``superresolve``: pose the problem, solve it page by page, write."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import Given, alpha_note, given, noise_of, say
from pnp_lip.cli.failure import NOT_CONVERGED
from pnp_lip.cli.many import each
from pnp_lip.cli.result import write, written_before
from pnp_lip.data.kernels import centred, read_kernel
from pnp_lip.data.masks import Mask, mask_of_alpha, read_mask
from pnp_lip.errors import InputError
from pnp_lip.recipes import deblur as deblurring
from pnp_lip.recipes import inpaint as inpainting
from pnp_lip.recipes import superresolve as superresolving
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, restore
from pnp_lip.solvers import GuidedSolution, Solution, Status

__all__ = ["deblur", "inpaint", "superresolve"]

#: The strength of the denoiser never falls below that for this noise.
_LEAST_NOISE = 0.003


def deblur(options: argparse.Namespace) -> int:
    """Restore one image or many, blurred by a known kernel."""
    return each(options, _deblur)


def inpaint(options: argparse.Namespace) -> int:
    """Fill in the missing pixels of one image or many."""
    return each(options, _inpaint)


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
        return deblurring.STRENGTH[options.solver] * max(noise, _LEAST_NOISE)

    return _solve(source, problem, strength, options)


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

    return _solve(source, problem, strength, options)


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
            return superresolving.simulated(page, options.factor, noise, options.seed)
        return superresolving.observed(page, options.factor, noise)

    def strength(noise: float) -> float:
        return superresolving.STRENGTH[options.factor] * max(noise, _LEAST_NOISE)

    return _solve(
        source if source.simulate else _enlarged(source, options), problem, strength, options
    )


def _enlarged(source: Given, options: argparse.Namespace) -> Given:
    """The result's pixels are smaller than those of the file."""
    storage = source.image.storage.enlarged(options.factor)
    return replace(source, image=replace(source.image, storage=storage))


def _kernel(options: argparse.Namespace, simulate: bool) -> Tensor:
    if options.kernel:
        kernel = read_kernel(options.kernel)
        return centred(kernel) if options.centre_kernel else kernel
    if not simulate:
        raise InputError("a real image needs its --kernel; --simulate blurs a clean image instead")
    return deblurring.motion_kernel()


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


def _solve(
    source: Given,
    problem: Callable[[Tensor, float], Problem],
    strength: Callable[[float], float],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Pose and check the problems of all pages, then solve them and write."""
    pages = [page.to(options.device) for page in source.pages]
    levels = [noise_of(page, options.noise, source.simulate) for page in pages]
    problems = [problem(page, noise) for page, noise in zip(pages, levels, strict=True)]
    say(*(remark for one in problems for remark in one.remarks))
    chosen = [
        _options(options, strength(noise) if options.sigma is None else options.sigma)
        for noise in levels
    ]
    solved = [restore(one, how) for one, how in zip(problems, chosen, strict=True)]
    failed = [one.solution for one in solved if one.solution.status is not Status.CONVERGED]
    report = write(source, solved, NOT_CONVERGED if failed else 0)
    if failed:
        print(_advice(failed, options))
    return report


def _options(options: argparse.Namespace, sigma: float) -> Options:
    return Options(
        sigma=sigma,
        solver=options.solver,
        stepsize=options.stepsize,
        max_iter=options.max_iter,
        tol=options.tol,
        device=options.device,
        seed=options.seed,
        weights=options.weights,
        guided=options.guided,
        unproved=options.unproved,
        verbose=True,
    )


def _advice(failed: list[Solution | GuidedSolution], options: argparse.Namespace) -> str:
    """What to do where an iteration did not converge."""
    if any(solution.status is not Status.MAX_ITERATIONS for solution in failed):
        return f"did not converge: {failed[0].status.value}"
    residual = max(solution.residual for solution in failed)
    return (
        f"the iterations ran out at a residual of {residual:.2g}: raise --max-iter (now "
        f"{options.max_iter}), or accept the result with --tol {_above(residual):g}"
    )


def _above(residual: float) -> float:
    """The next number of one digit above a residual."""
    if not (math.isfinite(residual) and residual > 0):
        return 1.0
    digit = 10.0 ** math.floor(math.log10(residual))
    return digit * math.ceil(residual / digit)
