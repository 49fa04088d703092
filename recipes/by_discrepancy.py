"""A restoration whose strength is chosen by the discrepancy principle, from the noise level alone."""

from __future__ import annotations

from dataclasses import replace

from deepinv.optim.data_fidelity import L2
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.quality import psnr
from pnp_lip.recipes.options import Options, plain_solver
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Restoration, finished, restore
from pnp_lip.solvers import PlugAndPlay, solve_by_discrepancy

__all__ = ["restore_by_discrepancy"]


def restore_by_discrepancy(problem: Problem, options: Options) -> Restoration:
    """Solve ``problem`` at the strength whose misfit is as large as the noise.

    A guided solve takes the strength that the plain one chose.

    Parameters
    ----------
    problem
        with Gaussian noise of a known level.
    options
        how; its ``sigma`` is replaced.

    Returns
    -------
    Restoration
        its ``choice`` says how the strength came about.

    Raises
    ------
    InputError
        no noise, or noise of another kind.
    HypothesisViolated
        the convergence theorem does not apply with these options.
    """
    if problem.noise == 0 or not isinstance(problem.fidelity, L2 | None):
        raise InputError(
            "the strength is chosen from the level of Gaussian noise: state it (--noise), or the "
            "strength itself (--strength 0.8)"
        )
    plain = replace(options, guided=False)
    curve: list[float] = []

    def build(sigma: float) -> PlugAndPlay:
        return plain_solver(problem, replace(plain, sigma=min(float(sigma), 0.999)))

    def record(iteration: int, x: Tensor) -> None:
        if problem.truth is not None:
            curve.append(psnr(problem.in_frame(x), problem.truth))

    choice = solve_by_discrepancy(
        build,
        problem.y,
        problem.physics,
        noise=problem.noise,
        init=problem.start,
        callback=record if problem.truth is not None else None,
    )
    chosen = replace(options, sigma=float(choice.sigma))
    if options.guided:
        return replace(restore(problem, chosen), choice=choice)
    return replace(finished(problem, chosen, choice.solution, curve), choice=choice)
