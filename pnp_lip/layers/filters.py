r"""Filter banks that start as tight frames, :math:`W^\top W = I` up to the removed means.

The :math:`k^2` functions of the two-dimensional DCT-II are an orthonormal basis :math:`B` of the
``k`` x ``k`` patches, so the convolution with all of them satisfies
:math:`\sum_i |\hat b_i(\omega)|^2 = k^2` at every frequency; divided by ``k`` they are a Parseval
frame of the images. A gradient step with ``tau = 1``, this ``W`` and a clip is then exactly
translation-invariant soft shrinkage of DCT coefficients (cycle spinning, Coifman and Donoho 1995).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["colour_dct_filters", "dct_filters"]


def dct_filters(size: int, count: int | None = None) -> Tensor:
    """The ``count`` lowest zero-mean DCT filters as a kernel ``[count, 1, size, size]`` of norm <= 1.

    Parameters
    ----------
    size
        side ``k`` of the filters in pixels.
    count
        how many, by increasing frequency; all ``k² - 1`` by default.

    Raises
    ------
    ValueError
        more filters asked for than the basis has.
    """
    count = size * size - 1 if count is None else count
    if not 1 <= count <= size * size - 1:
        raise ValueError(
            f"a {size} x {size} DCT has {size * size - 1} zero-mean filters, asked for {count}"
        )
    position = torch.arange(size, dtype=torch.float64) + 0.5
    rows = torch.stack([torch.cos(math.pi * position * i / size) for i in range(size)])
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    pairs = sorted(
        ((i, j) for i in range(size) for j in range(size)), key=lambda p: (p[0] ** 2 + p[1] ** 2, p)
    )
    basis = torch.stack([torch.outer(rows[i], rows[j]) for i, j in pairs[1 : count + 1]])
    return (basis / size)[:, None].float()


def colour_dct_filters(size: int, count: int) -> Tensor:
    """``count`` DCT filters on the opponent colours, ``[count, 3, size, size]``, of norm <= 1.

    Half of the filters see the luminance (1, 1, 1)/√3, the rest is shared by the two chromatic axes
    (1, 0, -1)/√2 and (1, -2, 1)/√6: where natural images have little detail, low frequencies do.

    Raises
    ------
    ValueError
        more filters asked for than three bases have.
    """
    most = size * size - 1
    if not 1 <= count <= 3 * most:
        raise ValueError(
            f"three {size} x {size} DCT bases have {3 * most} zero-mean filters, asked for {count}"
        )
    chromatic = max(count // 4, -(-(count - most) // 2))
    shares = (count - 2 * chromatic, chromatic, chromatic)
    axes = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    axes = axes / torch.linalg.vector_norm(axes, dim=1, keepdim=True)
    return torch.cat(
        [
            dct_filters(size, share) * axis[:, None, None]
            for share, axis in zip(shares, axes, strict=True)
            if share > 0
        ]
    )
