"""What the Plug-and-Play solvers share: checking, running and reporting one fixed-point map."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from deepinv.models import Reconstructor
from deepinv.optim.data_fidelity import DataFidelity
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.certifier import Statement
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.errors import InputError
from pnp_lip.solvers.arguments import first_variable
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.discrepancy import solve_by_discrepancy
from pnp_lip.solvers.execution import in_double, real_type, unfolded
from pnp_lip.solvers.guide import Adaptive, guide_named
from pnp_lip.solvers.hypotheses import proved
from pnp_lip.solvers.images import Blocks
from pnp_lip.solvers.implicit import attach_gradient
from pnp_lip.solvers.iteration import StoppingRule
from pnp_lip.solvers.measurements import Measurement
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.preparation import prepared
from pnp_lip.solvers.running import Callback, Denoise, continued, run
from pnp_lip.solvers.schemes import Scheme, scheme_named
from pnp_lip.solvers.solution import FixedPointMap, Solution
from pnp_lip.solvers.staging import LOOSE, Staging
from pnp_lip.solvers.strength import Level

__all__ = ["PlugAndPlay"]


class PlugAndPlay(Reconstructor, ABC):
    r"""A deepinv reconstructor that runs a fixed-point map whose hypotheses it has checked.

    Parameters
    ----------
    denoiser
        a denoiser ``D(x, sigma)`` with rules known to the certifier.
    sigma
        noise level given to the denoiser, a number or one per image ``[B]``; without it
        ``strength`` times the noise that the physics states.
    strength
        share of the noise, see :mod:`pnp_lip.solvers.strength`; ``"auto"`` chooses it for each
        observation by the discrepancy principle.
    stepsize
        of the method; ``None`` takes it from the norm of the physics.
    data_fidelity
        deepinv's ``L2``, with weight 1 by default.
    max_iter
        most iterations.
    tol
        relative fixed-point residual at which to stop.
    scheme
        how steps are made: ``"anderson"``, ``"krasnoselskii-mann"``, ``"halpern"``, or an object
        of :mod:`pnp_lip.solvers.schemes`.
    anchor
        :math:`\rho` in [0, 1): iterate :math:`(1-\rho)T + \rho x_\mathrm{ref}`, which contracts for
        every physics, so that the solution is unique and its distance certified.
    kernels
        type of the folded kernels of a frozen denoiser; ``torch.bfloat16`` is faster and
        ends near a residual of 1e-3.
    differentiable
        let gradients flow through a call, by implicit differentiation at the fixed
        point; :meth:`solve` never has any.
    guide
        how a :class:`~pnp_lip.GuidedDenoiser` gets its guide: ``"stages"`` (plain solve, guide,
        guided solve), or ``"adaptive"`` for one loop whose guide follows the image, which needs a
        box; see :mod:`pnp_lip.solvers.guide`.
    guide_updates
        number of guides of the stages, at least 1.
    memory
        most bytes that the denoiser may need at once; larger images are denoised in tiles, which
        is the same function. A quarter of what is free by default.
    unproved
        run even though a hypothesis fails or cannot be checked. The plan then says so.
    verbose
        show a progress bar.

    Raises
    ------
    InputError
        a parameter out of range.
    """

    #: How the field calls the method.
    method: str
    #: The interval in which the method keeps the images, if it does.
    box: tuple[float, float] | None = None

    def __init__(
        self,
        denoiser: nn.Module,
        sigma: float | Tensor | None = None,
        *,
        strength: float | Literal["auto"] | None = None,
        stepsize: float | None = None,
        data_fidelity: DataFidelity | None = None,
        max_iter: int = 300,
        tol: float = 1e-5,
        scheme: str | Scheme = "anderson",
        anchor: float = 0.0,
        kernels: torch.dtype | None = None,
        differentiable: bool = False,
        guide: str | Adaptive = "stages",
        guide_updates: int = 1,
        memory: float | None = None,
        unproved: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        if stepsize is not None and not (math.isfinite(stepsize) and stepsize > 0):
            raise InputError(
                f"stepsize must be positive, or None for the theorem's, got {stepsize}"
            )
        if memory is not None and not memory > 0:
            raise InputError(f"memory must be a positive number of bytes, got {memory}")
        if not 0 <= anchor < 1:
            raise InputError(f"anchor must lie in [0, 1), got {anchor}")
        self.denoiser = denoiser
        self.level = Level.of(sigma, strength)
        self.stepsize = stepsize
        self.data_fidelity = data_fidelity
        self.rule = StoppingRule(max_iter, tol, stop_on_growth=not unproved)
        self.scheme = scheme_named(scheme)
        self.anchor = anchor
        self.kernels = kernels
        self.differentiable = differentiable
        self.guide = guide_named(guide)
        self.guide_updates = guide_updates
        self.memory = memory
        self.unproved = unproved
        self.verbose = verbose

    @property
    def sigma(self) -> float | Tensor | None:
        """The noise level of the denoiser; ``None`` where it comes from the noise of the physics."""
        return self.level.sigma

    def altered(
        self,
        *,
        denoiser: nn.Module | None = None,
        sigma: float | Tensor | None = None,
        tol: float | None = None,
    ) -> Self:
        """The same solver with another denoiser, another level of it, or another tolerance."""
        other = copy.copy(self)
        other._modules = self._modules.copy()
        if denoiser is not None:
            other.denoiser = denoiser
        if sigma is not None:
            other.level = Level.of(sigma, None)
        if tol is not None:
            other.rule = replace(self.rule, tol=tol)
        return other

    def forward(self, y: Measurement, physics: Physics, **kwargs: Any) -> Tensor:
        """The reconstruction of the observation ``y``; see :meth:`solve`.

        Keywords that :meth:`solve` does not know, which deepinv's training passes, are left out.

        Raises
        ------
        InputError
            gradients of a guided denoiser are asked for.
        """
        known = {name: kwargs[name] for name in ("init", "norm", "callback") if name in kwargs}
        guided = isinstance(self.denoiser, GuidedDenoiser)
        if guided and self.differentiable and torch.is_grad_enabled():
            raise InputError(
                "differentiable=True needs a fixed guide, from which no gradient flows: pass "
                "G.at(guide, sigma)"
            )
        solution = self.solve(y, physics, **known)
        if not (self.differentiable and torch.is_grad_enabled()):
            return solution.x
        data = self.data_term(y, physics)
        again = self.anchored_map(data, solution.plan, solution.start, denoiser=self.denoiser)
        return data.native(attach_gradient(again, solution.variable, self.rule))

    @torch.no_grad()
    def solve(
        self,
        y: Measurement,
        physics: Physics,
        *,
        init: Tensor | Solution | Literal["dagger"] | None = None,
        norm: float | None = None,
        callback: Callback | None = None,
    ) -> Solution:
        r"""Check the hypotheses, then iterate.

        Parameters
        ----------
        y
            observation ``[B, ...]``.
        physics
            a linear deepinv physics.
        init
            first image ``[B, C, H, W]``; :math:`A^*y/\|A\|^2` by default. ``"dagger"`` starts from the
            pseudo-inverse :math:`A^\dagger y`, which helps where ``A`` is badly scaled. A solution
            continues where it ended.
        norm
            an upper bound of :math:`\|A\|` that the caller vouches for.
        callback
            called with the iteration and the current image.

        Returns
        -------
        Solution
            the last image and what is guaranteed of it; a :class:`~pnp_lip.solvers.GuidedSolution`
            with a guided denoiser.

        Raises
        ------
        HypothesisViolated
            a hypothesis fails; the message says which and what to change.
        DataTermError
            the physics is not linear, or the data fidelity not ``L2``.
        ObservationError
            observation or start with NaN or infinity.
        ImageError
            images that the denoiser does not take.
        InputError
            no noise level is known.
        """
        if self.level.automatic:
            return self._at_discrepancy(y, physics, init=init, norm=norm, callback=callback)
        if isinstance(self.denoiser, GuidedDenoiser):
            staging = self._in_stages(self.denoiser, physics)
            return staging.solve(y, physics, init=init, norm=norm, callback=callback)
        data = self.data_term(y, physics)
        plan = self.plan(data, data.adjoint_of_y, norm=norm)
        if not self.unproved:
            plan.require_guarantee()
        start = first_variable(data, plan.norm, init)
        denoiser, plan = prepared(self.denoiser, plan, start, self.kernels, self.memory)
        fixed_point = self.anchored_map(data, plan, start, denoiser=denoiser)
        return run(
            continued(fixed_point, init),
            data,
            plan,
            self.rule,
            start=start,
            exact=self._exact(data, plan, start),
            callback=callback,
            progress=self.method if self.verbose else None,
        )

    def _at_discrepancy(self, y: Measurement, physics: Physics, **given: Any) -> Solution:
        """At the strength that the discrepancy principle chooses, with the plain denoiser."""
        guided = self.denoiser if isinstance(self.denoiser, GuidedDenoiser) else None
        plain = self if guided is None else self.altered(denoiser=guided.plain)
        choice = solve_by_discrepancy(lambda sigma: plain.altered(sigma=sigma), y, physics, **given)
        if guided is None:
            return choice.solution.with_remark(choice.message)
        return self.altered(sigma=choice.sigma).solve(y, physics, **given)

    def _in_stages(self, guided: GuidedDenoiser, physics: Physics) -> Staging:
        """What solves with a guided denoiser."""
        level, tol = self.level.at(physics), self.rule.tol

        def build(denoiser: nn.Module, tol: float) -> PlugAndPlay:
            return self.altered(denoiser=denoiser, sigma=level, tol=tol)

        return Staging(guided, build, tol, max(LOOSE, tol), self.guide_updates, self.guide)

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

        Parameters
        ----------
        data
            the data term.
        plan
            the parameters.
        start
            the first image, as a real variable.
        denoiser
            the denoiser as it is to be run; the solver's own without it.
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
        return Blocks.of(applied, plan.sigma, w)

    def statement(self) -> Statement | None:
        """What is proved of the denoiser as it is now; ``None`` if there is no rule."""
        return proved(self.denoiser, real_type(self.denoiser) or torch.float32).statement

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
