"""Ways to solve the problems of :mod:`benchmarks.problems`, each with one number to choose."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from benchmarks.harness import timed
from benchmarks.record import Row
from pnp_lip import GuidedDenoiser
from pnp_lip.recipes.options import Options, network_of, plain_solver
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers import GuidedPlugAndPlay, GuidedSolution, PlugAndPlay, Solution

__all__ = [
    "GUIDED",
    "MOST",
    "OTHERS",
    "PLAIN",
    "RIDGE",
    "TIKHONOV",
    "TOLERANCE",
    "TV",
    "Method",
    "Ours",
    "Restored",
]

TOLERANCE, MOST = 1e-4, 400
PLAIN, GUIDED, TV = "plain", "guided", "total variation"
TIKHONOV, RIDGE = "Tikhonov", "CRR-NN"
OTHERS = (
    TIKHONOV,
    "bicubic",
    "zero-filled",
    "filtered back-projection",
    "Richardson-Lucy",
    "observation",
    RIDGE,
)
#: Plain results that are kept: those of all validation images and strengths.
_MOST_KEPT = 64

Restored = tuple[Tensor, Row]


@dataclass(frozen=True)
class Method:
    """A way to solve a problem.

    Attributes:
        name: of its rows.
        solve: from a problem and the number to an image and what else is recorded.
        tries: values of the number to begin with; none for a method without.
    """

    name: str
    solve: Callable[[Problem, float], Restored]
    tries: Sequence[float] = ()


class Ours:
    """The shipped denoisers in a solver that refuses without a theorem.

    The first stage of a guided solve is the plain solve of the same strength, to the same tolerance; it is
    kept for as long as the problem is the last one or one to choose on, and not repeated.

    Parameters
    ----------
    solver
        one of :data:`pnp_lip.recipes.restoration.SOLVERS`.
    tolerance
        relative residual at which a solve ends.
    """

    def __init__(self, solver: str, tolerance: float = TOLERANCE) -> None:
        self.solver, self.tolerance = solver, tolerance
        self._kept: dict[tuple[int, float], tuple[Problem, Restored]] = {}

    def guided(self, problem: Problem, sigma: float) -> Restored:
        """Plain, guide, guided."""
        options = Options(sigma, self.solver, max_iter=MOST, tol=self.tolerance, guided=True)
        denoiser = network_of(problem, options).denoiser
        begun: list[float] = []

        def build(inner: nn.Module, tol: float) -> PlugAndPlay:
            begun.append(time.process_time())
            return options.build(problem, inner, tol)

        solver = GuidedPlugAndPlay(
            cast(GuidedDenoiser, denoiser), build, tol=self.tolerance, loose=self.tolerance
        )
        solution = solver.solve(problem.y, problem.physics, init=problem.start)
        seconds = time.process_time() - begun[0]
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        first = _restored(problem, solution.stages[0], begun[1] - begun[0])
        self._kept[id(problem), sigma] = problem, first
        return _restored(problem, solution, seconds)

    def plain(self, problem: Problem, sigma: float) -> Restored:
        """Without a guide."""
        kept = self._kept.get((id(problem), sigma))
        if kept is not None:
            return kept[1]
        options = Options(sigma, self.solver, max_iter=MOST, tol=self.tolerance)
        solver = plain_solver(problem, options)
        seconds, solution = timed(
            lambda: solver.solve(problem.y, problem.physics, init=problem.start)
        )
        return _restored(problem, solution, seconds)


def _restored(problem: Problem, solution: Solution | GuidedSolution, seconds: float) -> Restored:
    row = {
        "iterations": solution.iterations,
        "seconds": seconds,
        "proved": solution.guaranteed,
        "converged": solution.status.name == "CONVERGED",
    }
    return problem.in_frame(solution.x).clamp(0, 1), row
