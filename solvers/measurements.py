"""Arithmetic of measurements, which deepinv hands over as one tensor or as a list of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from deepinv.utils import TensorList
from torch import Tensor

__all__ = ["Measurement", "apply", "inner", "noise_like", "parts_of", "size"]

Measurement: TypeAlias = Tensor | TensorList


def parts_of(y: Measurement) -> list[Tensor]:
    """The tensors of a measurement."""
    return [y] if isinstance(y, Tensor) else list(y)


def apply(function: Callable[..., Tensor], *measurements: Measurement) -> Measurement:
    """``function`` part by part; all measurements have the same parts."""
    if isinstance(measurements[0], Tensor):
        return function(*measurements)
    return TensorList(
        [function(*parts) for parts in zip(*map(parts_of, measurements), strict=True)]
    )


def inner(a: Measurement, b: Measurement) -> Tensor:
    """The real inner product of every image of a batch, in float64, ``[B]``."""
    terms = (_inner(u, v) for u, v in zip(parts_of(a), parts_of(b), strict=True))
    return torch.stack(list(terms)).sum(0)


def size(a: Measurement) -> Tensor:
    """The Euclidean norm of every image of a batch, in float64, ``[B]``."""
    return inner(a, a).sqrt()


def noise_like(y: Measurement, generator: torch.Generator) -> Measurement:
    """Independent normal numbers of the shapes and types of ``y``, the same on every device."""

    def draw(part: Tensor) -> Tensor:
        dtype = torch.complex128 if part.is_complex() else torch.float64
        noise = torch.randn(part.shape, generator=generator, dtype=dtype)
        kind = part.dtype if part.is_complex() or part.is_floating_point() else torch.float32
        return noise.to(part.device, kind)

    return apply(draw, y)


def _inner(u: Tensor, v: Tensor) -> Tensor:
    u, v = (_real(part).double().flatten(1) for part in (u, v))
    return (u * v).sum(1)


def _real(part: Tensor) -> Tensor:
    return torch.view_as_real(part.resolve_conj()) if part.is_complex() else part


def matches(a: Measurement, b: Measurement) -> bool:
    """Whether two measurements have the same parts and shapes."""
    shapes: list[Sequence[torch.Size]] = [[p.shape for p in parts_of(m)] for m in (a, b)]
    return isinstance(a, Tensor) == isinstance(b, Tensor) and shapes[0] == shapes[1]
