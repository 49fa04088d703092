r"""A denoiser guided by its own first result: thresholds from a network that reads the guide.

.. math:: z = D_0(x, s), \qquad G(x, s) = D_z(x, s), \qquad
          D_z = \Phi_L^{m_L(z)} \circ \dots \circ \Phi_1^{m_1(z)}
"""

from __future__ import annotations

from typing import cast

from deepinv.models import Denoiser
from torch import Tensor

from pnp_lip.denoiser import LipschitzDenoiser
from pnp_lip.layers import ConvGradientStep
from pnp_lip.layers.guided import guided_step
from pnp_lip.layers.pruning import pruned
from pnp_lip.mask import MaskNetwork

__all__ = ["GuidedDenoiser"]


class GuidedDenoiser(Denoiser):
    def __init__(
        self, plain: LipschitzDenoiser, *, channels: int = 48, blocks: int = 5, limit: float = 2.0
    ) -> None:
        super().__init__()
        self.plain = pruned(plain)
        self.denoiser = pruned(plain, positive=True)
        filters = tuple(self.denoiser.sizes["nf"])
        self.mask = MaskNetwork(
            plain.in_channels, filters, channels=channels, blocks=blocks, limit=limit
        )

    def forward(self, x: Tensor, sigma: float | Tensor, dial: float | Tensor = 1.0) -> Tensor:
        return self.guided(x, self.plain(x, sigma), sigma, dial)

    def guided(
        self, x: Tensor, guide: Tensor, sigma: float | Tensor, dial: float | Tensor = 1.0
    ) -> Tensor:
        levels = self.denoiser._levels(sigma, x)
        return self.shrink(x, levels, self.mask(guide, levels, dial))

    def shrink(self, x: Tensor, levels: Tensor, maps: list[Tensor]) -> Tensor:
        for layer, scale in zip(self.denoiser.layers, maps, strict=True):
            x = guided_step(cast(ConvGradientStep, layer), x, levels, scale)
        return x
