"""``pnp-lip deblur`` and ``pnp-lip inpaint``: pose the problem, solve it page by page, write."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from torch import Tensor

from pnp_lip.cli.door import Given, alpha_note, given, say
from pnp_lip.cli.result import write
from pnp_lip.data.kernels import centred, read_kernel
from pnp_lip.data.masks import Mask, mask_of_alpha, read_mask
from pnp_lip.errors import InputError
from pnp_lip.recipes import deblur as deblurring
from pnp_lip.recipes import inpaint as inpainting
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, Restoration, restore
from pnp_lip.solvers import Status

__all__ = ["deblur", "inpaint"]

_NOT_CONVERGED = 3
#: The strength of the denoiser never falls below that for this noise.
_LEAST_NOISE = 0.003


def deblur(options: argparse.Namespace) -> int:
    """Restore an image blurred by a known kernel."""
    source = given(options, options.kernel)
    say(*source.image.notes, *alpha_note(source.image))
    kernel = _kernel(options, source.simulate)

    def problem(page: Tensor) -> Problem:
        if source.simulate:
            return deblurring.simulated(page, kernel, options.noise, options.seed)
        return deblurring.observed(page, kernel, options.noise)

    strength = deblurring.STRENGTH[options.solver] * max(options.noise, _LEAST_NOISE)
    return _solve(source, problem, strength, options)


def inpaint(options: argparse.Namespace) -> int:
    """Fill in the missing pixels of an image."""
    source = given(options, options.mask)
    say(*source.image.notes)
    mask = _mask(options, source)
    say(*mask.notes)

    def problem(page: Tensor) -> Problem:
        if source.simulate:
            return inpainting.simulated(page, mask.known, options.noise, options.seed)
        return inpainting.observed(page, mask.known, options.noise)

    strength = max(inpainting.STRENGTH[options.solver], options.noise)
    return _solve(source, problem, strength, options)


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
    problem: Callable[[Tensor], Problem],
    strength: float,
    options: argparse.Namespace,
) -> int:
    chosen = Options(
        sigma=strength if options.sigma is None else options.sigma,
        solver=options.solver,
        stepsize=options.stepsize,
        max_iter=options.max_iter,
        tol=options.tol,
        device=options.device,
        seed=options.seed,
        weights=options.weights,
        unproved=options.unproved,
        verbose=True,
    )
    problems = [problem(page.to(options.device)) for page in source.pages]
    say(*(remark for one in problems for remark in one.remarks))
    solved = [restore(one, chosen) for one in problems]
    write(source, solved)
    return _end(solved, options)


def _end(solved: list[Restoration], options: argparse.Namespace) -> int:
    """Say what to do where an iteration did not converge; the exit code."""
    failed = [one.solution for one in solved if one.solution.status is not Status.CONVERGED]
    if not failed:
        return 0
    residual = max(solution.residual for solution in failed)
    if all(solution.status is Status.MAX_ITERATIONS for solution in failed):
        print(
            f"the iterations ran out at a residual of {residual:.2g}: raise --max-iter (now "
            f"{options.max_iter}), or accept the result with --tol {_above(residual):g}"
        )
    else:
        print(f"did not converge: {failed[0].status.value}")
    return _NOT_CONVERGED


def _above(residual: float) -> float:
    """The next number of one digit above a residual."""
    if not (math.isfinite(residual) and residual > 0):
        return 1.0
    digit = 10.0 ** math.floor(math.log10(residual))
    return digit * math.ceil(residual / digit)
