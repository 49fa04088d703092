"""What the Plug-and-Play solvers share: checking, running and reporting one fixed-point map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.errors import InputError
from pnp_lip.solvers.arguments import first_variable
from pnp_lip.solvers.configured import Configured
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.discrepancy import solve_by_discrepancy
from pnp_lip.solvers.execution import real_type
from pnp_lip.solvers.forms import Forms
from pnp_lip.solvers.images import Blocks
from pnp_lip.solvers.implicit import attach_gradient
from pnp_lip.solvers.measurements import Measurement
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.preparation import prepared
from pnp_lip.solvers.running import Callback, Denoise, continued, run
from pnp_lip.solvers.solution import FixedPointMap, Solution
from pnp_lip.solvers.staging import LOOSE, Staging

__all__ = ["PlugAndPlay"]


class PlugAndPlay(Configured, ABC):
    r"""A deepinv reconstructor that runs a fixed-point map whose hypotheses it has checked.

    Parameters are those of :class:`~pnp_lip.solvers.configured.Configured`.
    """

    #: How the field calls the method.
    method: str
    #: The interval in which the method keeps the images, if it does.
    box: tuple[float, float] | None = None

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
        forms = Forms(self.anchored_map, data, self.data_fidelity, plan, start)
        return run(
            continued(forms.build(data, plan, start, denoiser=denoiser), init),
            data,
            plan,
            self.rule,
            start=start,
            exact=partial(forms.exact, self.denoiser),
            part=None if callback else partial(forms.part, denoiser=denoiser),
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

        ``start`` is the first image, as a real variable; ``denoiser`` the denoiser as it is to be run, the
        solver's own without it.
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
