"""What a theorem needs, whether it holds here, and what it then promises."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier import Statement
from pnp_lip.errors import PnpLipError
from pnp_lip.rounding import format_up
from pnp_lip.solvers.operator_norm import OperatorNorm
from pnp_lip.solvers.rates import Rate
from pnp_lip.solvers.schemes import KrasnoselskiiMann, Scheme
from pnp_lip.solvers.theorems import Theorem

__all__ = ["HypothesisViolated", "Plan"]


class HypothesisViolated(PnpLipError, ValueError):
    """A hypothesis of the convergence theorem fails; the message names it and what to change."""


@dataclass(frozen=True)
class Plan:
    r"""How a solver is going to run, and what is guaranteed of it.

    Attributes
    ----------
    method
        name of the iteration.
    theorem
        the theorem whose hypotheses were checked, ``None`` if one of them fails.
    stepsize
        the step or penalty parameter used.
    denoiser
        what is proved of the denoiser as the method applies it.
    norm
        bounds of the singular values of the physics.
    scheme
        how steps are made.
    violations
        hypotheses that fail, each with its remedy; empty if the theorem applies.
    iteration
        the map, as a formula.
    hypotheses
        those of the theorem that were checked, each with the numbers that meet it.
    remarks
        what a reader should know besides.
    contraction
        a proved rate ``q < 1`` of the map that is iterated, if there is one.
    exists
        whether a fixed point is proved to exist.
    firm
        :math:`\lambda` of the denoiser :math:`(1-\lambda)I + \lambda D` that is applied.
    anchor
        :math:`\rho` of the map :math:`(1-\rho)T + \rho x_\mathrm{ref}` that is iterated.
    scale
        the share of the natural step :math:`1/L`, at most 1; residuals are divided by it.
    stability
        a bound of the change of the solution by a change of ``y``, for a fixed reference.
    sigma
        the noise level given to the denoiser, a number or one per image.
    rate
        how small the residual of every image certainly is after so many steps.

    Examples
    --------
    >>> import deepinv as dinv
    >>> import torch
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.solvers import ForwardBackward
    >>> physics = dinv.physics.Inpainting((1, 32, 32), mask=0.7)
    >>> solver = ForwardBackward(LipschitzDenoiser(1), sigma=0.05)
    >>> solution = solver.solve(physics(torch.rand(1, 1, 32, 32)), physics)
    >>> print(solution.plan.summary())  # doctest: +ELLIPSIS
    forward-backward, stepsize 1.9, ...
    """

    method: str
    theorem: Theorem | None
    stepsize: float
    denoiser: Statement | None
    norm: OperatorNorm
    scheme: Scheme = field(default_factory=KrasnoselskiiMann)
    violations: tuple[str, ...] = ()
    iteration: str = ""
    hypotheses: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    contraction: float | None = None
    exists: bool = False
    firm: float = 1.0
    anchor: float = 0.0
    scale: float = 1.0
    stability: float | None = None
    sigma: float | Tensor = math.nan
    rate: Rate | None = None

    @property
    def guaranteed(self) -> bool:
        """Whether every hypothesis of ``theorem`` is proved."""
        return self.theorem is not None and not self.violations

    @property
    def relaxation(self) -> float:
        """The weight of the map in each step."""
        return float(getattr(self.scheme, "relaxation", 1.0))

    def require_guarantee(self) -> None:
        """Raise :class:`HypothesisViolated` unless the theorem applies."""
        if self.violations:
            raise HypothesisViolated(
                f"{self.method}: "
                + "; ".join(self.violations)
                + ". To run without any guarantee, pass unproved=True"
            )

    def summary(self) -> str:
        """The plan in a few lines; bounds are rounded up."""
        of_map = f" of {self.iteration}" if self.iteration else ""
        lines = [f"{self.method}, stepsize {self.stepsize:.4g}, {self.scheme.name} steps{of_map}"]
        if self.relaxation != 1:
            lines.append(f"relaxation {self.relaxation:.4g}")
        if self.theorem is not None and self.guaranteed:
            lines += [
                f"theorem: {self.theorem.name} ({self.theorem.reference})",
                self.theorem.conclusion,
            ]
            if self.hypotheses:
                lines.append(f"because {'; '.join(self.hypotheses)}")
        else:
            lines += ["NO GUARANTEE: " + "; ".join(self.violations)]
        if self.stability is not None:
            lines.append(
                f"stability: a change of y moves the solution by at most "
                f"{format_up(self.stability, 3)} times as much"
            )
        if self.rate is not None and self.guaranteed:
            lines.append(
                f"rate: |T(w) - w| <= {format_up(self.rate.after(0), 3)} at the start and "
                f"{format_up(self.rate.after(1000), 3)} after 1000 steps, from the box"
            )
        bound = format_up(self.norm.upper)
        return "\n".join([*lines, f"|A| <= {bound}: {self.norm.source.value}", *self.remarks])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for a report."""
        named = self.theorem if self.guaranteed else None
        return {
            "method": self.method,
            "theorem": named.name if named else None,
            "conclusion": named.conclusion if named else None,
            "reference": named.reference if named else None,
            "scheme": self.scheme.name,
            "stepsize": self.stepsize,
            "sigma": torch.as_tensor(self.sigma).tolist(),
            "relaxation": self.relaxation,
            "operator_norm_upper": self.norm.upper,
            "operator_norm_value": self.norm.value,
            "operator_norm_source": self.norm.source.value,
            "iteration": self.iteration,
            "hypotheses": list(self.hypotheses) if named else [],
            "violations": list(self.violations),
            "remarks": list(self.remarks),
            "contraction": self.contraction,
            "anchor": self.anchor,
            "stability": self.stability,
        }
