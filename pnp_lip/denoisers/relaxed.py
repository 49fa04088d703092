r"""Relaxation of a denoiser towards the identity, :math:`D_\lambda = (1-\lambda)I + \lambda D`.

From an :math:`\alpha`-averaged ``D`` it is :math:`\lambda\alpha`-averaged; with
:math:`\lambda = 1/(2\alpha)` it is firmly nonexpansive, the resolvent of a maximally monotone
operator, which is what ADMM asks of the denoiser in the place of a proximity operator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from deepinv.models import Denoiser
from torch import Tensor

__all__ = ["Relaxed", "firm_weight", "firmly_nonexpansive"]


class Relaxed(Denoiser):
    r""":math:`x \mapsto (1-\lambda)x + \lambda D(x, s)`, a deepinv denoiser.

    Parameters
    ----------
    denoiser
        any denoiser ``D(x, sigma)``.
    relaxation
        :math:`\lambda > 0`; kept in float64 in the state dict.

    Raises
    ------
    ValueError
        the relaxation is not a positive number.

    Examples
    --------
    >>> from pnp_lip import LipschitzDenoiser, Relaxed, certify
    >>> halfway = Relaxed(LipschitzDenoiser(1), 0.5)
    >>> certify(halfway).averagedness < 0.5
    True
    """

    relaxation: Tensor

    def __init__(self, denoiser: torch.nn.Module, relaxation: float) -> None:
        super().__init__()
        if not (math.isfinite(relaxation) and relaxation > 0):
            raise ValueError(f"relaxation must be a positive number, got {relaxation}")
        self.denoiser = denoiser
        self.in_channels = getattr(denoiser, "in_channels", None)
        self.register_buffer("relaxation", torch.tensor(relaxation, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        return x + self.relaxation.to(x.dtype) * (self.denoiser(x, sigma, **kwargs) - x)


def firm_weight(averagedness: float) -> float:
    r""":math:`\lambda = (1 - 2^{-20})/(2\alpha)`: room for a float32 state dict.

    Raises
    ------
    ValueError
        ``averagedness`` outside (0, 1].
    """
    if not 0 < averagedness <= 1:
        raise ValueError(f"averagedness must lie in (0, 1], got {averagedness}")
    return 0.5 / averagedness * (1 - 2.0**-20)


def firmly_nonexpansive(denoiser: torch.nn.Module, averagedness: float) -> Relaxed:
    r"""``Relaxed`` with the :math:`\lambda` of :func:`firm_weight`.

    Parameters
    ----------
    denoiser
        an ``averagedness``-averaged denoiser.
    averagedness
        :math:`\alpha` in (0, 1].

    Raises
    ------
    ValueError
        ``averagedness`` outside (0, 1].

    Examples
    --------
    >>> from pnp_lip import LipschitzDenoiser, certify, firmly_nonexpansive
    >>> D = LipschitzDenoiser(1)
    >>> certify(firmly_nonexpansive(D, certify(D).averagedness)).averagedness <= 0.5
    True
    """
    return Relaxed(denoiser, firm_weight(averagedness))
