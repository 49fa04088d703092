r"""What the theorems assume, tried on the denoiser, the physics and the images at hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, Statement, admits
from pnp_lip.certifier.conditions import of_sizes
from pnp_lip.solvers.arguments import usable_norm
from pnp_lip.solvers.certificates import statement_of
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.firm import firm_statement
from pnp_lip.solvers.images import Blocks
from pnp_lip.solvers.operator_norm import OperatorNorm
from pnp_lip.solvers.physics_check import physics_violations

__all__ = ["Applied", "checked", "made_firm", "proved"]


@dataclass(frozen=True)
class Applied:
    r"""What is proved of a denoiser as a method applies it.

    Attributes
    ----------
    statement
        the proof; ``None`` where there is none.
    weight
        :math:`\lambda` of :math:`(1-\lambda)I + \lambda D`.
    missing
        what the method needs and is not proved, in words.
    """

    statement: Statement | None
    weight: float = 1.0
    missing: tuple[str, ...] = ()


def proved(denoiser: nn.Module, dtype: torch.dtype, needs: str = "") -> Applied:
    """The denoiser as it is.

    Parameters
    ----------
    denoiser
        any module.
    dtype
        of the images, which decides for a denoiser without parameters.
    needs
        what the method needs of it, for the message where nothing is proved.
    """
    try:
        return Applied(statement_of(denoiser, dtype))
    except Refusal as refusal:
        return Applied(None, 1.0, (f"nothing is proved of the denoiser ({refusal}): {needs}",))


def made_firm(denoiser: nn.Module, dtype: torch.dtype, method: str) -> Applied:
    """The denoiser relaxed to be firmly nonexpansive."""
    found = proved(denoiser, dtype, f"{method} needs a firmly nonexpansive denoiser")
    if found.statement is None:
        return found
    statement, weight, missing = firm_statement(found.statement, method)
    return Applied(statement, weight, tuple(missing))


def checked(
    denoiser: nn.Module,
    data: DataTerm,
    x: Tensor,
    statement: Statement | None,
    norm: float | None,
) -> tuple[OperatorNorm, list[str]]:
    """Bounds of ``|A|``, and what is wrong with the physics and with the shape of its images.

    Parameters
    ----------
    denoiser
        what the images go through.
    data
        holds the physics and the observation.
    x
        a real variable of the shape to be used.
    statement
        about the denoiser.
    norm
        a bound that the caller vouches for.
    """
    bounds = usable_norm(data, x, norm)
    wrong = physics_violations(data.physics, data.native(x), data.y, bounds)
    seen = Blocks.of(denoiser, 0.0, x).seen(x)
    return bounds, wrong + condition_violations(statement, seen, x.dtype)


def condition_violations(
    statement: Statement | None, shape: tuple[int, ...], dtype: torch.dtype
) -> list[str]:
    """Conditions of a statement that images ``[B, C, H, W]`` of this shape and type do not meet."""
    missed = [
        condition
        for condition in (() if statement is None else statement.conditions)
        if not admits((condition,), shape, dtype)
    ]
    return [
        f"the statement about the denoiser holds for images with {condition}, got {shape}: crop or pad "
        f"the image"
        if of_sizes((condition,))
        else f"the statement about the denoiser holds for images with {condition}, got {dtype}: convert "
        f"the images or the denoiser"
        for condition in missed
    ]
