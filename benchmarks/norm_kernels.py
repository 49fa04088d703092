"""Kernels that tempt a prover, and norms that they attain for certain."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_lip.checker.exact_gram import ExactGram

__all__ = ["FAMILIES", "ball_norm", "dense_norm", "family_kernel"]

FAMILIES = ("random", "sign", "orthogonal", "1e-6", "1e+6", "even", "grouped", "strided")


def family_kernel(family: str, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
    """One small kernel of a family, and the layer's arguments."""

    def choose(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    sides = (2 * choose(0, 2) + 1, 2 * choose(0, 2) + 1)
    if family == "even":
        sides = (2 * choose(1, 2), 2 * choose(1, 2))
    groups = choose(2, 3) if family == "grouped" else 1
    shape = (groups * choose(1, 4), choose(1, 4), *sides)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator)
    if family == "sign":
        weight = weight.sign()
    if family == "orthogonal":
        weight = F.pad(torch.linalg.qr(weight[..., 0, 0]).Q[..., None, None], [1, 1, 1, 1])
        weight = weight + 1e-4 * torch.randn(weight.shape, dtype=torch.float64, generator=generator)
    if family in ("1e-6", "1e+6"):
        weight = weight * float(family)
    layer: dict[str, Any] = {"groups": groups}
    if family == "strided":
        layer["stride"] = (choose(1, 3), choose(2, 3))
    return weight, layer


def dense_norm(weight: Tensor, n: int, **layer: Any) -> float:
    """The norm of the zero-padded layer on ``n`` x ``n`` images, from its matrix, less rounding."""
    channels = weight.shape[1] * layer["groups"]
    images = torch.eye(channels * n * n, dtype=torch.float64).view(-1, channels, n, n)
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    rows = F.conv2d(images, weight, padding=padding, **layer).flatten(1)
    return torch.linalg.matrix_norm(rows, ord=2).item() * (1 - 1e-12)


def ball_norm(weight: Tensor, witness: tuple[int, ...], **layer: Any) -> float:
    """``sigma_max`` at one frequency from below, in ball arithmetic."""
    gram = ExactGram.of(weight, layer.get("stride", 1), 1, layer["groups"])
    group, *point = witness
    (matrix,) = gram.at(group, [tuple(point)], [44] * len(point))
    return float(gram.rayleigh_quotient(matrix).lower().sqrt().lower()) * (1 - 1e-15)
