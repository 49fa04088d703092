"""The denoiser of a plan as it is run: folded, and in tiles where the whole image needs too much memory."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from pnp_lip.solvers.execution import folded
from pnp_lip.solvers.images import Blocks
from pnp_lip.solvers.memory import fitted
from pnp_lip.solvers.plan import Plan

__all__ = ["prepared"]


def prepared(
    denoiser: nn.Module,
    plan: Plan,
    start: Tensor,
    kernels: torch.dtype | None,
    memory: float | None,
) -> tuple[nn.Module, Plan]:
    """The same function in the form that is run, and the plan that says so.

    Parameters
    ----------
    denoiser
        of the plan; one of which nothing is proved stays as it is.
    plan
        names its level.
    start
        a real variable of the shape to be used.
    kernels
        type of the folded kernels.
    memory
        most bytes at once.
    """
    if plan.denoiser is None:
        return denoiser, plan
    whole = folded(denoiser, plan.sigma, kernels)
    images, _ = Blocks.of(denoiser, plan.sigma, start).cut(start)
    fitting = fitted(whole, images, memory)
    if fitting is whole:
        return whole, plan
    remark = "the denoiser works in tiles, because the whole image needs too much memory at once"
    return fitting, replace(plan, remarks=(*plan.remarks, remark))
