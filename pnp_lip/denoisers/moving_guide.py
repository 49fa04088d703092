"""A denoiser whose guide may be exchanged between two applications."""

from __future__ import annotations

from typing import Any

from deepinv.models import Denoiser
from torch import Tensor

from pnp_lip.denoisers.fixed_guide import FixedGuide

__all__ = ["MovingGuide"]


class MovingGuide(Denoiser):
    r""":math:`x \mapsto D_z(x, s)` with the guide ``z`` of the moment.

    What is proved holds for every guide, so it holds before and after an exchange. An iteration in
    which the guide moves needs more: see :mod:`pnp_lip.solvers.guide`.

    Parameters
    ----------
    now
        the denoiser with the first guide; assign to exchange it.
    """

    def __init__(self, now: FixedGuide) -> None:
        super().__init__()
        self.now, self.in_channels = now, now.in_channels

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """Denoise ``x``; arguments as for :class:`~pnp_lip.denoisers.fixed_guide.FixedGuide`."""
        out: Tensor = self.now(x, sigma)
        return out
