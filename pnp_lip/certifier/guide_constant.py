r"""How much a guided denoiser can change with its guide: a number, and a large one.

For every image ``x`` and all guides, :math:`\|D_z(x) - D_{z'}(x)\| \le L_D\,\|z - z'\|` with

.. math:: L_D = \sum_\ell \tau_\ell\|W_\ell\|\,\mathrm{Lip}(\lambda_\ell), \qquad
          \mathrm{Lip}(\lambda_\ell) \le \|U\|\; t\,e^{tc}\; \|\Lambda_\ell H_\ell\|\;
          \prod_b \bigl(1 + \|B_b\|\|A_b\|\bigr)\, \|S\|\,\|E\| .

From the right: ``E`` repeats the last row and column of a guide with odd sides (norm at most 2), ``S`` is
the first convolution, :math:`v \mapsto v + B_b\,\mathrm{relu}(A_b\,\mathrm{relu}(v))` are the residual
blocks, :math:`H_\ell` is the part of the last convolution for layer :math:`\ell`, :math:`\Lambda_\ell` the
largest value of the activation of each filter; ``c tanh(./c)`` is 1-Lipschitz, ``exp(t .)`` is
:math:`t e^{tc}`-Lipschitz on [-c, c], and bilinear interpolation to twice the sides has a norm of at most
2, because each of its rows sums to 1 and each of its columns to 4. Layers are nonexpansive in the image,
so their changes add (:mod:`pnp_lip.certifier.guided_rules`).

The constant multiplies norms of ten convolutions that nothing bounds in training, so it is no measure of
what happens. It makes the theorems about a moving guide complete, and it shows what they are worth as
numbers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.certification import prove
from pnp_lip.certifier.guided_rules import reach, sum_of_changes
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.norms import convolution_norm
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import round_up

__all__ = ["guide_constant"]

#: Distance of the norms of the mask network from the best possible ones; they are multiplied anyway.
_GAP = 0.01
#: Norms of the repetition of the last pixels, and of the interpolation to twice the sides.
_EDGE, _INTERPOLATION = 2, 2
#: Room for the float64 roundings of e^(tc) and of the products with the activations.
_ROOM = Fraction(1 + 2.0**-40)


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
    for block in mask.blocks:
        parts: Any = block
        features *= 1 + _norm(parts.first.weight) * _norm(parts.second.weight)
    dial = guided.dial
    growth = Fraction(dial) * Fraction(math.exp(dial * mask.limit)) * _ROOM * _INTERPOLATION
    heads = zip(steps, mask.head.weight.split(mask.filters, dim=0), strict=True)
    sizes = [_norm(reach(a, sigma)[:, None, None, None] * head.double()) for a, head in heads]
    changes = sum_of_changes(guided.denoiser, prove(guided.denoiser), sizes)
    return round_up(changes * _ROOM * growth * features)


def _norm(weight: Tensor) -> Fraction:
    """A proved bound of a convolution with zero padding."""
    if not bool(torch.isfinite(weight).all()):
        raise Refusal("the mask network has weights that are not finite")
    return Fraction(convolution_norm(weight.detach(), gap=_GAP).upper)
