r"""Plug-and-Play forward-backward: :math:`T = P_{[a,b]} \circ D \circ (I - \gamma\nabla f)`.

With :math:`L = \|A\|^2/s^2` and :math:`\mu` the strong convexity of :math:`f`:

* ``D`` averaged and :math:`\gamma < 2/L`: ``T`` is averaged, the iterates converge to a fixed point
  if there is one (Krasnosel'skii-Mann; Bauschke and Combettes 2017, Prop. 5.16);
* :math:`\mathrm{Lip}(D) \le u` and :math:`uq_f < 1` with :math:`q_f = \max(|1-\gamma\mu|, |1-\gamma L|)`:
  ``T`` contracts with :math:`uq_f` (Banach), also for :math:`u > 1`;
* ``D`` nonexpansive: the iteration :math:`\frac12(I + T)` converges if there is a fixed point.

With a box :math:`[a, b]` the map acts on a compact convex set, so a fixed point exists (Browder, Göhde
and Kirk 1965). For a firmly nonexpansive ``D`` the fixed points solve
:math:`0 \in (D^{-1} - I)x + \gamma\nabla f(x)`: they depend on ``D`` and on :math:`\gamma`, and
Plug-and-Play ADMM with the same ``D`` and :math:`\gamma` finds the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.certifier import Statement
from pnp_lip.errors import InputError
from pnp_lip.rounding import round_up
from pnp_lip.solvers import theorems
from pnp_lip.solvers.admissible import expansive, step_violations
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.grounds import about_denoiser, about_physics, about_step, anchored
from pnp_lip.solvers.hypotheses import Applied, checked, made_firm, proved
from pnp_lip.solvers.operator_norm import OperatorNorm
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.plug_and_play import PlugAndPlay
from pnp_lip.solvers.rates import Rate, composed, contraction_factor, stability_bound
from pnp_lip.solvers.schemes import Scheme
from pnp_lip.solvers.solution import FixedPointMap

__all__ = ["ForwardBackward"]

#: The step, as a share of 2/L with L from the value of the norm.
_SHARE = 0.95


class ForwardBackward(PlugAndPlay):
    r""":math:`x_{k+1} = D(x_k - \gamma\nabla f(x_k), s)`, see the module.

    Further arguments are those of :class:`~pnp_lip.solvers.plug_and_play.PlugAndPlay`; ``stepsize`` is
    :math:`\gamma`, by default :math:`1.9/L` with :math:`L` from the norm as computed: the proved bound
    only decides whether that is admissible.

    Parameters
    ----------
    box
        keep the images in this interval, which guarantees that a fixed point exists.
    firm
        apply the denoiser relaxed to be firmly nonexpansive, as ADMM does; with the same
        stepsize both then find the same images.

    Examples
    --------
    >>> import deepinv as dinv
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.solvers import ForwardBackward
    >>> physics = dinv.physics.Inpainting((1, 32, 32), mask=0.7)
    >>> y = physics(torch.rand(1, 1, 32, 32))
    >>> solution = ForwardBackward(LipschitzDenoiser(1), sigma=0.05).solve(y, physics)
    >>> solution.guaranteed, solution.status.name
    (True, 'CONVERGED')
    """

    method = "forward-backward"

    def __init__(
        self,
        denoiser: nn.Module,
        sigma: float | Tensor | None = None,
        *,
        box: tuple[float, float] | None = None,
        firm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(denoiser, sigma, **options)
        if box is not None and not box[0] < box[1]:
            raise InputError(f"box must be an interval (low, high), got {box}")
        self.box = box
        self.firm = firm

    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        applied = self._applied(x.dtype)
        statement = applied.statement
        bounds, wrong = checked(self.denoiser, data, x, statement, norm)
        natural = 1 / (data.weight * bounds.value**2)
        stepsize = self.stepsize or _SHARE * 2 * natural
        violations = [
            *applied.missing,
            *step_violations(stepsize, data, bounds),
            *wrong,
        ]
        q = contraction_factor(stepsize, data, bounds, statement, self.anchor)
        if statement is not None and statement.upper > 1 and not q < 1:
            violations.insert(0, expansive(statement))
        averaged = statement is not None and (statement.averagedness or 1) < 1
        unit = torch.finfo(self.kernels or x.dtype).eps / 2
        named = q if q < 1 and theorems.is_far_from_one(q, unit) and not violations else None
        scheme = self.scheme.limited(1.0 if averaged or named is not None else 0.5)
        theorem = self._theorem(q, named, averaged)
        return Plan(
            method=self.method,
            theorem=None
            if violations
            else theorems.with_scheme(theorem, scheme, self.box is not None),
            stepsize=stepsize,
            denoiser=statement,
            norm=bounds,
            scheme=scheme,
            violations=tuple(violations),
            contraction=named,
            exists=self.box is not None or q < 1,
            firm=applied.weight,
            sigma=self.level.at(data.physics),
            anchor=self.anchor,
            scale=min(1.0, stepsize / natural),
            iteration=anchored(self._map(data), self.anchor),
            hypotheses=(
                about_denoiser(statement, applied.weight),
                about_step(stepsize, data, bounds),
                about_physics(bounds),
            ),
            rate=None if violations else self._rate(scheme, statement, stepsize, data, bounds, x),
            stability=stability_bound(stepsize, data, bounds, statement, named, self.anchor),
        )

    def fixed_point_map(
        self, data: DataTerm, plan: Plan, start: Tensor, *, denoiser: nn.Module | None = None
    ) -> FixedPointMap:
        project = _identity if self.box is None else _clamp_to(self.box)
        denoise = self.denoise(plan, start, denoiser)

        def step(x: Tensor) -> Tensor:
            return project(denoise(x - plan.stepsize * data.gradient(x)))

        return FixedPointMap(step, _identity, project(start))

    def _applied(self, dtype: torch.dtype) -> Applied:
        """What is proved of the denoiser as it is applied."""
        if self.firm:
            return made_firm(self.denoiser, dtype, self.method)
        return proved(self.denoiser, dtype, "the denoiser must be nonexpansive")

    def _map(self, data: DataTerm) -> str:
        """The map in words."""
        step = f"D(x - gamma A*{'' if data.scalar else 'W'}(A x - y))"
        return step if self.box is None else f"P_[{self.box[0]:g}, {self.box[1]:g}] {step}"

    def _rate(
        self,
        scheme: Scheme,
        statement: Statement | None,
        stepsize: float,
        data: DataTerm,
        norm: OperatorNorm,
        x: Tensor,
    ) -> Rate | None:
        """From the diagonal of the box: no fixed point is farther away."""
        if self.box is None or statement is None:
            return None
        gradient = round_up(
            Fraction(stepsize) * Fraction(data.weight) * Fraction(norm.upper) ** 2 / 2
        )
        averagedness = composed(statement.averagedness or 1.0, gradient, 0.5)
        diagonal = (self.box[1] - self.box[0]) * math.sqrt(x[0].numel()) * (1 + 2.0**-50)
        return Rate.of(scheme, averagedness, diagonal)

    def _theorem(self, q: float, named: float | None, averaged: bool) -> theorems.Theorem:
        box = self.box is not None
        if named is not None:
            return theorems.contraction(named)
        if averaged:
            return theorems.averaged(box, q)
        return theorems.nonexpansive(box)


def _identity(x: Tensor) -> Tensor:
    return x


def _clamp_to(box: tuple[float, float]) -> Callable[[Tensor], Tensor]:
    return lambda x: x.clamp(*box)
