r"""Rules for denoisers, and for the same denoisers in other forms.

A frozen denoiser is, in exact arithmetic, the denoiser at one noise level. Its folded constants are
checked against the denoiser's weights; no bound is stated for the rounding error of the folded form.
A denoiser that is computed in tiles is the same function, hence the same
statement holds. Its error of execution is that of each window on its tile: a pixel lies in at most
:math:`k^2` windows of :math:`k` along each axis, so :math:`\sum_t \|x|_t\|^2 \le k^2\|x\|^2`,
likewise for the numbers of pixels, and the error of the whole is at most ``k`` times that of one
application.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

from deepinv.distributed.framework import DistributedProcessing
from torch import nn

from pnp_lip.certifier.execution import Execution, relaxed_execution
from pnp_lip.certifier.rules import Settings, apply_rule, chain, keeps_shape, register_rule
from pnp_lip.certifier.statement import Statement, averaged_with_identity, combine
from pnp_lip.denoisers.distributed import HaloTiling
from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.guard import Guard
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.denoisers.tiled import Tiled, receptive_radius
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import multiply_up

__all__ = ["require_same_function", "require_windows"]


@register_rule(LipschitzDenoiser, keeps_shape=True)
def _denoiser(module: nn.Module, name: str, settings: Settings) -> Statement:
    prefix = f"{name}.layers" if name else "layers"
    layers = enumerate(cast(LipschitzDenoiser, module).layers)
    return chain([(str(index), layer) for index, layer in layers], prefix, settings)


def _of_denoiser(module: nn.Module) -> bool:
    return keeps_shape(cast(Guard | Relaxed, module).denoiser)


@register_rule(Relaxed, keeps_shape=_of_denoiser)
def _relaxed(module: nn.Module, name: str, settings: Settings) -> Statement:
    r"""For the stored :math:`\lambda` and for its rounding to float32, which is what acts there."""
    relaxed = cast(Relaxed, module)
    path = f"{name}.denoiser" if name else "denoiser"
    if not keeps_shape(relaxed.denoiser) and settings.without_rule is not None:
        settings.memory.handed[-1].add(id(relaxed.denoiser))
        return settings.without_rule(relaxed, name, settings)  # its sum may broadcast
    inner = apply_rule(relaxed.denoiser, path, settings)
    weights = {float(relaxed.relaxation), float(relaxed.relaxation.float())}
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise Refusal(f"'{name or 'the network'}' has the relaxation {max(weights)}: expected >= 0")
    statement = max(
        (averaged_with_identity(inner, weight) for weight in weights),
        key=lambda one: (one.upper, one.averagedness or 0.0),
    )
    return replace(statement, execution=relaxed_execution(inner.execution, max(weights)))


@register_rule(Guard, keeps_shape=_of_denoiser)
def _guard(module: nn.Module, name: str, settings: Settings) -> Statement:
    path = f"{name}.denoiser" if name else "denoiser"
    return apply_rule(cast(Guard, module).denoiser, path, settings)


@register_rule(Frozen, keeps_shape=True)
def _frozen(module: nn.Module, name: str, settings: Settings) -> Statement:
    frozen = cast(Frozen, module)
    if not frozen.is_faithful():
        raise Refusal(
            f"'{name or 'the network'}' is not what its denoiser folds to: freeze the denoiser again"
        )
    inner = apply_rule(frozen.denoiser, f"{name}.denoiser" if name else "denoiser", settings)
    return replace(inner, execution=None)


@register_rule(Tiled, keeps_shape=True)
def _tiled(module: nn.Module, name: str, settings: Settings) -> Statement:
    tiled = cast(Tiled, module)
    if tiled.tile < 1:
        raise Refusal(
            f"'{name or 'the network'}': expected tiles of at least one pixel, got {tiled.tile}"
        )
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


@register_rule(VolumeDenoiser, keeps_shape=True)
def _volume(module: nn.Module, name: str, settings: Settings) -> Statement:
    """Each family of planes is block diagonal; their convex combination, see :func:`combine`."""
    volume, where = cast(VolumeDenoiser, module), name or "the network"
    if not keeps_shape(volume.denoiser):
        raise Refusal(
            f"'{where}' averages planes, and nothing says that a {type(volume.denoiser).__name__} gives "
            f"images of the size it takes: register its rule with keeps_shape"
        )
    inner = apply_rule(volume.denoiser, f"{name}.denoiser" if name else "denoiser", settings)
    if inner.conditions:
        raise Refusal(
            f"'{where}': the statement about its denoiser holds for images with "
            f"{', '.join(inner.conditions)}, which planes of a volume need not meet"
        )
    average = combine([(share, inner) for share in volume.shares()], "average of planes")
    return replace(average, parts=(inner,), execution=None)


def require_windows(processing: DistributedProcessing, name: str) -> HaloTiling:
    """The tiling of a distributed denoiser, where it keeps the function.

    Raises
    ------
    Refusal
        deepinv's own tiling, or windows that are too small.
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

    Raises
    ------
    Refusal
        the receptive radius is not known, or the halo is below it.
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
