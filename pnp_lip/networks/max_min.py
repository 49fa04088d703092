r"""Piecewise affine functions :math:`f(x) = \max_i \min_{j \in S_i} (\langle a_j, x\rangle + b_j)`.

With :math:`\|a_j\|_2 \le 1` these are 1-Lipschitz, and every piecewise affine 1-Lipschitz function on
:math:`R^d` is one of them (Ovchinnikov 2002). They are a lattice: the maximum of two is the union of the
groups, and by distributivity :math:`\min(\max_i m_i, \max_k n_k) = \max_{i,k} \min(m_i, n_k)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

__all__ = ["MaxMin", "maximum", "minimum", "separating"]

#: Norms up to this much above 1 are taken for rounding, and rounded away.
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class MaxMin:
    """The function of the module.

    Attributes
    ----------
    a
        gradients ``[N, d]`` of norm at most 1, float64; norms beyond 1 by a rounding are shrunk.
    b
        offsets ``[N]``.
    groups
        the sets ``S_i`` of indices into the pieces, none empty.

    Raises
    ------
    ValueError
        shapes that do not fit, values that are not finite, a gradient longer than 1, or
        groups that are empty or point outside.
    """

    a: Tensor
    b: Tensor
    groups: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        a, b = self.a.detach().double(), self.b.detach().double()
        if a.ndim != 2 or b.shape != a.shape[:1] or a.shape[1] < 1:
            raise ValueError(
                f"expected a of shape [N, d] and b of shape [N], got {tuple(a.shape)} and "
                f"{tuple(b.shape)}"
            )
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise ValueError("a and b must be finite, got NaN or infinity")
        groups = tuple(tuple(int(j) for j in group) for group in self.groups)
        if not groups or any(not g or min(g) < 0 or max(g) >= len(a) for g in groups):
            raise ValueError(f"expected nonempty groups of indices below {len(a)}, got {groups}")
        object.__setattr__(self, "a", torch.stack([_at_most_unit(row) for row in a]))
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "groups", groups)

    @property
    def features(self) -> int:
        """Dimension ``d`` of the input."""
        return self.a.shape[1]

    def __call__(self, x: Tensor) -> Tensor:
        """Values ``[B]`` at the points ``x`` (``[B, d]``), by the formula."""
        pieces = x.double() @ self.a.T + self.b
        minima = [pieces[:, list(group)].amin(dim=1) for group in self.groups]
        return torch.stack(minima, dim=1).amax(dim=1)


def maximum(f: MaxMin, g: MaxMin) -> MaxMin:
    r""":math:`\max(f, g)`, with the groups of both."""
    _require_same_space(f, g)
    return MaxMin(torch.cat([f.a, g.a]), torch.cat([f.b, g.b]), f.groups + _shifted(f, g))


def minimum(f: MaxMin, g: MaxMin) -> MaxMin:
    r""":math:`\min(f, g)`, with a group for every pair of groups."""
    _require_same_space(f, g)
    groups = tuple(one + other for one in f.groups for other in _shifted(f, g))
    return MaxMin(torch.cat([f.a, g.a]), torch.cat([f.b, g.b]), groups)


def separating(x: Tensor, y: Tensor, u: float, v: float) -> MaxMin:
    r"""The affine ``f`` of least slope with ``f(x) = u`` and ``f(y) = v``.

    :math:`f = u + (u-v)\langle x-y, \cdot - x\rangle/\|x-y\|^2`.

    Raises
    ------
    ValueError
        two equal points, or :math:`|u - v| > \|x - y\|`, which no such function has.
    """
    x, y = x.detach().double(), y.detach().double()
    difference = x - y
    distance = float(torch.linalg.vector_norm(difference))
    if x.ndim != 1 or x.shape != y.shape or distance == 0:
        raise ValueError(
            f"expected two different points of shape [d], got {tuple(x.shape)} and {tuple(y.shape)} "
            f"at distance {distance}"
        )
    if abs(u - v) > distance * (1 + _TOLERANCE):
        raise ValueError(
            f"no 1-Lipschitz function takes values {abs(u - v)} apart at points {distance} apart"
        )
    a = (u - v) / distance * (difference / distance)
    return MaxMin(a[None], torch.stack([u - a @ x]), ((0,),))


def _at_most_unit(row: Tensor) -> Tensor:
    """``row`` with a norm of at most 1 in exact arithmetic."""
    norm = float(torch.linalg.vector_norm(row))
    if norm > 1 + _TOLERANCE:
        raise ValueError(
            f"expected gradients of norm at most 1, got one of {norm}: divide it by that"
        )
    while sum((Fraction(value) ** 2 for value in row.tolist()), Fraction(0)) > 1:
        row = row * (1 - math.ldexp(1.0, -52)) / max(norm, 1.0)
        norm = 1.0
    return row


def _shifted(f: MaxMin, g: MaxMin) -> tuple[tuple[int, ...], ...]:
    """The groups of ``g`` behind the pieces of ``f``."""
    return tuple(tuple(j + len(f.a) for j in group) for group in g.groups)


def _require_same_space(f: MaxMin, g: MaxMin) -> None:
    if f.features != g.features:
        raise ValueError(f"expected functions of the same space, got {f.features} and {g.features}")
