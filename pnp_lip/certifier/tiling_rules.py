r"""Rules for denoisers that are computed in tiles: the same function, hence the same statement.

The error of execution is that of each window on its tile. A pixel lies in at most :math:`k^2` windows
of :math:`k` along each axis, so :math:`\sum_t \|x|_t\|^2 \le k^2\|x\|^2`, likewise for the numbers of
pixels, and the error of the whole is at most ``k`` times that of one application.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from deepinv.distributed.framework import DistributedProcessing
from torch import nn

from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.outward import multiply_up
from pnp_lip.certifier.rules import Refusal, Settings, apply_rule, keeps_shape, register_rule
from pnp_lip.certifier.statement import Statement
from pnp_lip.distributed_tiles import HaloTiling
from pnp_lip.tiling import Tiled, receptive_radius

__all__ = ["require_same_function", "require_windows"]


@register_rule(Tiled, keeps_shape=True)
def _tiled(module: nn.Module, name: str, settings: Settings) -> Statement:
    tiled = cast(Tiled, module)
    require_same_function(tiled.denoiser, tiled.halo, name)
    inner = apply_rule(tiled.denoiser, f"{name}.denoiser" if name else "denoiser", settings)
    return replace(inner, execution=_in_windows(inner.execution, tiled.overlap))


@register_rule(DistributedProcessing, keeps_shape=True)
def _distributed(module: nn.Module, name: str, settings: Settings) -> Statement:
    processing = cast(DistributedProcessing, module)
    tiling = require_windows(processing, name)
    path = f"{name}.processor" if name else "processor"
    inner = apply_rule(processing.processor, path, settings)
    return replace(inner, execution=_in_windows(inner.execution, tiling.overlap))


def require_windows(processing: DistributedProcessing, name: str) -> HaloTiling:
    """The tiling of a distributed denoiser, where it keeps the function.

    Raises:
        Refusal: deepinv's own tiling, or windows that are too small.
    """
    tiling = processing.strategy
    if type(tiling) is not HaloTiling:
        raise Refusal(
            f"'{name or 'the network'}' is tiled by deepinv, which pads the image by reflection: "
            f"another function; pass tiling_strategy=HaloTiling(x.shape, denoiser)"
        )
    require_same_function(processing.processor, tiling.halo, name)
    return tiling


def require_same_function(denoiser: nn.Module, halo: int, name: str) -> None:
    """Refuse windows that may change the function.

    Raises:
        Refusal: the receptive radius is not known, or the halo is below it.
    """
    radius, where = receptive_radius(denoiser), name or "the network"
    if radius is None or not keeps_shape(denoiser):
        raise Refusal(
            f"'{where}' is tiled, and the receptive field of a {type(denoiser).__name__} is not known"
        )
    if halo < radius:
        raise Refusal(f"'{where}' is tiled with a halo of {halo} pixels, the radius is {radius}")


def _in_windows(execution: Execution | None, overlap: int) -> Execution | None:
    if execution is None:
        return None
    return replace(
        execution,
        relative=multiply_up(overlap, execution.relative),
        offset=multiply_up(overlap, execution.offset),
    )
