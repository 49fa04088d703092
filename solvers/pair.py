"""An image and a measurement as one variable, on which the primal-dual map acts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from deepinv.utils import TensorList
from torch import Tensor

from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.images import to_native, to_real
from pnp_lip.solvers.measurements import parts_of

__all__ = ["Pair"]


class Pair:
    """An image and a measurement in one real vector ``[B, n]``, the measurement times a scale."""

    def __init__(self, data: DataTerm, start: Tensor, scale: float) -> None:
        self.data, self.scale, self.shape = data, scale, start.shape
        parts = parts_of(data.y)
        self.complex = [part.is_complex() for part in parts]
        self.shapes = [to_real(part).shape for part in parts]
        self.sizes = [math.prod(s[1:]) for s in (start.shape, *self.shapes)]

    def close(self, x: Tensor, u: Sequence[Tensor]) -> Tensor:
        """The vector of an image and a measurement."""
        return torch.cat([x.flatten(1), *(self.scale * part.flatten(1) for part in u)], dim=1)

    def open(self, w: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Its image and its measurement."""
        x, *u = w.split(self.sizes, dim=1)
        return x.view(self.shape), [
            (part / self.scale).view(shape) for part, shape in zip(u, self.shapes, strict=True)
        ]

    def forward(self, x: Tensor) -> list[Tensor]:
        """``A x``, real."""
        return [to_real(part) for part in parts_of(self.data.physics.A(self.data.native(x)))]

    def adjoint(self, u: Sequence[Tensor]) -> Tensor:
        """``A* u``, real."""
        native = [to_native(part, flag) for part, flag in zip(u, self.complex, strict=True)]
        whole = native[0] if isinstance(self.data.y, Tensor) else TensorList(native)
        return to_real(self.data.physics.A_adjoint(whole))
