"""A guided denoiser at one noise level, folded for speed."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.models import Denoiser
from torch import Tensor

from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.guided import GuidedDenoiser

__all__ = ["FrozenGuided"]


class FrozenGuided(Denoiser):
    r""":math:`x \mapsto G(x, s)` for one ``s``, for inference; equal to ``G`` up to rounding.

    Both stages are folded as by :class:`Frozen`; the mask network runs as it is, in fewer bits if
    ``guided.mask.precision`` says so. From input to output nothing is claimed, as of ``G`` itself.

    Parameters
    ----------
    guided
        the denoiser, whose dial and mask are read at every call.
    sigma
        the noise level ``s``.

    Raises
    ------
    ValueError
        a noise level that is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip import FrozenGuided, GuidedDenoiser
    >>> G = GuidedDenoiser(1)
    >>> x = torch.rand(1, 1, 32, 32)
    >>> torch.allclose(FrozenGuided(G, 0.1)(x), G(x, 0.1), atol=1e-5)
    True
    """

    def __init__(self, guided: GuidedDenoiser, sigma: float) -> None:
        super().__init__()
        self.guided, self.in_channels = guided, guided.in_channels
        self.first, self.second = Frozen(guided.plain, sigma), Frozen(guided.denoiser, sigma)

    @property
    def receptive_radius(self) -> int:
        """Pixels from which an output pixel depends on the input, in each direction."""
        return self.guided.receptive_radius

    @property
    def alignment(self) -> int:
        """Windows must begin at multiples of this many pixels."""
        return self.guided.alignment

    @torch.no_grad()
    def forward(self, x: Tensor, sigma: float | Tensor | None = None, **kwargs: Any) -> Tensor:
        """Denoise ``x`` at the frozen noise level; arguments and errors as of :meth:`Frozen.forward`."""
        guide = self.first(x, sigma)
        levels = torch.full((len(x),), self.first.sigma, dtype=x.dtype, device=x.device)
        scales = self.guided.mask.coarse(guide, levels, self.guided.dial)
        return self.second.scaled(x, self.guided.denoiser, scales)
