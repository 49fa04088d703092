r"""The network that reads a guide and says how strongly every response is shrunk, and where.

.. math:: g(z, s) = c \tanh(N(z, s)/c), \qquad m(z, s) = U \exp(t\,g(z, s))

An ordinary convolutional network ``N`` at half the resolution gives one log-factor in
:math:`(-c, c)` for each filter of each layer and each 2 x 2 block of pixels; ``U`` interpolates
bilinearly to all pixels, so the factors stay in :math:`(e^{-tc}, e^{tc})`. The dial
:math:`t \in [0, 1]` turns the guide off at 0, where every factor is 1.

Nothing is asked of ``N``, and nothing that is proved for a fixed guide depends on it. So it may also be
computed with fewer bits: ``precision = torch.bfloat16`` halves its time on processors that have such
arithmetic, and changes log-factors by some thousandths.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.layers.maps import Maps

__all__ = ["MaskNetwork"]

#: Centre of the images and size of the noise levels, to which inputs are normalised.
_CENTRE, _LEVEL = 0.5, 0.1
#: Blocks of pixels that go through the network at once, and the least number of their rows.
_BAND, _LEAST_ROWS = 2**19, 32


class MaskNetwork(nn.Module):
    """Factors of thresholds from a guide, see the module.

    It starts with factors of 1.

    Parameters
    ----------
    in_channels
        channels of the guide.
    filters
        number of maps for each layer of the denoiser.
    channels
        width of the network.
    blocks
        residual blocks of two 3 x 3 convolutions.
    limit
        ``c``, the largest log-factor.

    Attributes
    ----------
    precision
        type in which the residual blocks multiply, ``torch.bfloat16`` or ``torch.float16``;
        that of the weights without it.
    """

    def __init__(
        self,
        in_channels: int,
        filters: Sequence[int],
        *,
        channels: int = 64,
        blocks: int = 5,
        limit: float = 2.0,
    ) -> None:
        super().__init__()
        self.filters, self.limit = list(filters), limit
        self.precision: torch.dtype | None = None
        self.stem = nn.Conv2d(4 * in_channels + 1, channels, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.head = nn.Conv2d(channels, sum(filters), 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    @property
    def receptive_radius(self) -> int:
        """Pixels from which a factor depends on the guide, in each direction."""
        return 2 * (2 * len(self.blocks) + 1) + 2

    def forward(self, guide: Tensor, sigma: Tensor, dial: Tensor | float = 1.0) -> list[Tensor]:
        """The factors ``m`` for each layer, ``[B, K, H, W]``.

        Parameters
        ----------
        guide
            images ``[B, C, H, W]``, about in [0, 1].
        sigma
            noise levels ``[B]``.
        dial
            ``t``, a number or one per image ``[B, 1, 1, 1]``.
        """
        return [maps.whole() for maps in self.coarse(guide, sigma, dial)]

    def coarse(self, guide: Tensor, sigma: Tensor, dial: Tensor | float = 1.0) -> list[Maps]:
        """The factors as they are computed, at half the resolution; arguments as in :meth:`forward`."""
        height, width = guide.shape[-2:]
        if torch.is_grad_enabled():
            factors = torch.exp(dial * self.logarithms(guide, sigma)).split(self.filters, dim=1)
        else:
            factors = self._in_bands(guide, sigma, dial)
        return [Maps(one, (height, width)) for one in factors]

    def _in_bands(self, guide: Tensor, sigma: Tensor, dial: Tensor | float) -> tuple[Tensor, ...]:
        """The factors of a few rows at a time, which rest on a few more rows of the guide."""
        batch, _, height, width = guide.shape
        rows, columns = -(-height // 2), -(-width // 2)
        shapes = ((batch, filters, rows, columns) for filters in self.filters)
        factors = tuple(
            guide.new_empty(shape).contiguous(memory_format=torch.channels_last) for shape in shapes
        )
        step, halo = max(_LEAST_ROWS, _BAND // (batch * columns)), self.receptive_radius // 2
        for top in range(0, rows, step):
            bottom, first = min(top + step, rows), max(0, top - halo)
            found = self.logarithms(guide[:, :, 2 * first : 2 * (bottom + halo)], sigma)
            own = found[:, :, top - first : bottom - first].mul_(dial).exp_()
            for one, part in zip(factors, own.split(self.filters, dim=1), strict=True):
                one[:, :, top:bottom] = part
        return factors

    def logarithms(self, guide: Tensor, sigma: Tensor) -> Tensor:
        """``g``, ``[B, sum(filters), ceil(H/2), ceil(W/2)]``."""
        height, width = guide.shape[-2:]
        even = functional.pad(guide - _CENTRE, (0, width % 2, 0, height % 2), mode="replicate")
        blocks = functional.pixel_unshuffle(even, 2)
        level = (sigma / _LEVEL)[:, None, None, None].expand(-1, 1, *blocks.shape[-2:])
        with torch.autocast(guide.device.type, enabled=False):  # the guide needs all its bits
            features = self.stem(torch.cat([blocks, level], dim=1))
        if not torch.is_grad_enabled():
            dtype = self.precision or features.dtype
            features = features.to(dtype, memory_format=torch.channels_last)
        with self._multiplying(guide.device.type):
            for block in self.blocks:
                features = block(features)
            last = self.head(features).to(guide.dtype)
        # c tanh(t / c) = 2c / (1 + exp(-2t / c)) - c, in a fifth of the time of tanh.
        limit = self.limit
        if torch.is_grad_enabled():
            return 2 * limit * torch.sigmoid(2 / limit * last) - limit
        return last.mul_(2 / limit).sigmoid_().mul_(2 * limit).sub_(limit)

    def _multiplying(self, device: str) -> AbstractContextManager[Any]:
        """In the precision that was chosen, or in the one around."""
        if self.precision is None:
            return nullcontext()
        return torch.autocast(device, self.precision)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.first(functional.relu(x))
        if torch.is_grad_enabled():
            return x + self.second(functional.relu(inside))
        return self.second(inside.relu_()).add_(x)
