"""What the Plug-and-Play solvers share: checking, running and reporting one fixed-point map."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.optim.data_fidelity import L2
from deepinv.physics import LinearPhysics, Physics
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, Statement, prove
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.iteration import Growth, Status, StoppingRule, iterate
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, operator_norm
from pnp_lip.solvers.plan import Plan
from pnp_lip.weights import weight_hash

__all__ = ["FixedPointMap", "PlugAndPlay", "Solution"]

Callback = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class FixedPointMap:
    """A map on one image tensor, and how an image is read off its variable.

    Attributes:
        step: ``T``.
        image: the reconstruction that belongs to a variable ``w``.
        start: the first variable.
    """

    step: Callable[[Tensor], Tensor]
    image: Callable[[Tensor], Tensor]
    start: Tensor


@dataclass(frozen=True)
class Solution:
    """A reconstruction and how it came about.

    Attributes:
        x: images ``[B, C, H, W]``.
        status: how the iteration ended.
        iterations: applications of the map.
        residuals: relative fixed-point residuals ``[iterations, B]`` on the method's own variable.
        plan: parameters, theorem and hypotheses.
        growth: the first growth of the step lengths, which disproves nonexpansiveness, if any.
    """

    x: Tensor
    status: Status
    iterations: int
    residuals: Tensor
    plan: Plan
    growth: Growth | None = None

    @property
    def residual(self) -> float:
        """The last residual, the largest of the batch; NaN if no iteration was finite."""
        return float(self.residuals[-1].max()) if len(self.residuals) else math.nan

    @property
    def message(self) -> str:
        """What happened, in one or two sentences."""
        if self.growth is None:
            return self.status.value
        return (
            f"{self.status.value}; step {self.growth.iteration} of image {self.growth.image} was "
            f"{self.growth.ratio:.6g} times as long as the one before it, which proves that the map "
            f"is not nonexpansive"
        )


class PlugAndPlay(Reconstructor, ABC):
    """A deepinv reconstructor that runs a fixed-point map whose hypotheses it has checked.

    Args:
        denoiser: a denoiser ``D(x, sigma)`` with rules known to the certifier.
        sigma: noise level given to the denoiser: the strength of the regularisation.
        stepsize: of the method; ``None`` takes it from the theorem.
        data_fidelity: deepinv's ``L2``, with weight 1 by default.
        max_iter: most iterations.
        tol: relative fixed-point residual at which to stop.
        unproved: run even though a hypothesis fails or cannot be checked. The plan then says so.
        verbose: show a progress bar.

    Raises:
        ValueError: a parameter out of range.
    """

    #: How the field calls the method.
    method: str

    def __init__(
        self,
        denoiser: nn.Module,
        sigma: float,
        *,
        stepsize: float | None = None,
        data_fidelity: L2 | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
        unproved: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma must be a finite noise level >= 0, got {sigma}")
        if stepsize is not None and not (math.isfinite(stepsize) and stepsize > 0):
            raise ValueError(
                f"stepsize must be positive, or None for the theorem's, got {stepsize}"
            )
        self.denoiser = denoiser
        self.sigma = sigma
        self.stepsize = stepsize
        self.data_fidelity = data_fidelity
        self.rule = StoppingRule(max_iter, tol, stop_on_growth=not unproved)
        self.unproved = unproved
        self.verbose = verbose
        self._proved: tuple[str, Statement] | None = None

    def forward(self, y: Tensor, physics: Physics, **kwargs: Any) -> Tensor:
        """The reconstruction ``[B, C, H, W]`` of the observation ``y``; see :meth:`solve`."""
        return self.solve(y, physics, **kwargs).x

    @torch.no_grad()
    def solve(
        self,
        y: Tensor,
        physics: Physics,
        *,
        init: Tensor | None = None,
        norm: float | None = None,
        callback: Callback | None = None,
    ) -> Solution:
        r"""Check the hypotheses, then iterate.

        Args:
            y: observation ``[B, ...]``.
            physics: a linear deepinv physics.
            init: first image ``[B, C, H, W]``; :math:`A^\top y` by default.
            norm: an upper bound of :math:`\|A\|` that the caller vouches for.
            callback: called with the iteration and the current image.

        Raises:
            HypothesisViolated: a hypothesis fails; the message says which and what to change.
            TypeError: the physics is not linear, or the data fidelity not ``L2``.
            ValueError: observation or start with NaN or infinity.
        """
        data = DataTerm(y, physics, self.data_fidelity)
        start = data.adjoint_of_y if init is None else init
        if not torch.isfinite(start).all():
            raise ValueError("the first image contains NaN or infinity")
        plan = self.plan(data, start, norm=norm)
        if not self.unproved:
            plan.require_guarantee()
        fixed_point = self.fixed_point_map(data, plan, start)
        show = None if callback is None else _on_images(callback, fixed_point)
        end = iterate(
            fixed_point.step,
            fixed_point.start,
            self.rule,
            relaxation=plan.relaxation,
            callback=show,
            progress=self.method if self.verbose else None,
        )
        image = fixed_point.image(end.w)
        return Solution(image, end.status, end.iterations, end.residuals, plan, end.growth)

    @abstractmethod
    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        """Choose parameters for images of the shape of ``x`` and check the theorem's hypotheses."""

    @abstractmethod
    def fixed_point_map(self, data: DataTerm, plan: Plan, start: Tensor) -> FixedPointMap:
        """The map of the method with the parameters of ``plan``."""

    def statement(self) -> Statement | None:
        """What is proved of the denoiser with its present weights; ``None`` if there is no rule."""
        digest = weight_hash(self.denoiser.state_dict())
        if self._proved is None or self._proved[0] != digest:
            try:
                self._proved = (digest, prove(self.denoiser))
            except Refusal:
                return None
        return self._proved[1]

    def missing_statement(self) -> str:
        """Why nothing is proved of the denoiser, for a message."""
        try:
            prove(self.denoiser)
        except Refusal as refusal:
            return f"nothing is proved of the denoiser ({refusal})"
        return ""


def physics_norm(physics: LinearPhysics, x: Tensor, given: float | None) -> OperatorNorm:
    """The caller's bound if there is one, else :func:`operator_norm`."""
    if given is not None:
        return OperatorNorm(float(given), NormSource.GIVEN)
    return operator_norm(physics, x)


def _on_images(callback: Callback, fixed_point: FixedPointMap) -> Callback:
    return lambda iteration, w: callback(iteration, fixed_point.image(w))
