r"""A gradient step whose thresholds are scaled by maps, one factor for every response and pixel.

.. math:: \Phi_m(x) = x - \tau\,W^\top\bigl(m \odot \sigma(W x \oslash m)\bigr), \qquad m > 0

For a clip, :math:`m\,\mathrm{clip}_\lambda(t/m) = \mathrm{clip}_{m\lambda}(t)`: the maps scale
thresholds and nothing else. The slope in ``t`` is the slope of :math:`\sigma` at :math:`t/m`, so it
stays in [0, 1] for every ``m``, and the layer is the gradient step of the same ``W``: nonexpansive and
averaged with the same constant. With an odd :math:`\sigma` the layer is odd and maps 0 to 0, whatever
the maps are.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor

from pnp_lip.layers.activations import Activation
from pnp_lip.layers.convolution import convolve, convolve_transpose
from pnp_lip.layers.gradient_step import ConvGradientStep

__all__ = ["guided_step", "scaled"]


def scaled(activation: Activation, t: Tensor, sigma: Tensor, scale: Tensor) -> Tensor:
    r""":math:`m \odot \sigma(t \oslash m)`.

    Parameters
    ----------
    activation
        :math:`\sigma`, with slope in [0, 1].
    t
        responses ``[B, K, H, W]``.
    sigma
        noise levels ``[B]``.
    scale
        the maps ``m > 0``, of the shape of ``t``.
    """
    return scale * cast(Tensor, activation(t / scale, sigma))


def guided_step(layer: ConvGradientStep, x: Tensor, sigma: Tensor, scale: Tensor) -> Tensor:
    r""":math:`\Phi_m(x)`, see the module.

    Parameters
    ----------
    layer
        the step, without a bias.
    x
        images ``[B, C, H, W]``.
    sigma
        noise levels ``[B]``.
    scale
        the maps ``[B, K, H, W]``.
    """
    activated = scaled(layer.activation, convolve(x, layer.weight), sigma, scale)
    return x - layer.tau * convolve_transpose(activated, layer.weight)
