"""Pose the problem of a command, solve it page by page, write."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pnp_lip.cli.door import Given, noise_levels, say
from pnp_lip.cli.failure import NOT_CONVERGED
from pnp_lip.cli.result import write
from pnp_lip.recipes.by_discrepancy import restore_by_discrepancy
from pnp_lip.recipes.estimate import estimated
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, Restoration, restore
from pnp_lip.recipes.sweep import Sweep, sweep
from pnp_lip.solvers import GuidedSolution, Solution, Status

__all__ = ["LEAST_NOISE", "solve"]

#: The strength of the denoiser never falls below that for this noise.
LEAST_NOISE = 0.003


def solve(
    source: Given,
    problem: Callable[[Tensor, float], Problem],
    strength: Callable[[float], float],
    options: argparse.Namespace,
    *,
    least: float = LEAST_NOISE,
    counted: bool = False,
) -> dict[str, Any]:
    """Pose and check the problems of all pages, then solve them and write.

    Parameters
    ----------
    source
        the pages, or volumes.
    problem
        poses one of them, with its noise level.
    strength
        the default strength of the denoiser for a noise level.
    options
        of the command line.
    least
        what the noise level is taken for where it is smaller, as the unit of ``--strength``.
    counted
        whether the noise level comes from the problem, for instance from photons, not from the option.

    Returns
    -------
    dict[str, Any]
        what was written as the report.
    """
    pages = [page.to(options.device) for page in source.pages]
    levels = noise_levels(pages, options.noise, source.simulate)
    problems = [problem(page, noise) for page, noise in zip(pages, levels, strict=True)]
    say(*(remark for one in problems for remark in one.remarks))
    known = [one.noise for one in problems] if counted else [level or 0.0 for level in levels]
    solved = [
        _solved(one, strength(noise), max(noise, least), options)
        for one, noise in zip(problems, known, strict=True)
    ]
    solutions = [solution for one in solved for solution in _solutions(one)]
    failed = [solution for solution in solutions if solution.status is not Status.CONVERGED]
    report = write(source, solved, NOT_CONVERGED if failed else 0)
    if failed:
        print(_advice(failed, options))
    return report


def _solved(
    problem: Problem, default: float, unit: float, options: argparse.Namespace
) -> Restoration | Sweep:
    """At the strength that is asked for: absolute, in units of the noise, at several, or the default."""
    if options.strengths is not None:
        return sweep(problem, _options(options, default), options.strengths, unit)
    if options.strength == "auto":
        return restore_by_discrepancy(problem, _options(options, default))
    sigma = options.sigma if options.strength is None else options.strength * unit
    how = _options(options, default if sigma is None else sigma)
    if (estimate := estimated(problem, how)) is not None:
        say(estimate.sentence())
    return restore(problem, how)


def _solutions(solved: Restoration | Sweep) -> list[Solution | GuidedSolution]:
    tries = solved.tries if isinstance(solved, Sweep) else (solved,)
    return [one.solution for one in tries]


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
