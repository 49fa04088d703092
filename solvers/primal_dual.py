r"""Plug-and-Play primal-dual splitting (Chambolle, Pock, Condat, Vu) for convex data terms ``g(Ax)``.

.. math:: x^+ = D(x - \tau A^*u), \qquad u^+ = \mathrm{prox}_{\sigma g^*}(u + \sigma A(2x^+ - x))

With a firmly nonexpansive ``D`` and :math:`\tau\sigma\|A\|^2 < 1` the map is firmly nonexpansive in

.. math:: \|(x, u)\|_P^2 = \|x\|^2/\tau - 2\langle Ax, u\rangle + \|u\|^2/\sigma,

and the iterates converge if :math:`0 \in (D^{-1} - I)x + \tau A^*\partial g(Ax)` has a solution (Chambolle
and Pock 2011; Condat 2013; Vu 2013). Only ``A``, its adjoint and the proximity operator of ``g``
are needed, and :math:`\mathrm{prox}_{\sigma g^*}(v) = v - \sigma\,\mathrm{prox}_{g/\sigma}(v/\sigma)`.

The variable is :math:`(x, \sqrt{\tau/\sigma}\,u)` in one vector, whose Euclidean norm is close to
:math:`\sqrt\tau\|\cdot\|_P`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from deepinv.optim.data_fidelity import L1, L2, DataFidelity, PoissonLikelihood
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.rounding import format_up
from pnp_lip.solvers import theorems
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.execution import real_type
from pnp_lip.solvers.fidelities import proximity_operators
from pnp_lip.solvers.grounds import about_denoiser, about_physics, about_product
from pnp_lip.solvers.hypotheses import checked, made_firm
from pnp_lip.solvers.measurements import Measurement, parts_of
from pnp_lip.solvers.pair import Pair
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.plug_and_play import PlugAndPlay
from pnp_lip.solvers.solution import FixedPointMap

__all__ = ["PrimalDual"]

#: The share of the largest product of steps, 1/|A|^2, with the norm as computed.
_SHARE = 0.9
_MAP = "x+ = D(x - tau A*u), u+ = prox_(sigma g*)(u + sigma A(2 x+ - x))"


class PrimalDual(PlugAndPlay):
    r"""Plug-and-Play primal-dual splitting, see the module.

    Further arguments are those of :class:`~pnp_lip.solvers.plug_and_play.PlugAndPlay`, without ``anchor``.
    ``stepsize`` is :math:`\tau`, which weighs the data term against the denoiser as :math:`\gamma` does in
    the other methods. By default it is one over the curvature of the data term at the observation
    (``L2``: :math:`s^2/\|A\|^2`; Poisson, gain ``g``: :math:`g\,\mathrm{mean}(y)/\|A\|^2`), the noise
    level of the denoiser for ``L1``, and :math:`1/\|A\|^2` where the solution does not depend on it.

    Parameters
    ----------
    data_fidelity
        deepinv's ``PoissonLikelihood``, ``L1``, ``IndicatorL2``, ``L2``,
        ``ZeroFidelity``, or a ``StackedPhysicsDataFidelity`` of them.

    Examples
    --------
    >>> import deepinv as dinv
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.solvers import PrimalDual
    >>> physics = dinv.physics.Inpainting((1, 32, 32), mask=0.7)
    >>> y = physics(torch.rand(1, 1, 32, 32))
    >>> solver = PrimalDual(LipschitzDenoiser(1), sigma=0.05, data_fidelity=dinv.optim.L1())
    >>> solver.solve(y, physics).guaranteed
    True
    """

    method = "primal-dual"

    def __init__(
        self,
        denoiser: nn.Module,
        sigma: float | Tensor | None = None,
        *,
        data_fidelity: DataFidelity,
        **options: Any,
    ) -> None:
        super().__init__(denoiser, sigma, **options)
        if self.anchor:
            raise ValueError("an anchor is not available for the primal-dual method: leave it out")
        self.data_fidelity = data_fidelity

    def data_term(self, y: Measurement, physics: Physics) -> DataTerm:
        return DataTerm(y, physics, dtype=real_type(self.denoiser))

    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        applied = made_firm(self.denoiser, x.dtype, self.method)
        statement, sigma = applied.statement, self.level.at(data.physics)
        bounds, wrong = checked(self.denoiser, data, x, statement, norm)
        violations = [*applied.missing, *wrong]
        stepsize = self.stepsize or self._natural_step(data, bounds.value, sigma)
        dual = _SHARE / (stepsize * bounds.value**2)
        if not bounds.source.proved:
            violations.append(
                "the norm of this physics is only estimated: pass norm= with an upper bound of |A|"
            )
        if not Fraction(stepsize) * Fraction(dual) * Fraction(bounds.upper) ** 2 < 1:
            violations.append(
                f"the steps need tau sigma |A|^2 < 1, but |A| <= {format_up(bounds.upper)} is all that is "
                f"proved: pass norm= with a tighter bound"
            )
        return Plan(
            method=self.method,
            theorem=None
            if violations
            else theorems.with_scheme(theorems.PRIMAL_DUAL, self.scheme, False),
            stepsize=stepsize,
            denoiser=statement,
            norm=bounds,
            scheme=self.scheme,
            violations=tuple(violations),
            iteration=_MAP,
            hypotheses=(
                about_denoiser(statement, applied.weight),
                f"g is convex with a known proximity operator: {self._term()}",
                about_product(stepsize, dual, bounds),
                about_physics(bounds),
            ),
            remarks=(f"dual step {dual:.4g}",),
            firm=applied.weight,
            sigma=sigma,
        )

    def fixed_point_map(
        self, data: DataTerm, plan: Plan, start: Tensor, *, denoiser: nn.Module | None = None
    ) -> FixedPointMap:
        tau = plan.stepsize
        dual = _SHARE / (tau * plan.norm.value**2)
        pack = Pair(data, start, math.sqrt(tau / dual))
        proxes = proximity_operators(self.data_fidelity, parts_of(data.y))
        denoise = self.denoise(plan, start, denoiser)

        def step(w: Tensor) -> Tensor:
            x, u = pack.open(w)
            following = denoise(x - tau * pack.adjoint(u))
            moved = pack.forward(2 * following - x)
            ascended = [v + dual * m for v, m in zip(u, moved, strict=True)]
            shifts = [prox(v / dual, 1 / dual) for prox, v in zip(proxes, ascended, strict=True)]
            return pack.close(
                following, [v - dual * p for v, p in zip(ascended, shifts, strict=True)]
            )

        def measure(w: Tensor) -> Tensor:
            x, u = pack.open(w)
            product = sum(
                (a * b).flatten(1).sum(1) for a, b in zip(pack.forward(x), u, strict=True)
            )
            square = x.flatten(1).square().sum(1) - 2 * tau * product
            square = square + tau / dual * sum(part.flatten(1).square().sum(1) for part in u)
            return square.clamp(min=0).sqrt()

        at_rest = [torch.zeros_like(part) for part in pack.forward(start)]
        return FixedPointMap(step, lambda w: pack.open(w)[0], pack.close(start, at_rest), measure)

    def _term(self) -> str:
        """The data term by the names of deepinv."""
        fidelity: Any = self.data_fidelity
        parts = getattr(fidelity, "data_fidelity_list", [fidelity])
        return ", ".join(type(part).__name__ for part in parts)

    def _natural_step(self, data: DataTerm, norm: float, sigma: float | Tensor) -> float:
        fidelity: Any = self.data_fidelity
        if type(fidelity) is L1:
            return float(torch.as_tensor(sigma).max()) or 1.0
        scale = 1.0
        if type(fidelity) is L2:
            scale = 1 / float(torch.as_tensor(fidelity.norm).max())
        elif type(fidelity) is PoissonLikelihood:
            counts = parts_of(data.y)[0] / (1 if fidelity.d.denormalize else 1 / fidelity.d.gain)
            scale = float(fidelity.d.gain * counts.mean()) or 1.0
        return scale / norm**2
