r"""Proved norms of a network's matrices and rows.

Dense trained matrices go to :func:`pnp_lip.norms.matrix_norm`, whose bound is above the norm by a
relative gap. Exact networks are made of permutations, swaps and isometries, which need a bound
without any gap: the norm of a symmetric matrix is at most its largest absolute row sum, so

.. math:: \|W\|^2 = \|W^\top W\| \le \max_i \sum_j |(W^\top W)_{ij}|

(Gershgorin), computed with integers. It is tight where the Gram matrix is nearly diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from pnp_lip.norms import NormBound, matrix_norm
from pnp_lip.rounding import round_up, sqrt_up

__all__ = ["GAP", "hypotenuse", "row_norm", "square_norm"]

#: Relative gap of dense norms: below the room that training leaves.
GAP = 1e-7
#: Largest cost, in products of integers, of an exact Gram matrix.
_COST = 2**24


def square_norm(weight: Tensor, gap: float = GAP) -> tuple[Fraction, NormBound | None]:
    r"""At least :math:`\|W\|^2`, and the proof of the norm where it is one with a gap."""
    weight = weight.detach()
    if _nearly_diagonal(weight):
        return _gershgorin(weight), None
    bound = matrix_norm(weight, gap=min(gap, GAP))
    return Fraction(bound.upper) ** 2, bound


def row_norm(row: Tensor, split: int) -> float:
    r"""At least :math:`\sum_{i \le k} |a_i| + \|a_{k+1:}\|_2` with ``k = split``.

    The dual of the mixed norm for ``split = 3``, the Euclidean norm for ``split = 0``.
    """
    entries = [Fraction(value) for value in row.detach().tolist()]
    rest = sum((value**2 for value in entries[split:]), Fraction(0))
    first = sum((abs(value) for value in entries[:split]), Fraction(0))
    return round_up(first + Fraction(sqrt_up(rest)))


def hypotenuse(values: Sequence[float]) -> float:
    r"""At least :math:`\sqrt{\sum_i u_i^2}`."""
    return sqrt_up(sum((Fraction(value) ** 2 for value in values), Fraction(0)))


def _nearly_diagonal(weight: Tensor) -> bool:
    """Whether the row sums of the Gram matrix bound the norm as tightly as a proof with a gap."""
    rows, columns = weight.shape
    if rows * columns * min(rows, columns) > _COST:
        return False
    values = weight.double()
    gram = values @ values.T if rows <= columns else values.T @ values
    bound = float(gram.abs().sum(1).max())
    return bound <= (1 + 1e-12) * float(torch.linalg.matrix_norm(values, ord=2)) ** 2


def _gershgorin(weight: Tensor) -> Fraction:
    """The bound of the module, exactly: the entries are integers times one power of two."""
    values = weight.double().cpu()
    values = values if values.shape[0] >= values.shape[1] else values.T
    smallest = min((abs(v) for v in values.flatten().tolist() if v), default=1.0)
    unit = Fraction(2) ** (math.frexp(smallest)[1] - 53)
    integers = np.array([[int(Fraction(v) / unit) for v in row] for row in values.tolist()], object)
    sums = np.abs(integers.T @ integers).sum(axis=1)
    return int(sums.max()) * unit**2
