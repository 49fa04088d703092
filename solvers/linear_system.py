r"""Conjugate gradients for :math:`(I + N)x = b` with a positive semidefinite ``N``.

The smallest eigenvalue of the matrix is at least 1, so the distance of any ``x`` from the solution is at
most the norm of its residual: the tolerance is a bound of the error.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pnp_lip.solvers.growth import norms

__all__ = ["solve_shifted"]


def solve_shifted(
    normal: Callable[[Tensor], Tensor],
    b: Tensor,
    start: Tensor,
    tolerance: Tensor,
    *,
    max_iter: int = 500,
) -> tuple[Tensor, Tensor]:
    """The solution, and the norm of its residual ``[B]``.

    Parameters
    ----------
    normal
        ``N``, acting on every image of the batch by itself.
    b
        right-hand sides ``[B, ...]``.
    start
        where to begin.
    tolerance
        of the norm of each residual, ``[B]``. Iterations also end where the arithmetic
        makes no progress any more.
    max_iter
        most applications of ``N``.
    """
    x = start
    residual = b - x - normal(x)
    direction, length = residual, norms(residual)
    best, reached = x, length
    for _ in range(max_iter):
        if bool((reached <= tolerance).all()):
            break
        image = direction + normal(direction)
        curvature = _dot(direction, image)
        share = torch.where(curvature > 0, length.square() / curvature, 0)
        x = x + _as(share, x) * direction
        residual = residual - _as(share, x) * image
        previous, length = length, norms(residual)
        better = length < reached
        best = torch.where(_as(better, x), x, best)
        reached = torch.where(better, length, reached)
        if not bool((length < 10 * reached).all() and (length > 0).any()):
            break
        ratio = torch.where(previous > 0, (length / previous).square(), 0)
        direction = residual + _as(ratio, x) * direction
    return best, reached


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.flatten(1) * b.flatten(1)).sum(1)


def _as(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.ndim - 1))
