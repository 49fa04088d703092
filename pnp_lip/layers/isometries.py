r"""Isometries between image spaces, :math:`Q^\top Q = I`, and their adjoints.

For such a :math:`Q` and an :math:`\alpha`-averaged :math:`T`, :math:`Q^\top T Q` is
:math:`\alpha`-averaged again: a network may work on a lifted state at no cost in its certificate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Isometry", "Lift", "Unshuffle"]


class Isometry(nn.Module, ABC):
    r"""A linear :math:`Q` with :math:`Q^\top Q = I`."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``Q x``."""

    @abstractmethod
    def adjoint(self, z: Tensor) -> Tensor:
        r""":math:`Q^\top z`."""


class Lift(Isometry):
    r"""Copies of the channels, :math:`Qx = (x, \dots, x)/\sqrt{m}`.

    Args:
        copies: number ``m`` of copies; ``[B, C, H, W]`` becomes ``[B, mC, H, W]``. ``m`` is a power
            of four, so that :math:`1/\sqrt{m}` is exact in floating point and so is the isometry.
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        if copies < 1 or copies & (copies - 1) or copies.bit_length() % 2 == 0:
            raise ValueError(f"copies must be a power of four (1, 4, 16, ...), got {copies}")
        self.copies = copies
        self.scale = 2.0 ** -((copies.bit_length() - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x * self.scale] * self.copies, dim=1)

    def adjoint(self, z: Tensor) -> Tensor:
        return self.scale * sum(
            z.chunk(self.copies, dim=1), torch.zeros((), dtype=z.dtype, device=z.device)
        )


class Unshuffle(Isometry):
    r"""Pixels of every ``factor`` x ``factor`` block become channels: a permutation.

    ``[B, C, H, W]`` becomes ``[B, C factor², H/factor, W/factor]``; ``H`` and ``W`` must be
    multiples of ``factor``.
    """

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be at least 1, got {factor}")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.factor or x.shape[-1] % self.factor:
            raise ValueError(
                f"image of {x.shape[-2]} x {x.shape[-1]} pixels cannot be split into blocks of "
                f"{self.factor} x {self.factor}: pad or crop it"
            )
        return functional.pixel_unshuffle(x, self.factor)

    def adjoint(self, z: Tensor) -> Tensor:
        return functional.pixel_shuffle(z, self.factor)
