r"""Scalar nonlinearities whose slope stays in [0, 1], the hypothesis of every gradient step.

Such a :math:`\sigma` is the derivative of a convex function with 1-Lipschitz gradient, applied
entry by entry, so :math:`\sigma(a) - \sigma(b) = d\,(a - b)` with :math:`0 \le d \le 1`.
The slope holds for *every* value of the parameters below, so no training step can break it.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.layers.clipping import clip_mixture

__all__ = ["Activation", "Clip", "NoiseClip", "ReLU"]

#: Steepness of the parametrisation of positive factors, which are about 0.01 to 1, and the least
#: value that is set.
_BETA, _LEAST = 50.0, 1e-3


def _inverse_softplus(values: Tensor) -> Tensor:
    r""":math:`\theta` with :math:`\log(1 + e^{\beta\theta})/\beta` equal to the values."""
    values = values.clamp(min=_LEAST)
    return values + torch.log(-torch.expm1(-_BETA * values)) / _BETA


class Activation(nn.Module, ABC):
    r"""An entrywise :math:`\sigma` with :math:`0 \le \sigma' \le 1`.

    Channels are on axis 1 for images and on the last axis of a ``[batch, channels]`` tensor, which
    is axis 1 as well.
    """

    @abstractmethod
    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Apply the nonlinearity to ``t`` (``[B, K, ...]``) at the noise level ``sigma`` (``[B]``)."""


class ReLU(Activation):
    r""":math:`\sigma(t) = \max(t, 0)`, the nonlinearity of the density theorems."""

    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        return functional.relu(t)


class Clip(Activation):
    r""":math:`\sigma(t) = \min(\max(t, -\lambda), \lambda)` with one learnable threshold a channel.

    The derivative of Huber's function: a gradient step with it is a soft shrinkage of large
    responses. A negative :math:`\lambda` counts as 0, so the slope is in [0, 1] for all values.

    Parameters
    ----------
    channels
        number of channels ``K``.
    threshold
        initial value of every threshold, in the units of the responses.
    """

    def __init__(self, channels: int, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.full((channels,), float(threshold)))

    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        threshold = self.threshold[None, None]
        return clip_mixture(t, threshold, torch.ones_like(threshold))


class NoiseClip(Activation):
    r""":math:`\sigma(t) = \sum_j m_{jc}\,\mathrm{clip}(t, \pm s\,a_{jc}(s))`, at noise level :math:`s`.

    The weights :math:`m_{jc} = \mathrm{softmax}_j(\theta_{jc})` are a convex combination, so the slope
    is in [0, 1]: a concave influence function with as many corners as ``pieces``. Each factor
    :math:`a_{jc}(s)` is interpolated linearly between knots and constant outside them. At
    :math:`s = 0` the activation vanishes, and the gradient step around it is the identity; above
    the last knot the step commutes with scaling, :math:`\Phi_{\mu s}(\mu x) = \mu\Phi_s(x)`. Only
    thresholds depend on *s*: one bound of the weights covers every noise level.

    Parameters
    ----------
    channels
        number of channels ``K``.
    knots
        increasing noise levels, in the units of the image (which is in [0, 1]).
    factors
        initial value of the factors, one for each piece.
    positive
        the parameter ``factors`` holds :math:`\theta` with
        :math:`a = \log(1 + e^{\beta\theta})/\beta`: a threshold never vanishes, so that training can
        always move it. Otherwise the parameter is the factor itself; a negative one counts as 0
        and has no gradient any more.
    """

    knots: Tensor

    def __init__(
        self,
        channels: int,
        knots: tuple[float, ...],
        factors: tuple[float, ...] = (1.0,),
        *,
        positive: bool = False,
    ) -> None:
        super().__init__()
        if len(knots) < 2 or any(b <= a for a, b in itertools.pairwise(knots)):
            raise ValueError(f"knots must be at least two increasing noise levels, got {knots}")
        self.register_buffer("knots", torch.tensor(knots))
        self.positive = positive
        start = torch.tensor(factors)[:, None, None].repeat(1, len(knots), channels)
        self.factors = nn.Parameter(_inverse_softplus(start) if positive else start)
        self.logits = nn.Parameter(torch.zeros(len(factors), channels))

    def thresholds(self, sigma: Tensor) -> Tensor:
        """Thresholds ``[pieces, B, K]`` at the noise levels ``sigma`` (``[B]``)."""
        inside = sigma.clamp(self.knots[0], self.knots[-1])
        right = torch.searchsorted(self.knots, inside).clamp(1, len(self.knots) - 1)
        left_knot, right_knot = self.knots[right - 1], self.knots[right]
        weight = ((inside - left_knot) / (right_knot - left_knot))[:, None]
        table = self.table()
        factors = (1 - weight) * table[:, right - 1] + weight * table[:, right]
        return sigma[:, None] * factors

    def table(self) -> Tensor:
        """The factors at the knots, ``[pieces, knots, K]``."""
        return functional.softplus(self.factors, _BETA) if self.positive else self.factors

    @torch.no_grad()
    def set_table(self, table: Tensor) -> None:
        """Let the factors at the knots be ``table``; of positive ones, at least 1e-3."""
        self.factors.copy_(_inverse_softplus(table) if self.positive else table)

    def divide_thresholds(self, divisor: float) -> None:
        """Divide every threshold, at every noise level."""
        self.set_table(self.table() / divisor)

    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        if sigma is None:
            raise TypeError("NoiseClip needs the noise level: call the layer with sigma")
        shares = torch.softmax(self.logits, dim=0)[:, None]
        return clip_mixture(t, self.thresholds(sigma), shares)
