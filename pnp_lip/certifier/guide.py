r"""How much a guided denoiser changes with its guide.

Two guides change the activations of a layer by at most

.. math:: |m\odot\sigma(t\oslash m) - m'\odot\sigma(t\oslash m')| \le \Lambda\,|m - m'|, \qquad
          \Lambda = \sum_j s_j\lambda_j,

entry by entry and for all ``t``: :math:`\sum_j s_j\mathrm{clip}(t, \pm m\lambda_j)` is
:math:`\Lambda`-Lipschitz in ``m``. The layers are nonexpansive, so the errors add:
:math:`|D_z(x) - D_{z'}(x)| \le \sum_\ell \tau_\ell\|W_\ell\|\,\|\Lambda_\ell \odot (m_\ell - m'_\ell)\|`
for every ``x``.

*As a number.* For every image ``x`` and all guides, :math:`\|D_z(x) - D_{z'}(x)\| \le L_D\,\|z - z'\|` with

.. math:: L_D = \sum_\ell \tau_\ell\|W_\ell\|\,\mathrm{Lip}(\lambda_\ell), \qquad
          \mathrm{Lip}(\lambda_\ell) \le \|U\|\; t\,e^{tc}\; \|\Lambda_\ell H_\ell\|\;
          \prod_b \bigl(1 + \|B_b\|\|A_b\|\bigr)\, \|S\|\,\|E\| .

From the right: ``E`` repeats the last row and column of a guide with odd sides (norm at most 2), ``S`` is
the first convolution, :math:`v \mapsto v + B_b\,\mathrm{relu}(A_b\,\mathrm{relu}(v))` are the residual
blocks, :math:`H_\ell` is the part of the last convolution for layer :math:`\ell`, :math:`\Lambda_\ell` the
largest value of the activation of each filter; ``c tanh(./c)`` is 1-Lipschitz, ``exp(t .)`` is
:math:`t e^{tc}`-Lipschitz on [-c, c], and bilinear interpolation to twice the sides has a norm of at most
2, because each of its rows sums to 1 and each of its columns to 4. Layers are nonexpansive in the image,
so their changes add.

The constant multiplies norms of ten convolutions that nothing bounds in training, so it is no measure of
what happens. It makes the theorems about a moving guide complete, and it shows what they are worth as
numbers.
"""

from __future__ import annotations

import copy
import math
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor

from pnp_lip.certifier.certification import prove
from pnp_lip.certifier.statement import Statement
from pnp_lip.denoisers import FixedGuide, GuidedDenoiser
from pnp_lip.layers import Clip, ConvGradientStep, NoiseClip
from pnp_lip.layers.maps import Maps
from pnp_lip.norms import convolution_norm
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import format_up, round_up

__all__ = ["change_of_guide", "guide_constant"]

#: Distance of the norms of the mask network from the best possible ones; they are multiplied anyway.
_GAP = 0.01
#: Norms of the repetition of the last pixels, and of the interpolation to twice the sides.
_EDGE, _INTERPOLATION = 2, 2
#: Room for the float64 roundings of sums of squares and products; of e^(tc) and products with activations.
_ROOM, _SMALL_ROOM = 1 + 1e-9, Fraction(1 + 2.0**-40)
#: Rows of maps that are compared at a time.
_ROWS = 256


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
    sizes = [_apart(_reach(layer, sigma), one, other) for layer, one, other in layers]
    return round_up(_sum_of_changes(first.denoiser.steps, statement, sizes))


def _apart(weights: Tensor, first: Maps, second: Maps) -> Fraction:
    r"""At least :math:`\|\Lambda \odot (m - m')\|`.

    Interpolation is linear, so it is applied to the difference ``d`` of what is stored, in float64. What
    it rounds is less than ``_ROOM - 1`` times the interpolation of :math:`|d|`.
    """
    change = first.minus(second)
    size = _weighted_norm(weights, change)
    rounding = _weighted_norm(weights, Maps(change.stored.abs(), change.shape[-2:]))
    return Fraction((size + (_ROOM - 1) * rounding) * _ROOM)


def _weighted_norm(weights: Tensor, maps: Maps) -> float:
    """In bands of rows."""
    parts = (weights[:, None, None] * maps.rows(i, _ROWS) for i in range(0, maps.height, _ROWS))
    return math.sqrt(math.fsum(float(part.square().sum()) for part in parts))


def _sum_of_changes(steps: Any, proved: Statement, sizes: list[Fraction]) -> Fraction:
    r""":math:`\sum_\ell \tau_\ell\|W_\ell\|\,s_\ell`, where every layer is proved nonexpansive.

    Raises
    ------
    Refusal
        a layer that is not, or of whose norm nothing is said.
    """
    total = Fraction(0)
    for layer, leaf, size in zip(steps, proved.leaves(), sizes, strict=True):
        if leaf.upper > 1 or leaf.norm_upper is None:
            raise Refusal(
                f"the changes of the layers add up only if every layer is nonexpansive, and of "
                f"'{leaf.name}' only Lip <= {format_up(leaf.upper)} is proved"
            )
        total += Fraction(float(layer.tau)) * Fraction(leaf.norm_upper) * size
    return total


def _reach(layer: ConvGradientStep, sigma: float) -> Tensor:
    r""":math:`\Lambda`, the largest value of the activation of each filter, ``[K]`` float64."""
    activation = layer.activation
    if isinstance(activation, Clip):
        return activation.threshold.double().clamp(min=0)
    clips = copy.deepcopy(cast(NoiseClip, activation)).double()
    level = torch.tensor([sigma], dtype=torch.float64, device=clips.knots.device)
    thresholds = clips.thresholds(level)[:, 0].clamp(min=0)
    return (torch.softmax(clips.logits, dim=0) * thresholds).sum(0)


@torch.no_grad()
def guide_constant(guided: GuidedDenoiser, sigma: float) -> float:
    r"""An upper bound of :math:`L_D`, over all images, guides and sizes; see the module.

    Parameters
    ----------
    guided
        the denoiser, with the dial as it is set now.
    sigma
        noise level.

    Returns
    -------
        The bound; 0 where the dial is 0.

    Raises
    ------
    Refusal
        nothing is proved of the filters, or they are not nonexpansive, or a weight is not finite.
    """
    mask, steps = guided.mask, guided.denoiser.steps
    features = _norm(mask.stem.weight[:, :-1]) * _EDGE
    for block in cast(Any, mask.blocks):
        features *= 1 + _norm(block.first.weight) * _norm(block.second.weight)
    dial = guided.dial
    growth = Fraction(dial) * Fraction(math.exp(dial * mask.limit)) * _SMALL_ROOM * _INTERPOLATION
    heads = zip(steps, mask.head.weight.split(mask.filters, dim=0), strict=True)
    sizes = [_norm(_reach(a, sigma)[:, None, None, None] * head.double()) for a, head in heads]
    changes = _sum_of_changes(steps, prove(guided.denoiser), sizes)
    return round_up(changes * _SMALL_ROOM * growth * features)


def _norm(weight: Tensor) -> Fraction:
    """A proved bound of a convolution with zero padding."""
    if not bool(torch.isfinite(weight).all()):
        raise Refusal("the mask network has weights that are not finite")
    return Fraction(convolution_norm(weight.detach(), gap=_GAP).upper)
