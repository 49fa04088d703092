"""A restoration whose strength is chosen by the discrepancy principle, from the noise level alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from deepinv.optim.data_fidelity import L2, PoissonLikelihood
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.quality import psnr
from pnp_lip.recipes.options import Options, plain_solver
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Restoration, finished, restore
from pnp_lip.solvers import PlugAndPlay, solve_by_discrepancy
from pnp_lip.solvers.misfit import count_discrepancy

__all__ = ["restore_by_discrepancy"]

#: Misfit of counts after Anscombe's root to aim at, and the least strength. On parts of validation images
#: at 20 to 500 photons the best strengths were 0.7 to 1.4. Behind a narrow kernel and the trace of a
#: camera they left 0.75 to 0.9. Behind a wide smooth kernel every strength leaves more than 0.93, and the
#: least one is taken, which lost up to 0.4 dB.
_TARGET, _LEAST = 0.88, 0.5


def restore_by_discrepancy(problem: Problem, options: Options) -> Restoration:
    """Solve ``problem`` at the strength whose misfit is as large as the noise.

    A guided solve takes the strength that the plain one chose.

    Parameters
    ----------
    problem
        with Gaussian noise of a known level, or with counted photons.
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
    photons = _photons(problem)
    if problem.noise == 0 or (photons is None and not isinstance(problem.fidelity, L2 | None)):
        raise InputError(
            "the strength is chosen from the level of Gaussian noise or the number of photons: state it "
            "(--noise, --photons), or the strength itself (--strength 0.8)"
        )
    plain = replace(options, guided=False)
    curve: list[float] = []

    def build(sigma: float) -> PlugAndPlay:
        return plain_solver(problem, replace(plain, sigma=min(float(sigma), 0.999)))

    def record(iteration: int, x: Tensor) -> None:
        if problem.truth is not None:
            curve.append(psnr(problem.in_frame(x), problem.truth))

    def misfit(x: Tensor) -> float:
        return count_discrepancy(problem.physics, x, problem.y, photons or 0.0)

    choice = solve_by_discrepancy(
        build,
        problem.y,
        problem.physics,
        noise=problem.noise,
        init=problem.start,
        target=None if photons is None else _TARGET,
        misfit=None if photons is None else misfit,
        least=None if photons is None else _LEAST,
        callback=record if problem.truth is not None else None,
    )
    chosen = replace(options, sigma=float(choice.sigma))
    if options.guided:
        return replace(restore(problem, chosen), choice=choice)
    return replace(finished(problem, chosen, choice.solution, curve), choice=choice)


def _photons(problem: Problem) -> float | None:
    """Photons at white, where these are what is counted."""
    if not isinstance(problem.fidelity, PoissonLikelihood):
        return None
    return float(1 / torch.as_tensor(problem.fidelity.d.gain))
