r"""Rules for denoisers, and for the same denoisers in other forms.

A frozen denoiser is, in exact arithmetic, the denoiser at one noise level. Its folded constants are
checked against the denoiser's weights; no bound is stated for the rounding error of the folded form.
A denoiser that is computed in tiles is the same function, hence the same
statement holds. Its error of execution is that of each window on its tile: a pixel lies in at most
:math:`k^2` windows of :math:`k` along each axis, so :math:`\sum_t \|x|_t\|^2 \le k^2\|x\|^2`,
likewise for the numbers of pixels, and the error of the whole is at most ``k`` times that of one
application.

With a fixed guide, :math:`m \odot \sigma(t \oslash m)` has its slope in [0, 1] wherever :math:`\sigma`
has, for every map ``m > 0``. So the layer is a gradient step of the same ``W`` with another
activation of unit slope, and the statement of the denoiser with the same filters is the statement
of :math:`D_z`, for every guide. What the products with the maps round is a matter of execution,
about which nothing is stated. *End to end* nothing is claimed of a guided denoiser.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from deepinv.distributed.framework import DistributedProcessing
from torch import nn

from pnp_lip import denoisers
from pnp_lip.certifier.composition import averaged_with_identity, combine, compose, worst
from pnp_lip.certifier.conditions import of_sizes
from pnp_lip.certifier.execution import relaxed_execution
from pnp_lip.certifier.rules import Settings, apply_to_part, keeps_shape, register_rule
from pnp_lip.certifier.statement import Statement
from pnp_lip.denoisers.distributed import HaloTiling
from pnp_lip.denoisers.moving_guide import MovingGuide
from pnp_lip.denoisers.tiled import receptive_radius
from pnp_lip.layers import Clip, ConvGradientStep, NoiseClip
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import multiply_up

__all__: list[str] = []


@register_rule(denoisers.LipschitzDenoiser, keeps_shape=True)
def _denoiser(module: Any, name: str, settings: Settings) -> Statement:
    path = f"{name}.layers".strip(".")
    keys = map(str, range(len(module.layers)))
    return compose([apply_to_part(module.layers, key, path, settings) for key in keys])


@register_rule(denoisers.Guard, keeps_shape=lambda module: keeps_shape(module.denoiser))
def _guard(module: Any, name: str, settings: Settings) -> Statement:
    return apply_to_part(module, "denoiser", name, settings)


@register_rule(denoisers.Relaxed, keeps_shape=lambda module: keeps_shape(module.denoiser))
def _relaxed(module: Any, name: str, settings: Settings) -> Statement:
    r"""For the stored :math:`\lambda` and for its rounding to float32, which is what acts there."""
    if not keeps_shape(module.denoiser):
        settings.handed[-1].add(id(module.denoiser))
        return settings.without_rule(module, name, settings)  # its sum may broadcast
    inner = apply_to_part(module, "denoiser", name, settings)
    weights = {float(module.relaxation), float(module.relaxation.float())}
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise Refusal(f"has the relaxation {max(weights)}: expected >= 0")
    statement = worst([averaged_with_identity(inner, weight) for weight in weights])
    return replace(statement, execution=relaxed_execution(inner.execution, max(weights)))


@register_rule(denoisers.Frozen, keeps_shape=True)
def _frozen(module: Any, name: str, settings: Settings) -> Statement:
    if not module.is_faithful():
        raise Refusal("is not what its denoiser folds to: freeze the denoiser again")
    return replace(apply_to_part(module, "denoiser", name, settings), execution=None)


@register_rule(denoisers.Tiled, keeps_shape=True)
def _tiled(module: Any, name: str, settings: Settings) -> Statement:
    if module.tile < 1:
        raise Refusal(f"is no tiling: expected tiles of at least one pixel, got {module.tile}")
    return _in_windows(module, "denoiser", module, name, settings)


@register_rule(DistributedProcessing, keeps_shape=True)
def _distributed(module: Any, name: str, settings: Settings) -> Statement:
    if type(module.strategy) is not HaloTiling:
        raise Refusal(
            "is tiled by deepinv, which pads the image by reflection: another function; pass "
            "tiling_strategy=HaloTiling(x.shape, denoiser)"
        )
    return _in_windows(module, "processor", module.strategy, name, settings)


def _in_windows(module: Any, key: str, tiling: Any, name: str, settings: Settings) -> Statement:
    """The statement about ``module.key`` where windows keep its function.

    Raises
    ------
    Refusal
        the receptive radius is not known, or the halo is below it.
    """
    denoiser: nn.Module = getattr(module, key)
    radius = receptive_radius(denoiser)
    if radius is None or not keeps_shape(denoiser):
        kind = type(denoiser).__name__
        raise Refusal(f"is tiled, and the receptive field of a {kind} is not known")
    if tiling.halo < radius:
        raise Refusal(f"is tiled with a halo of {tiling.halo} pixels, the radius is {radius}")
    inner = apply_to_part(module, key, name, settings)
    if inner.execution is None:
        return inner
    relative = multiply_up(tiling.overlap, inner.execution.relative)
    offset = multiply_up(tiling.overlap, inner.execution.offset)
    return replace(inner, execution=replace(inner.execution, relative=relative, offset=offset))


@register_rule(denoisers.VolumeDenoiser, keeps_shape=True)
def _volume(module: Any, name: str, settings: Settings) -> Statement:
    """Each family of planes is block diagonal; their convex combination, see :func:`combine`."""
    if not keeps_shape(module.denoiser):
        raise Refusal(
            f"averages planes, and nothing says that a {type(module.denoiser).__name__} gives "
            f"images of the size it takes: register its rule with keeps_shape"
        )
    inner = apply_to_part(module, "denoiser", name, settings)
    sizes = ", ".join(of_sizes(inner.conditions))
    if sizes:
        raise Refusal(
            f"has a denoiser bounded for images with {sizes}, which planes of a volume need not meet"
        )
    average = combine([(share, inner) for share in module.shares()], "average of planes")
    return replace(average, parts=(inner,), execution=None)


@register_rule(denoisers.FixedGuide, keeps_shape=True)
def _fixed_guide(module: Any, name: str, settings: Settings) -> Statement:
    module.require_valid_maps()
    for index, layer in enumerate(module.denoiser.layers):
        _require_thresholds_only(layer, f"'{name}.{index}'" if name else f"'layer {index}'")
    inner = apply_to_part(module, "denoiser", name, settings)
    rule = f"{inner.rule}; thresholds are free: covered for every guide"
    return replace(inner, rule=rule, execution=None)


@register_rule(MovingGuide, keeps_shape=True)
def _moving_guide(module: nn.Module, name: str, settings: Settings) -> Statement:
    return apply_to_part(module, "now", name, settings)


@register_rule(denoisers.FrozenGuided)
@register_rule(denoisers.GuidedDenoiser)
def _guided(module: nn.Module, name: str, settings: Settings) -> Statement:
    raise Refusal(
        "computes its guide from its input: from input to output it may be expansive, and nothing is "
        "claimed; certify G.at(guide, sigma), where the guide is fixed"
    )


def _require_thresholds_only(layer: nn.Module, where: str) -> None:
    """Maps may scale clips of responses, and nothing else.

    Raises
    ------
    Refusal
        another layer, a bias, or an activation that is no clip.
    """
    if type(layer) is not ConvGradientStep:
        raise Refusal(f"{where} is a {type(layer).__name__}: expected a ConvGradientStep")
    if layer.bias is not None:
        raise Refusal(
            f"{where} has a bias: a saturated clip with a bias is a constant, through which a guide could "
            f"put any image; only thresholds may be guided"
        )
    if type(layer.activation) not in (Clip, NoiseClip):
        raise Refusal(
            f"{where} has the activation {type(layer.activation).__name__}: maps scale the thresholds "
            f"of Clip and NoiseClip only"
        )
