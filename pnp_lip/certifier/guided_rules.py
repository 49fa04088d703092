r"""Rules for denoisers with maps of thresholds.

*Fixed guide.* :math:`m \odot \sigma(t \oslash m)` has its slope in [0, 1] wherever :math:`\sigma`
has, for every map ``m > 0``. So the layer is a gradient step of the same ``W`` with another
activation of unit slope, and the statement of the denoiser with the same filters is the statement
of :math:`D_z`, for every guide. What the products with the maps round is a matter of execution,
about which nothing is stated.

*In the guide.* Two guides change the activations of a layer by at most

.. math:: |m\odot\sigma(t\oslash m) - m'\odot\sigma(t\oslash m')| \le \Lambda\,|m - m'|, \qquad
          \Lambda = \sum_j s_j\lambda_j,

entry by entry and for all ``t``: :math:`\sum_j s_j\mathrm{clip}(t, \pm m\lambda_j)` is
:math:`\Lambda`-Lipschitz in ``m``. The layers are nonexpansive, so the errors add:
:math:`|D_z(x) - D_{z'}(x)| \le \sum_\ell \tau_\ell\|W_\ell\|\,\|\Lambda_\ell \odot (m_\ell - m'_\ell)\|`
for every ``x``.

*End to end* nothing is claimed of a guided denoiser.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, nn

from pnp_lip.certifier.rules import Settings, apply_to_part, register_rule
from pnp_lip.certifier.statement import Statement
from pnp_lip.denoisers.fixed_guide import FixedGuide
from pnp_lip.denoisers.frozen_guided import FrozenGuided
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.moving_guide import MovingGuide
from pnp_lip.layers import Clip, ConvGradientStep, NoiseClip
from pnp_lip.layers.maps import Maps
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import format_up, round_up

__all__ = ["change_of_guide", "reach", "sum_of_changes"]

#: Room for the float64 roundings of the sums of squares and of the products in a change of guide.
_ROOM = 1e-9
#: Rows of maps that are compared at a time.
_ROWS = 256


@register_rule(FixedGuide, keeps_shape=True)
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


@register_rule(FrozenGuided)
@register_rule(GuidedDenoiser)
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


@torch.no_grad()
def change_of_guide(
    first: FixedGuide, second: FixedGuide, sigma: float, statement: Statement
) -> float:
    r"""A bound of :math:`\|D_z(x) - D_{z'}(x)\|` over all images ``x``; see the module.

    Parameters
    ----------
    first, second
        the denoiser with two guides, for single images.
    sigma
        noise level.
    statement
        what :func:`~pnp_lip.certifier.prove` says of ``first``; its layers are bounded.

    Raises
    ------
    ValueError
        guides of different denoisers or sizes.
    """
    if first.denoiser is not second.denoiser or first.maps[0].shape != second.maps[0].shape:
        raise ValueError("expected two guides of the same size for the same denoiser")
    layers = zip(first.denoiser.steps, first.maps, second.maps, strict=True)
    sizes = [_apart(reach(layer, sigma), one, other) for layer, one, other in layers]
    return round_up(sum_of_changes(first.denoiser, statement, sizes))


def _apart(weights: Tensor, first: Maps, second: Maps) -> Fraction:
    r"""At least :math:`\|\Lambda \odot (m - m')\|`.

    Interpolation is linear, so it is applied to the difference ``d`` of what is stored, in float64. What
    it rounds is less than ``_ROOM`` times the interpolation of :math:`|d|`.
    """
    change = first.minus(second)
    size = _weighted_norm(weights, change)
    rounding = _ROOM * _weighted_norm(weights, Maps(change.stored.abs(), change.shape[-2:]))
    return Fraction((size + rounding) * (1 + _ROOM))


def _weighted_norm(weights: Tensor, maps: Maps) -> float:
    """In bands of rows."""
    bands = (maps.rows(top, _ROWS) for top in range(0, maps.height, _ROWS))
    parts = (weights[:, None, None] * band for band in bands)
    return math.sqrt(math.fsum(float(part.square().sum()) for part in parts))


def sum_of_changes(
    denoiser: LipschitzDenoiser, statement: Statement, sizes: Sequence[Fraction]
) -> Fraction:
    r""":math:`\sum_\ell \tau_\ell\|W_\ell\|\,s_\ell`, where every layer is proved nonexpansive.

    Raises
    ------
    Refusal
        a layer that is not, or of whose norm nothing is said.
    """
    total = Fraction(0)
    for layer, leaf, size in zip(denoiser.steps, statement.leaves(), sizes, strict=True):
        if leaf.upper > 1:
            raise Refusal(
                f"the changes of the layers add up only if every layer is nonexpansive, and of "
                f"'{leaf.name}' only Lip <= {format_up(leaf.upper)} is proved"
            )
        if leaf.norm_upper is None:
            raise Refusal(f"nothing is said of the norm of '{leaf.name}'")
        total += Fraction(float(layer.tau)) * Fraction(leaf.norm_upper) * size
    return total


def reach(layer: ConvGradientStep, sigma: float) -> Tensor:
    r""":math:`\Lambda`, the largest value of the activation of each filter, ``[K]`` float64."""
    activation = layer.activation
    if isinstance(activation, Clip):
        return activation.threshold.double().clamp(min=0)
    clips = copy.deepcopy(cast(NoiseClip, activation)).double()
    level = torch.tensor([sigma], dtype=torch.float64, device=clips.knots.device)
    thresholds = clips.thresholds(level)[:, 0].clamp(min=0)
    return (torch.softmax(clips.logits, dim=0) * thresholds).sum(0)
