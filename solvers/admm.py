r"""Plug-and-Play ADMM, run as Douglas-Rachford on one image tensor.

.. math:: T(w) = w + \mathrm{prox}_{\gamma f}(2D(w) - w) - D(w), \qquad x = D(w)

With a firmly nonexpansive ``D`` (the resolvent of a maximally monotone operator) ``T`` is firmly
nonexpansive for every :math:`\gamma > 0`, and the iterates converge if there is a fixed point
(Lions and Mercier 1979; Eckstein and Bertsekas 1992). An :math:`\alpha`-averaged denoiser is first
relaxed to :math:`(1-\lambda)I + \lambda D`, :math:`\lambda = 1/(2\alpha)`, which is. The images solve
:math:`0 \in (D^{-1} - I)x + \gamma\nabla f(x)`, as those of forward-backward with the same
:math:`\gamma` and the same relaxed ``D`` do (``ForwardBackward(..., firm=True, stepsize=...)``).
"""

from __future__ import annotations

from torch import Tensor, nn

from pnp_lip.solvers import theorems
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.grounds import about_denoiser, about_physics, anchored
from pnp_lip.solvers.hypotheses import checked, made_firm
from pnp_lip.solvers.operator_norm import OperatorNorm
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.plug_and_play import PlugAndPlay
from pnp_lip.solvers.solution import FixedPointMap

__all__ = ["ADMM"]

#: Largest relative defect of a closed proximity operator's optimality condition that is accepted.
_PROX_TOLERANCE = 1e-3
_MAP = "w + prox_(gamma f)(2 D(w) - w) - D(w)"


class ADMM(PlugAndPlay):
    r"""Plug-and-Play ADMM, see the module.

    Arguments are those of :class:`~pnp_lip.solvers.plug_and_play.PlugAndPlay`.

    ``stepsize`` is :math:`\gamma`, by default :math:`1/L` with :math:`L = \|A\|^2/s^2`: any
    positive value converges, this one balances the two terms.

    Examples
    --------
    >>> import deepinv as dinv
    >>> import torch
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.solvers import ADMM
    >>> physics = dinv.physics.BlurFFT((1, 32, 32), filter=torch.ones(1, 1, 3, 3) / 9)
    >>> y = physics(torch.rand(1, 1, 32, 32))
    >>> solution = ADMM(LipschitzDenoiser(1), sigma=0.05).solve(y, physics)
    >>> solution.guaranteed
    True
    """

    method = "ADMM"

    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        applied = made_firm(self.denoiser, x.dtype, self.method)
        statement = applied.statement
        bounds, wrong = checked(self.denoiser, data, x, statement, norm)
        natural = 1 / (data.weight * bounds.value**2)
        stepsize = self.stepsize or natural
        violations = [
            *applied.missing,
            *wrong,
            *_prox_violations(data, stepsize),
        ]
        contraction = 1 - self.anchor if self.anchor and not violations else None
        theorem = (
            theorems.DOUGLAS_RACHFORD if contraction is None else theorems.contraction(contraction)
        )
        return Plan(
            method=self.method,
            theorem=None if violations else theorems.with_scheme(theorem, self.scheme, box=False),
            stepsize=stepsize,
            denoiser=statement,
            norm=bounds,
            scheme=self.scheme,
            violations=tuple(violations),
            iteration=anchored(_MAP, self.anchor),
            hypotheses=(
                about_denoiser(statement, applied.weight),
                f"f(x) = {data.formula} is convex",
                f"gamma = {stepsize:.6g} > 0, which may be of any size",
                about_physics(bounds),
            ),
            remarks=_remarks(bounds, data),
            contraction=contraction,
            exists=contraction is not None,
            firm=applied.weight,
            sigma=self.level.at(data.physics),
            anchor=self.anchor,
            scale=min(1.0, stepsize / natural),
        )

    def fixed_point_map(
        self, data: DataTerm, plan: Plan, start: Tensor, *, denoiser: nn.Module | None = None
    ) -> FixedPointMap:
        denoise = self.denoise(plan, start, denoiser)
        latest = [start]

        def step(w: Tensor) -> Tensor:
            x = latest[0] = denoise(w)
            return w + data.prox(2 * x - w, plan.stepsize) - x

        return FixedPointMap(step, denoise, start, latest=lambda: latest[0])


def _prox_violations(data: DataTerm, stepsize: float) -> list[str]:
    """Check a closed proximity operator against its definition, at one point."""
    defect = data.prox_residual(stepsize) if data.exact_prox else 0.0
    if defect <= _PROX_TOLERANCE:
        return []
    return [
        f"the proximity operator of this physics misses its optimality condition by {defect:.2g} "
        f"(relative): use ForwardBackward"
    ]


def _remarks(norm: OperatorNorm, data: DataTerm) -> tuple[str, ...]:
    remarks = []
    if not data.exact_prox:
        remarks.append(
            "the proximity operator is computed by conjugate gradients, in step k with an error of at "
            "most c / k^1.1, which is summable as the theorem asks"
        )
    if not norm.source.proved:
        remarks.append("the default stepsize rests on an estimate of |A|; convergence does not")
    return tuple(remarks)
