r"""Plug-and-Play ADMM, run as Douglas-Rachford on one image tensor.

.. math:: T(w) = w + \mathrm{prox}_{\gamma f}(2D(w) - w) - D(w), \qquad x = D(w)

With a firmly nonexpansive ``D`` (the resolvent of a maximally monotone operator) ``T`` is firmly
nonexpansive for every :math:`\gamma > 0`, and the iterates converge if there is a fixed point
(Lions and Mercier 1979; Eckstein and Bertsekas 1992). An :math:`\alpha`-averaged denoiser is first
relaxed to :math:`(1-\lambda)I + \lambda D`, :math:`\lambda = 1/(2\alpha)`, which is.
"""

from __future__ import annotations

from torch import Tensor, nn

from pnp_lip.certifier import Statement, averaged_with_identity
from pnp_lip.denoisers.relaxed import firmly_nonexpansive
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm
from pnp_lip.solvers.plan import Plan, Theorem
from pnp_lip.solvers.plug_and_play import FixedPointMap, PlugAndPlay, physics_norm

__all__ = ["ADMM"]

#: Largest relative defect of the proximity operator's optimality condition that is accepted.
_PROX_TOLERANCE = 1e-3

_THEOREM = Theorem(
    "Douglas-Rachford for a firmly nonexpansive map",
    "converges if a fixed point exists, for every stepsize",
    "Lions and Mercier 1979; Eckstein and Bertsekas 1992",
)


class ADMM(PlugAndPlay):
    r"""Plug-and-Play ADMM, see the module; arguments are those of
    :class:`~pnp_lip.solvers.plug_and_play.PlugAndPlay`.

    ``stepsize`` is :math:`\gamma`, by default :math:`1/L` with :math:`L = \|A\|^2/s^2`: any
    positive value converges, this one balances the two terms.
    """

    method = "ADMM"

    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        bounds = physics_norm(data.physics, x, norm)
        stepsize = self.stepsize or 1 / (data.weight * bounds.upper**2)
        relaxed, violations = self._relax(self.statement())
        violations += _prox_violations(data, stepsize)
        return Plan(
            method=self.method,
            theorem=None if violations else _THEOREM,
            stepsize=stepsize,
            relaxation=1.0,
            denoiser=relaxed,
            norm=bounds,
            violations=tuple(violations),
            remarks=_remarks(relaxed, bounds, data, stepsize),
        )

    def fixed_point_map(self, data: DataTerm, plan: Plan, start: Tensor) -> FixedPointMap:
        denoiser = self._firm(plan.denoiser)

        def image(w: Tensor) -> Tensor:
            x: Tensor = denoiser(w, self.sigma)
            return x

        def step(w: Tensor) -> Tensor:
            x = image(w)
            return w + data.prox(2 * x - w, plan.stepsize) - x

        return FixedPointMap(step, image, start)

    def _relax(self, statement: Statement | None) -> tuple[Statement | None, list[str]]:
        """What is proved of the denoiser as it will be applied, and what is missing."""
        if statement is None:
            return None, [f"{self.missing_statement()}: ADMM needs a firmly nonexpansive denoiser"]
        if statement.averagedness is None:
            return statement, [
                f"ADMM needs a firmly nonexpansive denoiser, but only Lip <= {statement.upper:.6g} is "
                f"proved: use a LipschitzDenoiser"
            ]
        if statement.averagedness <= 0.5:
            return statement, []
        weight = float(firmly_nonexpansive(nn.Identity(), statement.averagedness).relaxation)
        return averaged_with_identity(statement, weight), []

    def _firm(self, applied: Statement | None) -> nn.Module:
        """The denoiser, relaxed as the plan's statement says."""
        statement = self.statement()
        if statement is None or applied is statement or statement.averagedness is None:
            return self.denoiser
        return firmly_nonexpansive(self.denoiser, statement.averagedness)


def _prox_violations(data: DataTerm, stepsize: float) -> list[str]:
    """Check the proximity operator against its definition, at one point."""
    defect = data.prox_residual(stepsize)
    if defect <= _PROX_TOLERANCE:
        return []
    return [
        f"the proximity operator of this physics misses its optimality condition by {defect:.2g} "
        f"(relative): lower physics.tol, raise physics.max_iter, or use ForwardBackward"
    ]


def _remarks(
    applied: Statement | None, norm: OperatorNorm, data: DataTerm, stepsize: float
) -> tuple[str, ...]:
    remarks = []
    if applied is not None and applied.parts and applied.rule.startswith("(1"):
        remarks.append(f"the denoiser is applied as {applied.rule}, which is firmly nonexpansive")
    if not data.exact_prox:
        remarks.append(
            f"the proximity operator is computed by conjugate gradients (relative defect "
            f"{data.prox_residual(stepsize):.1e}); the theorem is about the exact one"
        )
    if norm.source is NormSource.ESTIMATE:
        remarks.append("the default stepsize rests on an estimate of |A|; convergence does not")
    return tuple(remarks)
