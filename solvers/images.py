r"""Images of a physics as real images of a denoiser.

A complex image is its real and its imaginary part, with the real inner product; two channels of an MRI
image, frames, slices and the bands of a many-band image are images of their own. A denoiser that acts on
each of them by itself is block diagonal, so its Lipschitz constant and its averagedness are those of the
denoiser on one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pnp_lip.errors import PnpLipError

__all__ = ["Blocks", "ImageError", "to_native", "to_real"]


class ImageError(PnpLipError, ValueError):
    """Images that a denoiser does not take, with what it takes."""


def to_real(x: Tensor) -> Tensor:
    """``[B, ...]`` or, for complex images, ``[B, 2, ...]``."""
    return torch.view_as_real(x).movedim(-1, 1).contiguous() if x.is_complex() else x


def to_native(w: Tensor, is_complex: bool) -> Tensor:
    """The inverse of :func:`to_real`."""
    return torch.view_as_complex(w.movedim(1, -1).contiguous()) if is_complex else w


@dataclass(frozen=True)
class Blocks:
    """How a real variable is cut into images of a denoiser.

    Attributes
    ----------
    denoiser
        takes ``[N, channels, H, W]`` and a noise level.
    sigma
        the noise level, a number or one per image of the batch.
    frames
        whether axis 2 is time or depth, to be moved behind the batch.
    channels
        those of one block; ``None`` hands the variable over as it is.
    """

    denoiser: nn.Module
    sigma: float | Tensor
    frames: bool = False
    channels: int | None = None

    @classmethod
    def of(cls, denoiser: nn.Module, sigma: float | Tensor, w: Tensor) -> Blocks:
        """The way that fits the shape of ``w``.

        Raises
        ------
        ImageError
            there is none.
        """
        channels = getattr(denoiser, "in_channels", None)
        if not isinstance(channels, int) or (w.ndim == 4 and w.shape[1] == channels):
            return cls(denoiser, sigma)
        if w.ndim >= 4 and channels == 1:
            return cls(denoiser, sigma, channels=1)
        if w.ndim == 5 and w.shape[2] == channels:
            return cls(denoiser, sigma, channels=channels)
        if w.ndim == 5 and w.shape[1] == channels:
            return cls(denoiser, sigma, frames=True, channels=channels)
        raise ImageError(
            f"expected images [B, {channels}, H, W], or with frames [B, {channels}, T, H, W], got "
            f"{tuple(w.shape)}: use a denoiser of one channel, which takes every channel by itself"
        )

    def __call__(self, w: Tensor) -> Tensor:
        """The denoised variable, of the shape of ``w``."""
        if self.channels is None:
            whole: Tensor = self.denoiser(w, self.sigma)
            return whole
        flat, levels = self.cut(w)
        out: Tensor = self.denoiser(flat, levels)
        if not self.frames:
            return out.view(w.shape)
        return out.view(w.movedim(2, 1).shape).movedim(1, 2)

    def cut(self, w: Tensor) -> tuple[Tensor, float | Tensor]:
        """The images that the denoiser gets, ``[N, channels, H, W]``, and their noise levels."""
        if self.channels is None:
            return w, self.sigma
        blocks = w.movedim(2, 1) if self.frames else w
        flat = blocks.reshape(-1, self.channels, *w.shape[-2:])
        return flat, self._levels(len(flat) // len(w))

    def seen(self, w: Tensor) -> tuple[int, ...]:
        """The shape of the images that the denoiser gets."""
        if self.channels is None:
            return tuple(w.shape)
        return (w[..., 0, 0].numel() // self.channels, self.channels, *w.shape[-2:])

    def _levels(self, count: int) -> float | Tensor:
        """The noise level of every block."""
        if isinstance(self.sigma, Tensor) and self.sigma.numel() > 1:
            return self.sigma.flatten().repeat_interleave(count)
        return self.sigma
