"""A sharper test for cells on a plateau: a Taylor model of ``G`` of degree ``J = 5``, few columns.

Let ``c`` be a cell's centre, ``h_i`` its half-diagonals, so that a point of the cell is
``c + (h_1 y_1, h_2 y_2)`` with ``|y_1| + |y_2| <= 1`` (a diamond; on one axis, an interval), and
``B_a = h^a d^a G(c)`` for multi-indices ``a``. Let ``r = max d_i h_i`` and

    tau = s^2 (1 - (2 r)^(J+1) / (2 (J+1)!)),    N = tau I - G(c).

If ``N > 0`` and ``b_j N +- B_a >= 0`` for every ``|a| = j``, with ``sum_j b_j / j! <= 1`` over
``j = 1..J``, then no maximiser of norm ``M >= s`` lies in the cell. Proof: let ``v`` be its unit
vector and ``g = v* G v``. The Taylor model is ``v* (G + sum_j B_j(y) / j!) v``; the moduli of the
coefficients of the form ``B_j(y)`` add up to ``(|y_1| + |y_2|)^j <= 1``, so the model is at most
``v* (G + sum_j b_j / j! N) v <= tau``, and below ``tau`` as the sum is below 1. The remainder is at
most ``1 / (J+1)!`` times the derivative of that order along the segment, at most
``(2 r)^(J+1) M^2 / 2`` by Bernstein's inequality (type ``2 r``, and ``0 <= g <= M^2``). So
``M^2 (1 - (2 r)^(J+1) / (2 (J+1)!)) < tau``, that is ``M < s``: a contradiction.

Rounding. Each feature of ``B_a`` is one of ``G`` times ``prod (lag_i h_i)``, at most ``(2 r)^j``,
with fewer than 24 further roundings: the computed ``B_a`` is within ``2 (2 r)^j error``, since
``error`` of ``G`` holds 64 u for each feature. Forming ``b G -+ B`` rounds twice, at most
``(b + (2 r)^j) error / 16``. So ``||H - (b G -+ B)|| <= 2 (b + (2 r)^j) error =: e``, and
``-h_kk <= (2 r)^j magnitude + e``. Completion for ``theta I - H`` proves
``lambda_max <= theta + growth (theta + (2 r)^j magnitude + 2 e) + e`` as in ``verified``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from pnp_lip.norms.cells import radius
from pnp_lip.norms.gram import GramPolynomial, features
from pnp_lip.norms.verified import completion_constant, factorisation_completes
from pnp_lip.rounding import UNIT, round_down, round_up

MAX_ORDER = 4
DEGREE = 5


def remainder(half_degrees: tuple[float, ...], bits: tuple[int, ...]) -> Fraction:
    """``(2 r)^(J+1) / (2 (J+1)!)``, rounded up."""
    r = radius(half_degrees, bits)
    return Fraction(round_up((2 * r) ** (DEGREE + 1) / (2 * math.factorial(DEGREE + 1))))


def taylor_test(
    gram: GramPolynomial,
    group: int,
    points: Tensor,
    bits: tuple[int, ...],
    half_degrees: tuple[float, ...],
    square: Fraction,
) -> Tensor:
    """Which cells pass, for one or two axes and at most four columns.

    Parameters
    ----------
    gram, group
        the polynomial and which of its groups.
    points
        centres ``[n, axes]``.
    bits
        of the cells.
    half_degrees
        of the kernel.
    square
        ``s^2``.
    """
    tau = round_down(square * (1 - remainder(half_degrees, bits)))
    by_order = _derivatives(gram, group, points, bits)
    centre = by_order[0][:, 0]
    negative = -centre
    negative.diagonal(dim1=-2, dim2=-1).add_(tau)
    factor, info = torch.linalg.cholesky_ex(negative)
    passed = info == 0
    if not bool(passed.any()):
        return passed
    centre, factor = centre[passed], factor[passed]
    scale = float(2 * radius(half_degrees, bits))
    used = torch.zeros(len(centre), dtype=torch.float64)
    proved = torch.ones(len(centre), dtype=torch.bool)
    for j in range(1, DEGREE + 1):
        terms = by_order[j][passed]
        b = _relative_size(factor, terms) * 1.01 + 1e-3
        used += b / math.factorial(j) * (1 + 1e-12)
        for term in terms.unbind(1):
            for sign in (1.0, -1.0):
                theta = _theta(gram, b, tau, scale**j)
                mixed = b[:, None, None] * centre + sign * term
                proved &= factorisation_completes(mixed, theta)
    theta = _theta(gram, torch.ones_like(used), tau, 0.0)
    proved &= factorisation_completes(centre.clone(), theta)
    passed[passed.clone()] = proved & (used * (1 + 1e-12) < 1)
    return passed


def _derivatives(
    gram: GramPolynomial, group: int, points: Tensor, bits: tuple[int, ...]
) -> list[Tensor]:
    """``B_a`` by ``|a| = 0, 1, .., J``: tensors ``[n, number of a, m, m]``."""
    cosines, sines = features(gram.lags, points, bits)
    pairs = [(cosines, sines), (-sines, cosines), (-cosines, -sines), (sines, -cosines)]
    steps = torch.tensor([2 * torch.pi / 2**b for b in bits], dtype=torch.float64)
    scaled = gram.lags.double() * steps
    result = []
    m, axes = gram.order, len(bits)
    for j in range(DEGREE + 1):
        real, imaginary = pairs[j % 4]  # i^j (cos + i sin)
        matrices = []
        for exponents in (e for e in product(range(j + 1), repeat=axes) if sum(e) == j):
            powers = torch.ones(len(scaled), dtype=torch.float64)
            for axis, exponent in enumerate(exponents):
                for _ in range(exponent):
                    powers = powers * scaled[:, axis]
            re = (real * powers) @ gram.symmetric[group]
            im = (imaginary * powers) @ gram.antisymmetric[group]
            matrices.append(torch.complex(re, im).view(-1, m, m))
        result.append(torch.stack(matrices, 1))
    return result


def _relative_size(factor: Tensor, terms: Tensor) -> Tensor:
    """``max_a ||L^-1 B_a L^-*||_F`` for ``N = L L*``: an estimate of the best ``b``."""
    lower = factor[:, None]
    left = torch.linalg.solve_triangular(lower, terms, upper=False)
    both = torch.linalg.solve_triangular(lower, left.mH, upper=False)
    return torch.linalg.matrix_norm(both).amax(1)


def _theta(gram: GramPolynomial, b: Tensor, tau: float, size: float) -> Tensor:
    """``theta`` such that completion proves ``lambda_max(b G -+ B) < b tau``, ``size = (2 r)^j``.

    From the module's docstring with ``k = growth <= 2^-20``: it suffices that
    ``theta (1 + k) <= b tau - k (size magnitude + 2 e) - e``; the right side less ``2 k b tau`` and
    ``16 u b tau`` leaves room for the division and for every rounding of this line.
    """
    growth = (gram.order * completion_constant(gram.order) + UNIT) * (1 + UNIT)
    error = 2 * float(gram.error) * (b + size) * (1 + 1e-9)
    shift = float(growth) * (size * float(gram.magnitude) + 2 * error) * (1 + 1e-9) + error
    return b * tau * (1 - 2 * float(growth) - 16 * float(UNIT)) - 1.001 * shift
