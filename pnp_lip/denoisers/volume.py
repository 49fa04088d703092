r"""Volumes through a denoiser of images: the planes of each of the three directions, and their average.

.. math:: D_3(x) = \sum_{a \in \{z, y, x\}} \frac{w_a}{w_z + w_y + w_x}\, D_a(x), \qquad w_a \ge 0,

where :math:`D_a` applies ``D`` to every plane perpendicular to the axis ``a`` by itself. Planes of one
family are disjoint, so :math:`D_a` is block diagonal and has the Lipschitz constant and the averagedness
of ``D``. A convex combination of nonexpansive maps is nonexpansive, and one of :math:`\alpha`-averaged
maps is :math:`\alpha`-averaged (Bauschke and Combettes 2017, prop. 4.42): the certificate of ``D`` covers
:math:`D_3`, for volumes of every size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from deepinv.models import Denoiser
from torch import Tensor, nn

__all__ = ["VolumeDenoiser"]

#: Pixels that go through the network at once; a plane that is larger goes alone.
_PIXELS = 2**18


class VolumeDenoiser(Denoiser):
    r""":math:`D_3` of the module, a deepinv denoiser for volumes ``[B, C, D, H, W]``.

    Parameters
    ----------
    denoiser
        a denoiser ``D(x, sigma)`` of images; one of a single channel takes every channel of a
        volume by itself.
    weights
        :math:`(w_z, w_y, w_x)`. Planes along ``z`` tell less where slices lie farther apart
        than pixels: ``(1, 0, 0)`` denoises slice by slice.

    Raises
    ------
    ValueError
        weights that are not three finite numbers >= 0 with a positive sum.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip import LipschitzDenoiser, VolumeDenoiser
    >>> D = VolumeDenoiser(LipschitzDenoiser(1))
    >>> D(torch.rand(1, 1, 8, 32, 32), 0.1).shape
    torch.Size([1, 1, 8, 32, 32])
    """

    #: A volume is handed over whole, because what its axes are is not for a solver to guess.
    in_channels = None

    def __init__(self, denoiser: nn.Module, weights: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.weights = tuple(float(weight) for weight in weights)
        self.shares()

    def shares(self) -> tuple[Fraction, ...]:
        """The three factors, as the rational numbers that the floats are; their sum is 1.

        Raises
        ------
        ValueError
            weights that are not three finite numbers >= 0 with a positive sum.
        """
        usable = len(self.weights) == 3 and all(math.isfinite(w) and w >= 0 for w in self.weights)
        if not (usable and sum(self.weights) > 0):
            raise ValueError(f"expected three weights >= 0 with a positive sum, got {self.weights}")
        exact = [Fraction(weight) for weight in self.weights]
        return tuple(weight / sum(exact) for weight in exact)

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """Denoise ``x``.

        Parameters
        ----------
        x
            volumes ``[B, C, D, H, W]``, any size.
        sigma
            noise level, a number or one per volume.
        kwargs
            passed to the denoiser.

        Raises
        ------
        ValueError
            another shape, or channels that the denoiser does not take.
        """
        channels = getattr(self.denoiser, "in_channels", None)
        if x.ndim != 5 or (isinstance(channels, int) and channels not in (1, x.shape[1])):
            expected = channels if isinstance(channels, int) and channels > 1 else "C"
            raise ValueError(
                f"expected volumes [B, {expected}, D, H, W], got {tuple(x.shape)}: a stack of "
                f"pages is stack.movedim(0, 1)[None] where its axes are [D, C, H, W]"
            )
        alone = channels == 1
        families = [
            float(share) * self._family(x, axis, sigma, alone, kwargs)
            for axis, share in zip((2, 3, 4), self.shares(), strict=True)
            if share
        ]
        return functools.reduce(Tensor.add_, families)

    def _family(
        self, x: Tensor, axis: int, sigma: float | Tensor, alone: bool, kwargs: dict[str, Any]
    ) -> Tensor:
        """Every plane perpendicular to ``axis`` denoised by itself."""
        planes = x.movedim(axis, 1)
        planes = planes if not alone else planes.unsqueeze(3)
        flat = planes.reshape(-1, *planes.shape[-3:])
        levels = _levels(sigma, len(x), len(flat))
        count = max(1, _PIXELS // max(1, flat.shape[-1] * flat.shape[-2]))
        parts = [
            self.denoiser(part, level, **kwargs)
            for part, level in zip(flat.split(count), levels(count), strict=True)
        ]
        out: Tensor = torch.cat(parts).reshape(planes.shape)
        return (out.squeeze(3) if alone else out).movedim(1, axis)


def _levels(sigma: float | Tensor, volumes: int, planes: int) -> Any:
    """Makes the noise levels of the planes in parts of a given number."""
    if isinstance(sigma, Tensor) and sigma.numel() > 1:
        each = sigma.flatten().repeat_interleave(planes // volumes)
        return lambda count: each.split(count)
    return lambda count: [sigma] * -(-planes // count)
