r"""1-Lipschitz interpolation by max-min forms: the proof of density as an algorithm.

For every two points there is an affine function of slope at most 1 through both values,
:func:`~pnp_lip.networks.separating`. With these :math:`\ell_{ki}` the form
:math:`\max_k \min_i \ell_{ki}` takes every value: its *k*-th minimum is right at :math:`x_k` and not too
large at any other point. That is the argument of Stone and Weierstrass for lattices, on which Theorem
4.1 of Murari, Furuya and Schönlieb (NeurIPS 2025) rests. Between the points the error is at most twice the
distance to the nearest one, since both functions are 1-Lipschitz.

With gradients the pieces are tangents wherever one serves, and the error falls faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pnp_lip.networks.max_min import MaxMin, separating

__all__ = ["interpolant"]

#: Relative room for roundings when a value is compared with a piece.
_TOLERANCE = 1e-12


@torch.no_grad()
def interpolant(x: Tensor, values: Tensor, gradients: Tensor | None = None) -> MaxMin:
    """A max-min form with ``f(x[k]) = values[k]`` up to rounding.

    Parameters
    ----------
    x
        different points ``[N, d]``.
    values
        ``[N]``, of a 1-Lipschitz function.
    gradients
        ``[N, d]`` of norm at most 1; pieces are then tangents where possible.

    Raises
    ------
    ValueError
        shapes that do not fit, equal points, or values that no 1-Lipschitz function takes.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> f = interpolant(x, torch.tensor([0.0, 1.0, -0.5]))
    >>> [round(float(value), 6) for value in f(x)]
    [0.0, 1.0, -0.5]
    """
    x, values = x.detach().double(), values.detach().double()
    if x.ndim != 2 or values.shape != x.shape[:1] or len(x) < 1:
        raise ValueError(
            f"expected points [N, d] and values [N], got {tuple(x.shape)} and {tuple(values.shape)}"
        )
    if gradients is not None and gradients.shape != x.shape:
        raise ValueError(
            f"expected gradients of shape {tuple(x.shape)}, got {tuple(gradients.shape)}"
        )
    pieces = _Pieces(x, values, gradients)
    groups = tuple(_group(k, pieces) for k in range(len(x)))
    return MaxMin(torch.stack(pieces.a), torch.stack(pieces.b), groups)


class _Pieces:
    """Affine functions by the points that they belong to, added when first needed."""

    def __init__(self, x: Tensor, values: Tensor, gradients: Tensor | None) -> None:
        self.x, self.values = x, values
        self.room = _TOLERANCE * (1 + float(values.abs().max()) + float(x.abs().max()))
        self.a: list[Tensor] = []
        self.b: list[Tensor] = []
        self.index: dict[tuple[int, int], int] = {}
        self.at_points: list[Tensor] = []
        self.tangents = gradients is not None or len(x) == 1
        slopes = torch.zeros_like(x) if gradients is None else gradients.detach().double()
        if self.tangents:
            for k, slope in enumerate(slopes):
                self._add((k, k), slope, values[k] - slope @ x[k])
            self.tangent_values = torch.stack(self.at_points)

    def between(self, k: int, i: int) -> int:
        """A piece that is at least the value at ``k`` and at most that at ``i``.

        The tangent of the point nearest to ``k`` that serves, or else the function through both values.
        """
        if self.tangents:
            values = self.tangent_values
            serves = (values[:, k] >= self.values[k]) & (values[:, i] <= self.values[i] + self.room)
            if serves.any():
                distances = torch.linalg.vector_norm(self.x - self.x[k], dim=1)
                return int(torch.where(serves, distances, torch.inf).argmin())
        key = (min(k, i), max(k, i))
        if key not in self.index:
            form = separating(
                self.x[key[0]],
                self.x[key[1]],
                float(self.values[key[0]]),
                float(self.values[key[1]]),
            )
            self._add(key, form.a[0], form.b[0])
        return self.index[key]

    def _add(self, key: tuple[int, int], a: Tensor, b: Tensor) -> None:
        self.index[key] = len(self.a)
        self.a.append(a)
        self.b.append(b)
        self.at_points.append(self.x @ a + b)


def _group(k: int, pieces: _Pieces) -> tuple[int, ...]:
    """Pieces whose minimum is the value at ``k`` and at most the value at every other point.

    The point where the minimum is most above its value is served next.
    """
    count = len(pieces.x)
    group = [k] if pieces.tangents else [pieces.between(k, (k + 1) % count)]
    least = pieces.at_points[group[0]]
    while True:
        above = least - pieces.values
        above[k] = 0.0
        worst = int(above.argmax())
        if above[worst] <= pieces.room:
            return tuple(group)
        group.append(pieces.between(k, worst))
        least = torch.minimum(least, pieces.at_points[group[-1]])
