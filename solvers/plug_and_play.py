"""What the Plug-and-Play solvers share: checking, running and reporting one fixed-point map."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.optim.data_fidelity import DataFidelity
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, Statement, admits
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.solvers.certificates import statement_of
from pnp_lip.solvers.data_term import DataTerm, ObservationError
from pnp_lip.solvers.distance import certified_distance
from pnp_lip.solvers.execution import folded, in_double, real_type, unfolded
from pnp_lip.solvers.images import Blocks, to_real
from pnp_lip.solvers.implicit import attach_gradient
from pnp_lip.solvers.iteration import Iteration, StoppingRule, iterate
from pnp_lip.solvers.measurements import Measurement
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, operator_norm
from pnp_lip.solvers.physics_check import physics_violations
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.schemes import Scheme, scheme_named
from pnp_lip.solvers.solution import FixedPointMap, Solution

__all__ = ["PlugAndPlay"]

Callback = Callable[[int, Tensor], None]
Denoise = Callable[[Tensor], Tensor]


class PlugAndPlay(Reconstructor, ABC):
    r"""A deepinv reconstructor that runs a fixed-point map whose hypotheses it has checked.

    Args:
        denoiser: a denoiser ``D(x, sigma)`` with rules known to the certifier.
        sigma: noise level given to the denoiser, a number or one per image ``[B]``: the strength of the
            regularisation.
        stepsize: of the method; ``None`` takes it from the norm of the physics.
        data_fidelity: deepinv's ``L2``, with weight 1 by default.
        max_iter: most iterations.
        tol: relative fixed-point residual at which to stop.
        scheme: how steps are made: ``"anderson"``, ``"krasnoselskii-mann"``, ``"halpern"``, or an object
            of :mod:`pnp_lip.solvers.schemes`.
        anchor: :math:`\rho` in [0, 1): iterate :math:`(1-\rho)T + \rho x_\mathrm{ref}`, which contracts for
            every physics, so that the solution is unique and its distance certified.
        kernels: type of the folded kernels of a frozen denoiser; ``torch.bfloat16`` is faster and
            ends near a residual of 1e-3.
        differentiable: let gradients flow through a call, by implicit differentiation at the fixed
            point; :meth:`solve` never has any.
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
        sigma: float | Tensor,
        *,
        stepsize: float | None = None,
        data_fidelity: DataFidelity | None = None,
        max_iter: int = 300,
        tol: float = 1e-5,
        scheme: str | Scheme = "anderson",
        anchor: float = 0.0,
        kernels: torch.dtype | None = None,
        differentiable: bool = False,
        unproved: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        if stepsize is not None and not (math.isfinite(stepsize) and stepsize > 0):
            raise ValueError(
                f"stepsize must be positive, or None for the theorem's, got {stepsize}"
            )
        if not 0 <= anchor < 1:
            raise ValueError(f"anchor must lie in [0, 1), got {anchor}")
        self.denoiser = denoiser
        self.sigma = _noise_level(sigma)
        self.stepsize = stepsize
        self.data_fidelity = data_fidelity
        self.rule = StoppingRule(max_iter, tol, stop_on_growth=not unproved)
        self.scheme = scheme_named(scheme)
        self.anchor = anchor
        self.kernels = kernels
        self.differentiable = differentiable
        self.unproved = unproved
        self.verbose = verbose

    def forward(self, y: Measurement, physics: Physics, **kwargs: Any) -> Tensor:
        """The reconstruction of the observation ``y``; see :meth:`solve`.

        Keywords that :meth:`solve` does not know, which deepinv's training passes, are left out.
        """
        known = {name: kwargs[name] for name in ("init", "norm", "callback") if name in kwargs}
        solution, start, variable = self._solve(y, physics, **known)
        if not (self.differentiable and torch.is_grad_enabled()):
            return solution.x
        data = self.data_term(y, physics)
        again = self.anchored_map(data, solution.plan, start, denoiser=self.denoiser)
        return data.native(attach_gradient(again, variable, self.rule))

    def solve(
        self,
        y: Measurement,
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
            init: first image ``[B, C, H, W]``; :math:`A^*y/\|A\|^2` by default.
            norm: an upper bound of :math:`\|A\|` that the caller vouches for.
            callback: called with the iteration and the current image.

        Raises:
            HypothesisViolated: a hypothesis fails; the message says which and what to change.
            DataTermError: the physics is not linear, or the data fidelity not ``L2``.
            ObservationError: observation or start with NaN or infinity.
            ImageError: images that the denoiser does not take.
        """
        return self._solve(y, physics, init=init, norm=norm, callback=callback)[0]

    @torch.no_grad()
    def _solve(
        self,
        y: Measurement,
        physics: Physics,
        *,
        init: Tensor | None = None,
        norm: float | None = None,
        callback: Callback | None = None,
    ) -> tuple[Solution, Tensor, Tensor]:
        data = self.data_term(y, physics)
        plan = self.plan(data, data.adjoint_of_y, norm=norm)
        if not self.unproved:
            plan.require_guarantee()
        start = self._start(data, plan, init)
        proved = self.denoiser if plan.denoiser is None else self._folded()
        fixed_point = self.anchored_map(data, plan, start, denoiser=proved)
        exact = self._exact(data, plan, start)
        end = iterate(
            fixed_point.step,
            fixed_point.start,
            replace(self.rule, scale=plan.scale, exists=plan.exists),
            scheme=plan.scheme,
            exact=exact,
            measure=fixed_point.measure,
            callback=_on_images(callback, fixed_point, data),
            progress=self.method if self.verbose else None,
        )
        distance = certified_distance(end.w, plan, exact)
        x = data.native(fixed_point.image(end.w))
        return self._solution(x, end, plan, distance, data), start, end.w

    def _solution(
        self, x: Tensor, end: Iteration, plan: Plan, distance: float | None, data: DataTerm
    ) -> Solution:
        return Solution(
            x=x,
            status=end.status,
            iterations=end.iterations,
            residuals=end.residuals,
            plan=plan,
            tol=self.rule.tol,
            growth=end.growth,
            distance=distance,
            inexact=data.missed,
        )

    def data_term(self, y: Measurement, physics: Physics) -> DataTerm:
        """The data term of an observation, in the type of the denoiser."""
        return DataTerm(
            y,
            physics,
            self.data_fidelity,
            dtype=real_type(self.denoiser),
            prox_error=0.1 * self.rule.tol,
        )

    @abstractmethod
    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        """Choose parameters for variables of the shape of ``x`` and check the theorem's hypotheses."""

    @abstractmethod
    def fixed_point_map(
        self, data: DataTerm, plan: Plan, start: Tensor, *, denoiser: nn.Module | None = None
    ) -> FixedPointMap:
        """The map ``T`` of the method with the parameters of ``plan``.

        Args:
            data: the data term.
            plan: the parameters.
            start: the first image, as a real variable.
            denoiser: the denoiser as it is to be run; the solver's own without it.
        """

    def anchored_map(
        self, data: DataTerm, plan: Plan, start: Tensor, *, denoiser: nn.Module | None = None
    ) -> FixedPointMap:
        r""":math:`(1-\rho)T + \rho x_\mathrm{ref}`, which is ``T`` for :math:`\rho = 0`."""
        fixed_point = self.fixed_point_map(data, plan, start, denoiser=denoiser)
        rho, reference, step = plan.anchor, fixed_point.start, fixed_point.step
        if rho == 0:
            return fixed_point
        return replace(fixed_point, step=lambda w: torch.lerp(step(w), reference, rho))

    def denoise(self, plan: Plan, w: Tensor, denoiser: nn.Module | None = None) -> Denoise:
        """The denoiser of ``plan`` on variables of the shape of ``w``."""
        inner = denoiser or self.denoiser
        applied = inner if plan.firm == 1 else Relaxed(inner, plan.firm).to(w.device)
        return Blocks.of(applied, self.sigma, w)

    def statement(self) -> Statement | None:
        """What is proved of the denoiser as it is now; ``None`` if there is no rule."""
        try:
            return statement_of(self.denoiser)
        except Refusal:
            return None

    def missing_statement(self) -> str:
        """Why nothing is proved of the denoiser, for a message."""
        try:
            statement_of(self.denoiser)
        except Refusal as refusal:
            return f"nothing is proved of the denoiser ({refusal})"
        return ""

    def physics_norm(self, data: DataTerm, x: Tensor, given: float | None) -> OperatorNorm:
        """Bounds of ``|A|``; the upper one is the caller's if there is one.

        Raises:
            ValueError: a bound that is not a positive number.
        """
        if given is not None and not (math.isfinite(given) and given > 0):
            raise ValueError(f"norm must be a positive bound of |A|, got {given}")
        found = operator_norm(data.physics, data.native(x))
        if found.value == 0:
            raise ObservationError(
                "the physics maps seeded images to zero, so y says nothing about the image: check the mask"
            )
        if given is None:
            return found
        return OperatorNorm(float(given), NormSource.GIVEN, found.lower, found.value)

    def physics_violations(self, data: DataTerm, x: Tensor, norm: OperatorNorm) -> list[str]:
        """What is wrong with the physics, tried on seeded vectors, and with the size of the images."""
        found = physics_violations(data.physics, data.native(x), data.y, norm)
        return found + self._size_violations(x)

    def _size_violations(self, x: Tensor) -> list[str]:
        """Sides for which the denoiser's bound was not proved; channels are the denoiser's own."""
        statement = self.statement()
        sides = [] if statement is None else [c for c in statement.conditions if "C" not in c]
        sides = [c for c in sides if not c.startswith("B ")]
        if admits(sides, x.shape):
            return []
        return [
            f"the denoiser's bound is proved for images with {', '.join(sides)}, got the shape "
            f"{tuple(x.shape)}: pad or crop the observation"
        ]

    def _folded(self) -> nn.Module:
        return folded(self.denoiser, self.sigma, self.kernels)

    def _start(self, data: DataTerm, plan: Plan, init: Tensor | None) -> Tensor:
        if init is None:
            return data.adjoint_of_y / plan.norm.value**2
        if not bool(torch.isfinite(init).all()):
            raise ObservationError("the first image contains NaN or infinity")
        start = to_real(init)
        if start.shape != data.adjoint_of_y.shape:
            raise ObservationError(
                f"expected a first image of shape {tuple(data.native(data.adjoint_of_y).shape)}, got "
                f"{tuple(init.shape)}"
            )
        return start.to(data.adjoint_of_y)

    def _exact(self, data: DataTerm, plan: Plan, start: Tensor) -> Callable[[], Denoise]:
        """Makes the map for float64, of the denoiser that the certificate is about."""

        def make() -> Denoise:
            physics = in_double(data.physics)
            twin = DataTerm(
                data.y, physics, self.data_fidelity, dtype=torch.float64, prox_error=1e-14
            )
            denoiser = in_double(unfolded(self.denoiser))
            return self.anchored_map(twin, plan, start.double(), denoiser=denoiser).step

        return make


def _noise_level(sigma: Any) -> float | Tensor:
    """A number, or a tensor with one level per image."""
    if isinstance(sigma, (list, tuple)):
        raise ValueError(
            "sigma must be a noise level, got a list: a schedule changes the map in every step, so "
            "that no fixed-point theorem applies; run deepinv's iterations for that"
        )
    level = torch.as_tensor(sigma)
    if not bool((level.isfinite() & (level >= 0)).all()) or level.ndim > 1:
        raise ValueError(f"sigma must be a finite noise level >= 0, or one per image, got {sigma}")
    return float(level) if level.numel() == 1 else level


def _on_images(
    callback: Callback | None, fixed_point: FixedPointMap, data: DataTerm
) -> Callback | None:
    if callback is None:
        return None
    return lambda iteration, w: callback(iteration, data.native(fixed_point.image(w)))
