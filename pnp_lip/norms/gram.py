"""The Gram polynomial ``P* P = sum_a C_a exp(i a.omega)``, ``C_a = sum_b K_b^T K_(b+a)``.

``C_(-a) = C_a^T`` for a real kernel, so, with ``G = P* P``, with ``a`` over half of the lags

    Re G = C_0 + sum cos(a.omega) (C_a + C_a^T),    Im G = sum sin(a.omega) (C_a - C_a^T),

two real matrix products once the coefficients are known. Frequencies are ``2 pi t / 2^bits``.

The error of the computed ``G``, in the 2-norm and for every ``omega`` at once, line by line:

1.  An entry of ``C_a`` is a sum of ``rows * taps`` products at most, each passing at most
    ``rows`` roundings inside its matrix product and ``taps`` when the products are added:
    ``|dC_a| <= gamma(rows + taps) sum_b |K_b|^T |K_(b+a)|``. Summed over all lags this is at most
    ``gamma(rows + taps) A^T A`` with ``A = sum_b |K_b|``, and
    ``||A^T A||_2 <= ||A||_1 ||A||_inf``.
2.  Forming ``S_a = C_a + C_a^T`` and ``T_a = C_a - C_a^T`` rounds once. The features are within
    ``ENTRY_ERROR`` and at most 1 + ENTRY_ERROR in size; the product over ``F <= lags`` features
    rounds at most ``F`` times. Together ``ENTRY_ERROR + gamma(F + 2)`` (times 1 + 2^-20) of
    ``sum_a |S_a|`` and ``sum_a |T_a|``. Both are symmetric and nonnegative, so their 2-norms are at
    most their largest row sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from pnp_lip.norms.angles import ENTRY_ERROR, cosines_and_sines
from pnp_lip.norms.kernel import Kernel
from pnp_lip.rounding import SUM_SLACK, UNDERFLOW, gamma


@dataclass(frozen=True, eq=False)
class GramPolynomial:
    """``G`` of one kernel, all groups.

    Attributes
    ----------
    lags
        ``[F, axes]`` integers, half of the lags, the zero lag first.
    symmetric
        ``[groups, F, m * m]``: ``C_0`` and ``C_a + C_a^T``.
    antisymmetric
        ``[groups, F, m * m]``: zero and ``C_a - C_a^T``.
    order
        ``m``, the number of columns.
    error
        bound on ``||computed G - G||_2``, for every frequency and group.
    magnitude
        bound on ``||sum_a |S_a| ||_2 + ||sum_a |T_a| ||_2``, hence on ``||G||_2``.
    """

    lags: Tensor
    symmetric: Tensor
    antisymmetric: Tensor
    order: int
    error: Fraction
    magnitude: Fraction

    def at(self, group: int, points: Tensor, bits: tuple[int, ...]) -> Tensor:
        """``G`` of one group at ``omega = 2 pi points / 2^bits``.

        Parameters
        ----------
        group
            its index.
        points
            ``[n, axes]`` int64.
        bits
            logarithm of the denominator per axis.

        Returns
        -------
        Tensor
            ``[n, m, m]``; complex128, or float64 where the kernel carries no frequency.
        """
        m = self.order
        if not bits:
            return self.symmetric[group, 0].view(1, m, m).repeat(len(points), 1, 1)
        cosines, sines = features(self.lags, points, bits)
        values = torch.empty(len(points), m * m, 2, dtype=torch.float64)
        torch.matmul(cosines, self.symmetric[group], out=values[..., 0])
        torch.matmul(sines, self.antisymmetric[group], out=values[..., 1])
        return torch.view_as_complex(values).view(-1, m, m)


def features(lags: Tensor, points: Tensor, bits: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """``cos(a.omega)``, ``sin(a.omega)``: ``[n, F]`` each, from exact integer phases."""
    finest = max(bits)
    shifts = torch.tensor([2 ** (finest - b) for b in bits])
    phases = (points * shifts) @ lags.T
    return cosines_and_sines(phases, finest)


def half_lags(kernel_size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The lags of ``G`` up to sign: those not lexicographically below zero, zero first."""
    everything = product(*(range(-k + 1, k) for k in kernel_size))
    return [lag for lag in everything if lag >= (0,) * len(kernel_size)]


def gram_polynomial(kernel: Kernel) -> GramPolynomial:
    """The coefficients of ``P* P`` and their error bound."""
    taps = kernel.taps.flatten(3) if kernel.taps.ndim > 3 else kernel.taps[..., None]
    taps = taps.permute(0, 3, 1, 2).contiguous()  # [groups, taps, rows, columns]
    groups, count, rows, columns = taps.shape
    size = tuple(kernel.taps.shape[3:])
    lags = half_lags(size)
    where = {lag: index for index, lag in enumerate(lags)}
    offsets = list(product(*(range(k) for k in size)))
    correlation = torch.zeros(groups, len(lags), columns, columns, dtype=torch.float64)
    beside = taps.transpose(1, 2).reshape(groups, rows, count * columns)
    for b, low in enumerate(offsets):
        blocks = taps[:, b].mT @ beside[..., b * columns :]
        blocks = blocks.view(groups, columns, count - b, columns).transpose(1, 2)
        steps = [tuple(h - l for h, l in zip(high, low, strict=True)) for high in offsets[b:]]
        correlation.index_add_(1, torch.tensor([where[step] for step in steps]), blocks)
    symmetric, antisymmetric = correlation + correlation.mT, correlation - correlation.mT
    symmetric[:, 0] = correlation[:, 0]
    antisymmetric[:, 0] = 0.0
    magnitude = _magnitude(symmetric, antisymmetric)
    return GramPolynomial(
        torch.tensor(lags, dtype=torch.int64).view(len(lags), len(size)),
        symmetric.flatten(2),
        antisymmetric.flatten(2),
        columns,
        _error(taps, len(lags), magnitude),
        magnitude,
    )


def _magnitude(symmetric: Tensor, antisymmetric: Tensor) -> Fraction:
    """The largest row sums of line 2 of the module's docstring, added, over the groups."""
    rows = [part.abs().sum(1).sum(-1).amax().item() for part in (symmetric, antisymmetric)]
    return sum((Fraction(row) for row in rows), Fraction(0)) * SUM_SLACK


def _error(taps: Tensor, lags: int, magnitude: Fraction) -> Fraction:
    """Lines 1 and 2 of the module's docstring, added up, the largest over the groups."""
    absolute = taps.abs().sum(1)
    norms = absolute.sum(-1).amax(-1) * absolute.sum(-2).amax(-1)
    coefficients = Fraction(norms.max().item()) * gamma(taps.shape[2] + taps.shape[1])
    per_unit = (ENTRY_ERROR + gamma(lags + 2)) * (1 + Fraction(1, 2**20))
    return coefficients * SUM_SLACK + magnitude * per_unit + UNDERFLOW
