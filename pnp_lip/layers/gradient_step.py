r"""Residual layers that are one explicit Euler step of a negative gradient flow.

.. math:: \Phi(x) = x - \tau\, W^\top \sigma(Wx + b)

With :math:`\sigma` nondecreasing of slope in [0, 1], :math:`W^\top\sigma(W\cdot+b)` is the gradient
of a convex function with :math:`\|W\|^2`-Lipschitz gradient. By Baillon and Haddad it is
cocoercive, hence for any :math:`s \ge \|W\|`

* :math:`\mathrm{Lip}(\Phi) \le \max(1, \tau s^2 - 1)`; :math:`\tau s^2 \le 2` is nonexpansive,
* :math:`\tau s^2 < 2` is :math:`(\tau s^2/2)`-averaged, :math:`\tau s^2 \le 1` firmly nonexpansive.

Reference: Murari, Furuya, Schönlieb, *Approximation theory for 1-Lipschitz ResNets*, NeurIPS 2025.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.layers.activations import Activation, ReLU
from pnp_lip.layers.convolution import convolve, convolve_transpose
from pnp_lip.layers.held import Constrained, Held

__all__ = ["ConvGradientStep", "GradientStep"]


class GradientStep(nn.Module, Constrained):
    r""":math:`\Phi(x) = x - \tau W^\top\sigma(Wx + b)` for a dense ``W``; tied by construction.

    ``W`` starts with orthonormal rows or columns, so ``tau`` up to 2 is admissible at the start.

    Parameters
    ----------
    features
        dimension ``d`` of the state; the layer maps ``[B, d]`` to ``[B, d]``.
    hidden
        number ``h`` of rows of ``W``.
    activation
        nonlinearity with slope in [0, 1], :class:`ReLU` by default.
    tau
        step length; :math:`0 \le \tau \le 2/\|W\|^2` is nonexpansive.

    Examples
    --------
    >>> from pnp_lip.certifier import prove
    >>> layer = GradientStep(5, 8, tau=1.0)
    >>> prove(layer).averagedness <= 0.51
    True
    """

    def __init__(
        self, features: int, hidden: int, activation: Activation | None = None, *, tau: float = 1.0
    ) -> None:
        super().__init__()
        _require_step(tau)
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(hidden, features)))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.activation = ReLU() if activation is None else activation
        self.tau = nn.Parameter(torch.tensor(float(tau)), requires_grad=False)

    @property
    def held(self) -> list[Held]:
        return [Held(self.weight, "matrix", self.tau)]

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        response = functional.linear(x, self.weight, self.bias)
        return x - self.tau * functional.linear(self.activation(response, sigma), self.weight.T)


class ConvGradientStep(nn.Module, Constrained):
    r""":math:`\Phi(x) = x - \tau W^\top\sigma(Wx + b)` for a zero-padded convolution ``W``.

    Both halves use the *same* tensor, so they cannot come apart. Any image size is accepted and kept.

    Parameters
    ----------
    weight
        kernel ``[K, C, k, k]`` with odd ``k``; the layer maps ``[B, C, H, W]`` to itself.
    activation
        nonlinearity on the ``K`` responses, :class:`ReLU` by default.
    tau
        step length; :math:`0 \le \tau \le 2/\|W\|^2` is nonexpansive.
    bias
        whether to add a learnable ``b`` (one number a response channel).

    Examples
    --------
    >>> from pnp_lip.certifier import prove
    >>> layer = ConvGradientStep(torch.ones(1, 1, 3, 3) / 9, tau=1.9)
    >>> prove(layer).upper
    1.0
    """

    def __init__(
        self,
        weight: Tensor,
        activation: Activation | None = None,
        *,
        tau: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        _require_step(tau)
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
            raise ValueError(
                f"weight must have shape [K, C, k, k] with odd k, got {tuple(weight.shape)}"
            )
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(weight.shape[0])) if bias else None
        self.activation = ReLU() if activation is None else activation
        self.tau = nn.Parameter(torch.tensor(float(tau)), requires_grad=False)

    @property
    def padding(self) -> int:
        """Zeros added on each side, so that the responses have the size of the image."""
        return self.weight.shape[-1] // 2

    @property
    def held(self) -> list[Held]:
        return [Held(self.weight, "convolution", self.tau)]

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        response = convolve(x, self.weight)
        if self.bias is not None:
            response = response + self.bias[:, None, None]
        return x - self.tau * convolve_transpose(self.activation(response, sigma), self.weight)


def _require_step(tau: float) -> None:
    if not (math.isfinite(tau) and tau >= 0):
        raise ValueError(f"tau must be a finite step length >= 0, got {tau}")
