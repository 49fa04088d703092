r"""Plug-and-Play forward-backward: :math:`T = P_{[a,b]} \circ D \circ (I - \gamma\nabla f)`.

With :math:`L = \|A\|^2/s^2` and :math:`\mu` the strong convexity of :math:`f`:

* ``D`` averaged and :math:`\gamma < 2/L`: ``T`` is averaged, the iterates converge to a fixed point
  if there is one (Krasnosel'skii-Mann; Bauschke and Combettes 2017, Prop. 5.16);
* ``D`` nonexpansive and :math:`\mu > 0`: ``T`` contracts with
  :math:`q = \max(|1-\gamma\mu|, |1-\gamma L|)` (Banach);
* ``D`` nonexpansive: the iteration :math:`\frac12(I + T)` converges if there is a fixed point.

With a box :math:`[a, b]` the map acts on a compact convex set, so a fixed point exists
(Browder, Göhde and Kirk 1965).
"""

from __future__ import annotations

from collections.abc import Callable

from deepinv.optim.data_fidelity import L2
from torch import Tensor, nn

from pnp_lip.certifier import Statement
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.operator_norm import OperatorNorm
from pnp_lip.solvers.plan import Plan, Theorem
from pnp_lip.solvers.plug_and_play import FixedPointMap, PlugAndPlay, physics_norm

__all__ = ["ForwardBackward"]

#: The step taken from the theorem, as a share of the largest admissible one, 2/L.
_SHARE = 0.95

_EXISTENCE = {
    True: "a fixed point exists, because the images are kept in a box",
    False: "converges if a fixed point exists (pass box=(0, 1) to be sure of one)",
}


class ForwardBackward(PlugAndPlay):
    r""":math:`x_{k+1} = D(x_k - \gamma\nabla f(x_k), s)`, see the module.

    Args:
        box: keep the images in this interval, which guarantees that a fixed point exists.

    The others are those of :class:`~pnp_lip.solvers.plug_and_play.PlugAndPlay`; ``stepsize`` is
    :math:`\gamma`, by default :math:`1.9/L`.
    """

    method = "forward-backward"

    def __init__(
        self,
        denoiser: nn.Module,
        sigma: float,
        *,
        stepsize: float | None = None,
        data_fidelity: L2 | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
        box: tuple[float, float] | None = None,
        unproved: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            denoiser,
            sigma,
            stepsize=stepsize,
            data_fidelity=data_fidelity,
            max_iter=max_iter,
            tol=tol,
            unproved=unproved,
            verbose=verbose,
        )
        if box is not None and not box[0] < box[1]:
            raise ValueError(f"box must be an interval (low, high), got {box}")
        self.box = box

    def plan(self, data: DataTerm, x: Tensor, *, norm: float | None = None) -> Plan:
        bounds = physics_norm(data.physics, x, norm)
        smooth, convex = data.weight * bounds.upper**2, data.weight * bounds.lower**2
        stepsize = self.stepsize or _SHARE * 2 / smooth
        statement = self.statement()
        violations = [
            *self._denoiser_violations(statement),
            *_step_violations(stepsize, smooth, bounds),
        ]
        # The factor covers the roundings of the two products and differences.
        contraction = max(abs(1 - stepsize * convex), abs(1 - stepsize * smooth)) * (1 + 2.0**-50)
        only_nonexpansive = statement is None or not (statement.averagedness or 0) < 1
        contracts = convex > 0 and contraction < 1
        theorem = _theorem(contracts, only_nonexpansive, self.box is not None)
        return Plan(
            method=self.method,
            theorem=None if violations else theorem,
            stepsize=stepsize,
            relaxation=0.5 if only_nonexpansive and not contracts else 1.0,
            denoiser=statement,
            norm=bounds,
            violations=tuple(violations),
            contraction=contraction if contracts and not violations else None,
        )

    def fixed_point_map(self, data: DataTerm, plan: Plan, start: Tensor) -> FixedPointMap:
        project = _identity if self.box is None else _clamp_to(self.box)

        def step(x: Tensor) -> Tensor:
            return project(self.denoiser(x - plan.stepsize * data.gradient(x), self.sigma))

        return FixedPointMap(step, _identity, project(start))

    def _denoiser_violations(self, statement: Statement | None) -> list[str]:
        if statement is None:
            return [f"{self.missing_statement()}: the denoiser must be nonexpansive"]
        if statement.upper > 1:
            return [
                f"the denoiser must be nonexpansive, but only Lip <= {statement.upper:.6g} is proved: "
                f"use a LipschitzDenoiser, or divide the network's layers by their norms"
            ]
        return []


def _step_violations(stepsize: float, smooth: float, norm: OperatorNorm) -> list[str]:
    """``gamma < 2/L``, with an ``L`` that is proved."""
    violations = []
    if not stepsize * smooth < 2:
        violations.append(
            f"the stepsize must be below 2/L = {2 / smooth:.6g}, got {stepsize:.6g}: lower it, or "
            f"leave it to the theorem"
        )
    if not norm.source.proved:
        violations.append(
            "the norm of this physics is only estimated: pass norm= with an upper bound of |A|"
        )
    return violations


def _theorem(contracts: bool, only_nonexpansive: bool, box: bool) -> Theorem:
    if contracts:
        return Theorem(
            "Banach's fixed-point theorem",
            "the iterates converge linearly to the only fixed point",
            "Banach 1922",
        )
    if only_nonexpansive:
        return Theorem(
            "Krasnosel'skii-Mann theorem for nonexpansive maps",
            _EXISTENCE[box],
            "Bauschke and Combettes 2017, Theorem 5.15",
        )
    return Theorem(
        "Krasnosel'skii-Mann theorem for averaged maps",
        _EXISTENCE[box],
        "Bauschke and Combettes 2017, Proposition 5.16",
    )


def _identity(x: Tensor) -> Tensor:
    return x


def _clamp_to(box: tuple[float, float]) -> Callable[[Tensor], Tensor]:
    return lambda x: x.clamp(*box)
