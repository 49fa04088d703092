"""What a solver returns, and the map that it iterated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from pnp_lip.rounding import format_up
from pnp_lip.solvers.growth import Growth
from pnp_lip.solvers.iteration import Status
from pnp_lip.solvers.plan import Plan

__all__ = ["FixedPointMap", "Solution"]


@dataclass(frozen=True)
class FixedPointMap:
    """A map on one image tensor, and how an image is read off its variable.

    Attributes
    ----------
    step
        ``T``.
    image
        the real image that belongs to a variable ``w``.
    start
        the first variable.
    measure
        the norm in which ``T`` is nonexpansive, up to a factor; the Euclidean one without it.
    latest
        the image that the last step computed on its way, where that of a variable costs an evaluation of
        the denoiser; a callback is shown this one.
    """

    step: Callable[[Tensor], Tensor]
    image: Callable[[Tensor], Tensor]
    start: Tensor
    measure: Callable[[Tensor], Tensor] | None = None
    latest: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class Solution:
    """A reconstruction and how it came about.

    Attributes
    ----------
    x
        images ``[B, C, H, W]``, or as the physics takes them.
    status
        how the iteration ended.
    iterations
        applications of the map.
    residuals
        relative fixed-point residuals ``[iterations, B]`` on the method's own variable.
    plan
        parameters, theorem and hypotheses.
    variable
        the method's own variable at the end; ``init=solution`` continues from it.
    start
        the first image, as a real variable.
    statuses
        how every image of the batch ended.
    steps
        the applications of the map until then.
    tol
        the residual to be reached.
    growth
        two iterates that the map moved apart, if any.
    distance
        a certified bound of the distance of the method's variable from its only fixed point,
        rounding included, the largest of the batch; ``None`` without a contraction.
    inexact
        steps in which a proximity operator missed the accuracy that the theorem asks.
    slower
        whether a residual exceeds the rate of the plan, which refutes a hypothesis.
    """

    x: Tensor
    status: Status
    iterations: int
    residuals: Tensor
    plan: Plan
    variable: Tensor
    start: Tensor
    statuses: tuple[Status, ...]
    steps: tuple[int, ...]
    tol: float = 0.0
    growth: Growth | None = None
    distance: float | None = None
    inexact: int = 0
    slower: bool = False

    def with_remark(self, remark: str) -> Solution:
        """The same with one more sentence in its plan."""
        return replace(self, plan=replace(self.plan, remarks=(*self.plan.remarks, remark)))

    @property
    def residual(self) -> float:
        """The last residual, the largest of the batch; NaN if no iteration was finite."""
        return float(self.residuals[-1].max()) if len(self.residuals) else math.nan

    @property
    def converged(self) -> Tensor:
        """Which images of the batch reached the tolerance, ``[B]``."""
        if not len(self.residuals):
            return self.residuals.new_zeros(self.residuals.shape[1]).bool()
        return self.residuals[-1] <= self.tol

    @property
    def guaranteed(self) -> bool:
        """Whether the theorem of the plan covers what was run."""
        refuted = self.growth is not None and self.growth.proved
        return self.plan.guaranteed and not (self.inexact or refuted or self.slower)

    @property
    def message(self) -> str:
        """What happened, in a few sentences."""
        said = [self.status.value]
        if self.growth is not None:
            where = f"application {self.growth.iteration} moved image {self.growth.image} of two iterates"
            ending = (
                "in float64 as well, which proves that the map is not nonexpansive"
                if self.growth.proved
                else "which may be rounding: the map could not be evaluated in float64 to decide"
            )
            said.append(f"{where} {self.growth.ratio:.6g} times further apart, {ending}")
        if self.inexact:
            said.append(
                f"in {self.inexact} steps the proximity operator missed the accuracy that the theorem "
                f"asks, so nothing is claimed"
            )
        if self.slower:
            said.append(
                "the residual exceeds the proved rate, so a hypothesis of the theorem is wrong"
            )
        if self.distance is not None:
            said.append(
                f"the only fixed point is at most {format_up(self.distance, 3)} away, rounding included"
            )
        return "; ".join(said)
