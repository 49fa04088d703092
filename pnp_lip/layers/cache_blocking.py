r"""Convolution, entrywise map, transposed convolution: strip by strip, so that responses stay in cache.

A library's transposed convolution onto one or three channels uses the arithmetic units badly. Here
the outputs of a block of ``r`` x ``c`` pixels are the channels of one convolution of stride
``(r, c)``, whose kernel holds a shifted copy of the transposed kernel for every pixel of the block:
:math:`(1 + (r-1)/k)(1 + (c-1)/k)` times the products, at several times the speed. Tensors with
one channel must *say* that they are channels-last (their layouts coincide), or the library converts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["STRIP_BYTES", "Transposition", "by_strips", "channels_last"]

#: Responses of a strip, in bytes: within the cache that one core has for itself.
STRIP_BYTES = 3 * 2**20


def channels_last(x: Tensor) -> Tensor:
    """A copy of ``[B, C, H, W]`` with the strides of channels-last, also where ``C`` is 1."""
    return x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)


def _block(channels: int) -> tuple[int, int]:
    """Rows and columns of a block, from the number of image channels."""
    return (2, 4) if channels <= 4 else (1, 1)


class Transposition(nn.Module):
    r""":math:`z \mapsto W^\top z` for a kernel ``[K, C, k, k]`` of ``W``."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.size, self.channels = weight.shape[-1], weight.shape[1]
        self.block = _block(self.channels)
        self.register_buffer("kernel", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("blocks", channels_last(_block_kernel(weight, self.block)))

    def whole(self, z: Tensor) -> Tensor:
        """Of responses ``[B, K, H, W]``, by the library's own transposed convolution."""
        kernel: Any = self.kernel
        return functional.conv_transpose2d(z, kernel, padding=self.size // 2)

    def full(self, z: Tensor) -> Tensor:
        """The transpose of ``[B, K, h, W]`` with ``h + k - 1`` and ``W`` multiples of the block.

        All ``h + k - 1`` rows and ``W`` columns that the responses touch.
        """
        kernel: Any = self.blocks
        padding = (self.size - 1, self.size // 2)
        y = functional.conv2d(z, kernel, stride=self.block, padding=padding)
        if self.block == (1, 1):
            return y
        batch, _, height, width = y.shape
        rows, columns = self.block
        parts = y.view(batch, self.channels, rows, columns, height, width)
        return parts.permute(0, 1, 4, 2, 5, 3).reshape(batch, self.channels, height * rows, -1)


def _block_kernel(weight: Tensor, block: tuple[int, int]) -> Tensor:
    r"""``[C r c, K, k + r - 1, k + c - 1]``: the transposed kernel, shifted to each pixel of a block."""
    hidden, channels, size, _ = weight.shape
    rows, columns = block
    flipped = weight.flip(-1, -2).transpose(0, 1)
    kernel = weight.new_zeros(channels, rows, columns, hidden, size + rows - 1, size + columns - 1)
    for i in range(rows):
        for j in range(columns):
            kernel[:, i, j, :, i : i + size, j : j + size] = flipped
    return kernel.flatten(0, 2)


def by_strips(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    between: Callable[[Tensor, int], Tensor],
    transposition: Transposition,
    *,
    strip_bytes: int = STRIP_BYTES,
) -> Tensor:
    r""":math:`B f(Ax + b)`, accumulated over strips of rows.

    Parameters
    ----------
    x
        images ``[B, C, H, W]``.
    kernel
        of ``A``, ``[K, C, k, k]``, channels-last.
    bias
        ``b``, ``[K]`` or ``None``.
    between
        the entrywise ``f``, of responses and the row of the image where they begin; may work
        in place. Responses beyond the image are left out afterwards.
    transposition
        ``B``.
    strip_bytes
        responses that exist at a time, at most (but for one row).

    Returns
    -------
    Tensor
        ``[B, C, H, W]`` of the dtype of ``x``.
    """
    batch, channels, height, width = x.shape
    hidden, pad = len(kernel), kernel.shape[-1] // 2
    block_rows, block_columns = transposition.block
    wide = -(-width // block_columns) * block_columns
    row_bytes = batch * hidden * wide * kernel.element_size()
    step = _rows(strip_bytes // row_bytes, height, pad, block_rows)
    count = -(-height // step)
    padded = x.new_zeros(batch, count * step + 2 * pad, wide, channels, dtype=kernel.dtype)
    source = padded.permute(0, 3, 1, 2)
    source[:, :, pad : pad + height, :width] = x
    out = x.new_zeros(batch, channels, count * step + 2 * pad, wide)
    for top in range(0, count * step, step):
        part = source[:, :, top : top + step + 2 * pad]
        responses = between(functional.conv2d(part, kernel, bias, padding=(0, pad)), top)
        if width < wide:
            responses[..., width:] = 0
        if top + step > height:
            responses[:, :, height - top :] = 0
        out[:, :, top : top + step + 2 * pad] += transposition.full(responses)
    return out[:, :, pad : pad + height, :width]


def _rows(most: int, height: int, pad: int, block: int) -> int:
    """Rows of a strip: about ``most``, and such that rows + 2 pad is divisible by block."""
    rows = max(1, min(height, most))
    strips = -(-height // rows)
    rows = -(-height // strips)
    return rows + -(rows + 2 * pad) % block
