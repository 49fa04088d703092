r"""Steps and denoisers that forward-backward admits: :math:`\gamma < 2/L` with a proved ``L``."""

from __future__ import annotations

from fractions import Fraction

from pnp_lip.certifier import Statement
from pnp_lip.rounding import format_up
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.grounds import format_down
from pnp_lip.solvers.operator_norm import OperatorNorm

__all__ = ["expansive", "step_violations"]


def step_violations(stepsize: float, data: DataTerm, norm: OperatorNorm) -> list[str]:
    """What is wrong with a step: ``gamma < 2/L`` has to hold, with an ``L`` that is proved."""
    if not norm.source.proved:
        return [
            "the norm of this physics is only estimated: pass norm= with an upper bound of |A|, or use "
            "ADMM, which needs none"
        ]
    smooth = Fraction(data.weight) * Fraction(norm.upper) ** 2
    if Fraction(stepsize) * smooth < 2:
        return []
    return [
        f"the stepsize must be below 2/L = {format_down(float(2 / smooth))}, got {stepsize:.6g}: "
        f"lower it, or use ADMM, which converges with every stepsize"
    ]


def expansive(statement: Statement) -> str:
    """What is wrong with a denoiser that may expand, where the gradient step does not make up for it."""
    return (
        f"the denoiser must be nonexpansive, but only Lip <= {format_up(statement.upper)} is proved: use "
        f"a LipschitzDenoiser, or divide the network's layers by their norms"
    )
