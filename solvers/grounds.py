"""What a plan rests on, in words: its map, and every hypothesis with the numbers that meet it.

Numbers are rounded outward, so that a printed inequality is one that holds.
"""

from __future__ import annotations

from fractions import Fraction

from pnp_lip.certifier import Statement
from pnp_lip.rounding import format_up
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm

__all__ = [
    "about_denoiser",
    "about_physics",
    "about_product",
    "about_step",
    "anchored",
    "format_down",
]


def about_denoiser(statement: Statement | None, weight: float) -> str:
    r"""What is proved of the denoiser, :math:`(1-\lambda)I + \lambda D` for a ``weight`` other than 1."""
    if statement is None:
        return "nothing is proved of the denoiser"
    relaxed = f"D, applied as (1 - lambda) I + lambda D with lambda = {weight:.4g},"
    who = "D" if weight == 1 else relaxed
    alpha = statement.averagedness
    if alpha is None or alpha >= 1:
        kind = f"has Lip(D) <= {format_up(statement.upper)}"
    elif alpha <= 0.5:
        kind = "is firmly nonexpansive"
    else:
        kind = f"is averaged with alpha <= {format_up(alpha, 4)}"
    sizes = "".join(f" for images with {condition}" for condition in statement.conditions)
    return f"{who} {kind}{sizes} (proved)"


def about_step(stepsize: float, data: DataTerm, norm: OperatorNorm) -> str:
    """The step of forward-backward against its limit."""
    smooth = Fraction(data.weight) * Fraction(norm.upper) ** 2
    constant = "|A|^2" if data.scalar and data.weight == 1 else "|A|^2 max(W)"
    limit = format_down(float(2 / smooth))
    return f"0 < gamma = {stepsize:.6g} < 2/L with L = {constant}, 2/L >= {limit}"


def about_product(stepsize: float, dual: float, norm: OperatorNorm) -> str:
    """The two steps of the primal-dual method against their limit."""
    product = Fraction(stepsize) * Fraction(dual) * Fraction(norm.upper) ** 2
    return f"tau sigma |A|^2 <= {format_up(float(product), 4)} < 1"


def about_physics(norm: OperatorNorm) -> str:
    """What was tried of the physics."""
    if norm.source is NormSource.ESTIMATE:
        return "A is linear and A* its adjoint (tried on seeded vectors)"
    return "A is linear, A* its adjoint and |A| below its bound (tried on seeded vectors)"


def anchored(step: str, rho: float) -> str:
    """The map with an anchor, if there is one."""
    return f"(1 - rho) [{step}] + rho x_ref, rho = {rho:g}" if rho else step


def format_down(value: float) -> str:
    """Decimal text of six digits that is not above a positive ``value``."""
    return format_up(-value).lstrip("-")
