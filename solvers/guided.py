r"""Plug-and-Play with a guided denoiser, in stages: plain solve, guide, guided solve from there.

.. math:: x^0 = \mathrm{solve}(D_0), \qquad
          x^{j} = \mathrm{solve}(D_{z}) \;\text{ with } z = x^{j-1} \text{ fixed and from } x^{j-1}

Within each stage the guide does not move, so the denoiser of a stage is one averaged map and the
theorem of the method applies to it; each stage has its own plan, which says so. How the last
image depends on the observation *through* the guide is covered by no theorem here: the outer map
is continuous, but not nonexpansive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.errors import InputError
from pnp_lip.solvers.iteration import Status
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.plug_and_play import PlugAndPlay
from pnp_lip.solvers.solution import Solution

__all__ = ["Build", "GuidedPlugAndPlay", "GuidedSolution"]

#: A solver for a plain denoiser that stops at a tolerance.
Build = Callable[[nn.Module, float], PlugAndPlay]

_THROUGH_THE_GUIDE = (
    "each stage converges by the theorem of its plan, for its fixed guide; nothing is claimed about how "
    "the result depends on the observation through the guide"
)


@dataclass(frozen=True)
class GuidedSolution:
    """A reconstruction in stages.

    Attributes
    ----------
    stages
        the plain solve, then one guided solve for each guide.
    guides
        hashes of the guides, one for each guided solve.
    """

    stages: tuple[Solution, ...]
    guides: tuple[str, ...]

    @property
    def x(self) -> Tensor:
        """Images ``[B, C, H, W]`` of the last stage."""
        return self.stages[-1].x

    @property
    def plan(self) -> Plan:
        """The plan of the last stage."""
        return self.stages[-1].plan

    @property
    def status(self) -> Status:
        """How the last stage ended."""
        return self.stages[-1].status

    @property
    def iterations(self) -> int:
        """Applications of all maps together."""
        return sum(stage.iterations for stage in self.stages)

    @property
    def residual(self) -> float:
        """Relative fixed-point residual of the last stage."""
        return self.stages[-1].residual

    @property
    def residuals(self) -> Tensor:
        """Those of all stages, one after the other, ``[iterations, B]``."""
        return torch.cat([stage.residuals for stage in self.stages])

    @property
    def guaranteed(self) -> bool:
        """Whether the theorem of every stage covers what was run."""
        return all(stage.guaranteed for stage in self.stages)

    @property
    def message(self) -> str:
        """What happened in the last stage."""
        return self.stages[-1].message

    def summary(self) -> str:
        """Every stage in a few lines, and what no theorem covers."""
        lines = []
        for index, stage in enumerate(self.stages):
            guide = f"guided by {self.guides[index - 1][:12]}" if index else "plain"
            lines += [f"stage {index + 1}, {guide}, {stage.iterations} iterations: {stage.message}"]
            lines += ["  " + line for line in stage.plan.summary().splitlines()]
        return "\n".join([*lines, _THROUGH_THE_GUIDE])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for a report."""
        return {
            "stages": [
                {
                    "guide_sha256": self.guides[index - 1] if index else None,
                    "iterations": stage.iterations,
                    "status": stage.status.name,
                    "residual": stage.residual,
                    "plan": stage.plan.to_dict(),
                }
                for index, stage in enumerate(self.stages)
            ],
            "remark": _THROUGH_THE_GUIDE,
        }


class GuidedPlugAndPlay(Reconstructor):
    r"""A deepinv reconstructor that solves in stages, see the module.

    Parameters
    ----------
    denoiser
        the guided denoiser ``G``. The first stage uses ``G.plain``, the others ``G.at(z, s)``
        with the noise level ``s`` of their solver.
    build
        makes the solver of a stage from its denoiser and its tolerance.
    tol
        relative fixed-point residual of the last stage.
    loose
        that of the stages before it, whose images only serve as guides.
    guide_updates
        number of guides, at least 1.

    Raises
    ------
    InputError
        a tolerance that is not positive, or less than one guide.

    Examples
    --------
    >>> import torch
    >>> from deepinv.physics import Denoising
    >>> from pnp_lip import GuidedDenoiser
    >>> from pnp_lip.solvers import ForwardBackward, GuidedPlugAndPlay
    >>> def build(denoiser, tol):
    ...     return ForwardBackward(denoiser, sigma=0.05, tol=tol, box=(0, 1))
    >>> solver = GuidedPlugAndPlay(GuidedDenoiser(1), build)
    >>> solution = solver.solve(torch.rand(1, 1, 16, 16), Denoising())
    >>> solution.guaranteed, len(solution.stages)
    (True, 2)
    """

    def __init__(
        self,
        denoiser: GuidedDenoiser,
        build: Build,
        *,
        tol: float = 1e-4,
        loose: float = 1e-3,
        guide_updates: int = 1,
    ) -> None:
        super().__init__()
        if not (tol > 0 and loose > 0):
            raise InputError(f"expected positive tolerances, got tol={tol}, loose={loose}")
        if guide_updates < 1:
            raise InputError(f"expected at least 1 guide, got guide_updates={guide_updates}")
        self.denoiser, self.build = denoiser, build
        self.tol, self.loose, self.guide_updates = tol, loose, guide_updates

    def forward(self, y: Tensor, physics: Physics, **kwargs: Any) -> Tensor:
        """The reconstruction ``[B, C, H, W]`` of the observation ``y``; see :meth:`solve`."""
        return self.solve(y, physics, **kwargs).x

    def solve(
        self,
        y: Tensor,
        physics: Physics,
        *,
        init: Tensor | None = None,
        norm: float | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
    ) -> GuidedSolution:
        r"""Solve plainly, then guided from there.

        Parameters
        ----------
        y
            observation ``[B, ...]``.
        physics
            a linear deepinv physics.
        init
            first image of the plain solve; the solver's own by default.
        norm
            an upper bound of :math:`\|A\|` that the caller vouches for.
        callback
            called with the iteration (from 1 in each stage) and the image.

        Returns
        -------
        GuidedSolution
            All stages; a stage that became infinite or NaN is the last one.

        Raises
        ------
        HypothesisViolated
            a hypothesis of a stage fails; the message says which and what to change.
        """
        given: dict[str, Any] = {"norm": norm, "callback": callback}
        plain = self.build(self.denoiser.plain, self.loose)
        stages = [plain.solve(y, physics, init=init, **given)]
        guides: list[str] = []
        while len(guides) < self.guide_updates and stages[-1].status is not Status.NON_FINITE:
            last = len(guides) + 1 == self.guide_updates
            stage, digest = self._guided(
                stages[-1].x, self.tol if last else self.loose, y, physics, given
            )
            stages.append(stage)
            guides.append(digest)
        return GuidedSolution(tuple(stages), tuple(guides))

    def _guided(
        self, guide: Tensor, tol: float, y: Tensor, physics: Physics, given: dict[str, Any]
    ) -> tuple[Solution, str]:
        """A solve with this guide, from it, and the hash of the guide."""
        sigma = self.build(self.denoiser.plain, tol).sigma
        fixed = self.denoiser.at(guide, sigma)
        solution = self.build(fixed, tol).solve(y, physics, init=guide, **given)
        return solution, fixed.guide_sha256
