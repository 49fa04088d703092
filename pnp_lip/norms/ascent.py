"""A lower bound of ``sup lambda_max(G)``: Newton's ascent in frequency, then a Rayleigh quotient.

With ``lambda_1 > lambda_2 >= ...`` and eigenvectors ``v_k`` of ``G(omega)``,

    d_i lambda = v* G_i v,
    d_ij lambda = v* G_ij v + 2 Re sum_k (v* G_i v_k)(v_k* G_j v) / (lambda - lambda_k)

(Kato 1966, section II.6). The ascent is floating point only; what it returns is proved: the
quotient at an exactly representable frequency, minus every rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from pnp_lip.norms.eigen import estimates, top_pairs
from pnp_lip.norms.gram import GramPolynomial
from pnp_lip.rounding import SUM_SLACK, UNDERFLOW, gamma

_WITNESS_BITS = 44


@dataclass(frozen=True, eq=False)
class Maximum:
    """A point found by ascent: ``lambda_max(G(2 pi point / 2^44)) >= square``, proved."""

    group: int
    point: tuple[int, ...]
    square: Fraction


def proved_square(matrix: Tensor, vector: Tensor, error: Fraction) -> Fraction:
    """A lower bound of ``lambda_max(G)``, from ``v* H v / v* v`` with ``||H - G||_2 <= error``.

    The numerator is a sum of ``m^2`` complex triple products; each part of a term passes at most
    ``2 m + 2`` roundings in ``H v`` and as many in the outer sum, and a complex product costs a
    factor sqrt(2) (see ``verified``), twice: error at most ``2 gamma(4 m + 4) |v|^T |H| |v|``, and
    ``|v|^T |H| |v| <= ||H||_F v* v``. The denominator is a sum of ``2 m`` squares.
    """
    m = len(matrix)
    numerator = Fraction((vector.conj() * (matrix @ vector)).sum().real.item())
    denominator = Fraction(vector.abs().square().sum().item())
    frobenius = Fraction(torch.linalg.matrix_norm(matrix).item()) * SUM_SLACK
    if denominator <= 0 or numerator <= 0:
        return Fraction(0)
    quotient = numerator / denominator * (1 - 2 * gamma(2 * m + 8))
    return max(Fraction(0), quotient - 4 * gamma(4 * m + 4) * frobenius - error - UNDERFLOW)


def best_of(gram: GramPolynomial, group: int, points: Tensor, bits: tuple[int, ...]) -> Maximum:
    """The best maximum reached from the three most promising of the given frequencies."""
    step = max(1, 2**21 // gram.order**2)
    values = torch.cat([estimates(gram.at(group, part, bits)) for part in points.split(step)])
    starts = points[values.topk(min(3, len(points))).indices]
    turns = starts.double() * torch.tensor([2.0**-b for b in bits], dtype=torch.float64)
    maxima = [ascend(gram, group, 2 * math.pi * turn) for turn in turns]
    return max(maxima, key=lambda maximum: maximum.square)


def ascend(gram: GramPolynomial, group: int, omega: Tensor, steps: int = 12) -> Maximum:
    """Climb ``lambda_max(G(omega))`` from ``omega`` (``[axes]``, radians)."""
    axes = len(omega)
    value, vector, slope, curvature = _expansion(gram, group, omega)
    for _ in range(steps if axes else 0):
        step = _newton_step(slope, curvature, 2.0 / (1 + int(gram.lags.abs().max())))
        accepted = False
        for _ in range(6):
            trial = _expansion(gram, group, omega + step)
            if trial[0] > value:
                accepted = True
                break
            step = step / 4
        if not accepted:
            break
        gain = trial[0] - value
        omega = omega + step
        value, vector, slope, curvature = trial
        if gain <= 1e-12 * value:
            break
    turns = torch.round(omega / (2 * math.pi) * 2.0**_WITNESS_BITS).to(torch.int64)
    point = turns.remainder(2**_WITNESS_BITS)
    matrix = gram.at(group, point[None], (_WITNESS_BITS,) * axes)[0]
    square = proved_square(matrix, vector.to(matrix.dtype), gram.error)
    return Maximum(group, tuple(point.tolist()), square)


def _newton_step(slope: Tensor, curvature: Tensor, longest: float) -> Tensor:
    """Newton's step with the curvature's eigenvalues made negative, no longer than ``longest``."""
    values, axes = torch.linalg.eigh(curvature)
    floor = 1e-8 * values.abs().max().clamp_min(1e-300)
    step = axes @ ((axes.T @ slope) / values.abs().clamp_min(floor))
    return step * min(1.0, longest / max(step.norm().item(), 1e-300))


def _expansion(
    gram: GramPolynomial, group: int, omega: Tensor
) -> tuple[float, Tensor, Tensor, Tensor]:
    """``lambda_max``, its eigenvector, gradient and Hessian at ``omega``."""
    m, axes, lags = gram.order, len(omega), gram.lags.double()
    phases = lags @ omega
    cosines, sines = torch.cos(phases), torch.sin(phases)
    symmetric, antisymmetric = gram.symmetric[group], gram.antisymmetric[group]

    def combine(on_symmetric: Tensor, on_antisymmetric: Tensor) -> Tensor:
        real, imaginary = on_symmetric @ symmetric, on_antisymmetric @ antisymmetric
        if not axes:
            return real.view(*on_symmetric.shape[:-1], m, m)
        return torch.complex(real, imaginary).view(*on_symmetric.shape[:-1], m, m)

    values, vectors = top_pairs(combine(cosines, sines))
    top = vectors[:, -1]
    if not axes:
        return values[-1].item(), top, torch.zeros(0), torch.zeros(0, 0)
    first = combine(-lags.T * sines, lags.T * cosines)
    couplings = vectors.mH @ (first @ top).T  # [pairs, axes]: v_k* G_i v
    pairs = lags[:, :, None] * lags[:, None, :]
    quadratic = torch.stack([_form(row, top, m) for row in symmetric]) * cosines
    quadratic = quadratic - torch.stack([_odd_form(row, top, m) for row in antisymmetric]) * sines
    gaps = (values[-1] - values[:-1]).clamp_min(1e-12 * values[-1].abs() + 1e-300)
    sides = couplings[:-1]
    curvature = 2 * (sides.conj().T @ (sides / gaps[:, None])).real
    curvature = curvature - (pairs * quadratic[:, None, None]).sum(0)
    return values[-1].item(), top, couplings[-1].real, curvature


def _form(row: Tensor, v: Tensor, m: int) -> Tensor:
    """``Re v* S v`` for a real symmetric ``S`` given as a row of coefficients."""
    matrix = row.view(m, m)
    return v.real @ (matrix @ v.real) + v.imag @ (matrix @ v.imag)


def _odd_form(row: Tensor, v: Tensor, m: int) -> Tensor:
    """``v* i T v = - (that)`` for a real antisymmetric ``T``: the value ``2 Re(v)^T T Im(v)``."""
    return 2 * (v.real @ (row.view(m, m) @ v.imag))
