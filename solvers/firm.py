r"""The denoiser relaxed to be firmly nonexpansive.

It is :math:`(1-\lambda)I + \lambda D` with :math:`\lambda = 1/(2\alpha)`, for an
:math:`\alpha`-averaged ``D``.
"""

from __future__ import annotations

from pnp_lip.certifier import Statement, averaged_with_identity
from pnp_lip.denoisers.relaxed import firm_weight
from pnp_lip.rounding import format_up

__all__ = ["firm_statement"]


def firm_statement(statement: Statement, method: str) -> tuple[Statement, float, list[str]]:
    r"""What is proved of the relaxed denoiser, its :math:`\lambda`, and what is missing for it.

    Parameters
    ----------
    statement
        about the denoiser.
    method
        for the message.
    """
    if statement.averagedness is None:
        return (
            statement,
            1.0,
            [
                f"{method} needs a firmly nonexpansive denoiser, but only Lip <= "
                f"{format_up(statement.upper)} is proved: use a LipschitzDenoiser"
            ],
        )
    if statement.averagedness <= 0.5:
        return statement, 1.0, []
    weight = firm_weight(statement.averagedness)
    return averaged_with_identity(statement, weight), weight, []
