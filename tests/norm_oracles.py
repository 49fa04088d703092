"""Explicit dense operators and fine grids, against which norms are held."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def dense_norm(operator: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> float:
    """The largest singular value of a linear map on inputs of ``shape`` (channels first)."""
    count = math.prod(shape)
    images = operator(torch.eye(count, dtype=torch.float64).view(count, *shape))
    return torch.linalg.matrix_norm(images.reshape(count, -1), ord=2).item()


def padded_convolution(
    weight: Tensor,
    padding: int | tuple[int, ...],
    mode: str,
    *,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Callable[[Tensor], Tensor]:
    """torch's convolution with a padding mode, on float64."""
    axes = weight.ndim - 2
    sides = (padding,) * axes if isinstance(padding, int) else padding
    flat = [side for side in reversed(sides) for _ in range(2)]
    name = "constant" if mode == "zeros" else mode

    def apply(images: Tensor) -> Tensor:
        padded = F.pad(images, flat, mode=name)
        return CONVOLUTIONS[axes](
            padded, weight.double(), stride=stride, dilation=dilation, groups=groups
        )

    return apply


def grid_supremum(weight: Tensor, points: int) -> float:
    """``max sigma_max(P)`` of a unit-stride ungrouped kernel, by its definition, on a fine grid."""
    taps = weight.double().flatten(2)
    offsets = torch.tensor(list(itertools.product(*(range(k) for k in weight.shape[2:]))))
    axis = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    omega = torch.cartesian_prod(*[axis] * (weight.ndim - 2)).view(-1, weight.ndim - 2)
    best = 0.0
    for part in omega.split(4096):
        waves = torch.exp(1j * (part @ offsets.double().T))
        symbols = torch.einsum("oit,nt->noi", taps.to(waves.dtype), waves)
        best = max(best, torch.linalg.matrix_norm(symbols, ord=2).max().item())
    return best
