r"""One solve after the other: plain, then guided by what came out.

*Stability.* If every stage contracts, ``S_j`` bounds how far its result moves for a change of ``y`` by 1
with guide and first image fixed, and ``q_j`` is its factor, then

.. math:: R_0 = S_0, \qquad R_j = S_j + \frac{(L_D + \rho_j)\,R_{j-1}}{1 - q_j}

bounds how far the result of stage ``j`` moves: its guide is the image before it, by which the denoiser
changes by at most :math:`L_D` (:func:`pnp_lip.certifier.guide_constant`), and so is the reference to which
an anchor :math:`\rho_j` pulls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import torch
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.certifier import guide_constant
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.errors import InputError
from pnp_lip.rounding import round_up
from pnp_lip.solvers.guide import Adaptive, Following, seen
from pnp_lip.solvers.guide_plan import following_plan, require_followed
from pnp_lip.solvers.guided_solution import GuidedSolution, Stage
from pnp_lip.solvers.iteration import Status
from pnp_lip.solvers.measurements import Measurement
from pnp_lip.solvers.schemes import Scheme
from pnp_lip.solvers.solution import Solution
from pnp_lip.weights import weight_hash

__all__ = ["Solver", "Staging"]

#: Residual of the stages whose images only serve as guides.
LOOSE = 1e-3


class Solver(Protocol):
    """What a stage is solved with."""

    sigma: Any
    box: tuple[float, float] | None
    scheme: Scheme

    def solve(self, y: Measurement, physics: Physics, **kwargs: Any) -> Solution: ...


@dataclass(frozen=True)
class Staging:
    """How a guided denoiser is used in a solver.

    Attributes
    ----------
    guided
        the denoiser. The first stage uses ``guided.plain``, the others ``guided.at(z, s)``
        with the noise level ``s`` of their solver.
    build
        makes the solver of a stage from its denoiser and its tolerance.
    tol
        relative fixed-point residual of the last stage.
    loose
        that of the stages before it.
    updates
        number of guides, at least 1.
    follow
        how the guide moves in one loop; stages with fixed guides without it.

    Raises
    ------
    InputError
        a tolerance that is not positive, or less than one guide.
    """

    guided: GuidedDenoiser
    build: Callable[[nn.Module, float], Solver]
    tol: float
    loose: float = LOOSE
    updates: int = 1
    follow: Adaptive | None = None

    def __post_init__(self) -> None:
        if not (self.tol > 0 and self.loose > 0):
            raise InputError(
                f"expected positive tolerances, got tol={self.tol}, loose={self.loose}"
            )
        if self.updates < 1:
            raise InputError(f"expected at least 1 guide, got guide_updates={self.updates}")

    def solve(
        self, y: Measurement, physics: Physics, *, init: Any = None, **given: Any
    ) -> GuidedSolution:
        """Solve plainly, then guided from there; a stage that became infinite or NaN is the last one."""
        plain = self.build(self.guided.plain, self.loose).solve(y, physics, init=init, **given)
        run = [Stage(plain)]
        while len(run) <= self.updates and run[-1].solution.status is not Status.NON_FINITE:
            before = run[-1].solution.x
            if self.follow is not None:
                run.append(self._following(before, self.follow, y, physics, given))
            else:
                tol = self.tol if len(run) == self.updates else self.loose
                run.append(self._fixed(before, tol, y, physics, given))
        return GuidedSolution.of(tuple(run), self._stability(run))

    def _fixed(
        self, guide: Tensor, tol: float, y: Measurement, physics: Physics, given: dict[str, Any]
    ) -> Stage:
        """A solve with this guide, from it."""
        sigma = self.build(self.guided.plain, tol).sigma
        fixed = self.guided.at(*seen(self.guided, guide, sigma))
        solution = self.build(fixed, tol).solve(y, physics, init=guide, **given)
        return Stage(solution, weight_hash({"guide": guide}))

    def _following(
        self,
        guide: Tensor,
        rule: Adaptive,
        y: Measurement,
        physics: Physics,
        given: dict[str, Any],
    ) -> Stage:
        """One loop, in which the guide follows the image."""
        sigma = self.build(self.guided.plain, self.tol).sigma
        following = Following(self.guided, guide, sigma, rule)
        solver = self.build(following.denoiser, self.tol)
        callback = given.get("callback")

        def after(iteration: int, image: Tensor) -> None:
            following(iteration, image)
            if callback is not None:
                callback(iteration, image)

        box = require_followed(solver.box, solver.scheme)
        solution = solver.solve(y, physics, init=guide, **given | {"callback": after})
        plan = following_plan(solution.plan, rule, box, solution.iterations)
        stage = replace(solution, plan=plan, distance=None)
        return Stage(stage, weight_hash({"guide": following.guide}), moved=True)

    def _stability(self, run: list[Stage]) -> float | None:
        """See the module."""
        plans = [stage.solution.plan for stage in run]
        if any(plan.contraction is None or plan.stability is None for plan in plans):
            return None
        sigma = torch.as_tensor(self.build(self.guided.plain, self.tol).sigma)
        constant = Fraction(guide_constant(self.guided, float(sigma.max())))
        moved = Fraction(0)
        for index, plan in enumerate(plans):
            through = (constant + Fraction(plan.anchor)) * moved if index else Fraction(0)
            moved = Fraction(plan.stability or 0) + through / (1 - Fraction(plan.contraction or 0))
        return round_up(moved)
