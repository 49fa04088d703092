r"""The local kernels of a space-varying blur, and the operator of their moduli.

A product-convolution blur has the entries :math:`a_o(j) = \sum_k h_k(o)\,w_k(j)` for the offset ``o``. Its
factors are often signed where these sums are not, so :math:`|\sum_k h_k w_k|` says more than
:math:`\sum_k |h_k||w_k|`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

__all__ = ["LocalKernels"]

#: Most numbers that are stored.
_MOST = 2**25


@dataclass(frozen=True)
class LocalKernels:
    """``x -> sum over offsets of |a_o| x``, for images that are padded first.

    Attributes
    ----------
        moduli: ``|a_o|`` for every offset, row by row, ``[b, c, H, W]`` each: at the pixels of the padded
            image if ``first``, else at those of the result.
        size: rows and columns of a kernel.
        padding: of the image.
        first: whether the weights belong to the pixels that a kernel spreads.
    """

    moduli: tuple[Tensor, ...]
    size: tuple[int, int]
    padding: str
    first: bool

    @classmethod
    def of(cls, physics: Any) -> LocalKernels | None:
        """Those of deepinv's ``SpaceVaryingBlur``; ``None`` if they are too many to store."""
        weights, kernels = physics.multipliers.double(), physics.filters.double().flip((-2, -1))
        size = (kernels.shape[-2], kernels.shape[-1])
        if weights[:, :, 0].numel() * size[0] * size[1] > _MOST:
            return None
        first = bool(physics.mask_first)
        moduli = []
        for row in range(size[0]):
            for column in range(size[1]):
                local = (weights * kernels[..., row, column, None, None]).sum(2).abs()
                moduli.append(_padded(local, size, physics.padding) if first else local)
        return cls(tuple(moduli), size, physics.padding, first)

    def __call__(self, x: Tensor) -> Tensor:
        """The result for images ``[B, C, H, W]``."""
        x = _padded(x, self.size, self.padding)
        height, width = (n - k + 1 for n, k in zip(x.shape[-2:], self.size, strict=True))
        total = x.new_zeros(())
        for index, modulus in enumerate(self.moduli):
            row, column = divmod(index, self.size[1])
            window = (..., slice(row, row + height), slice(column, column + width))
            total = total + (modulus[window] if self.first else modulus) * x[window]
        return total


def _padded(x: Tensor, size: tuple[int, int], padding: str) -> Tensor:
    """``x`` with the rows and columns that deepinv's convolution adds."""
    if padding == "valid":
        return x
    mode = "constant" if padding == "zeros" else padding
    (top, bottom), (left, right) = ((k // 2 - (k - 1) % 2, k // 2) for k in size)
    # Zeros around the weights as well: what they would multiply is zero.
    padded: Tensor = pad(x, (left, right, top, bottom), mode=mode)
    return padded
