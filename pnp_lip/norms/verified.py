"""``lambda_max(H) < t``, proved by a Cholesky factorisation of ``t I - H`` that runs to completion.

If the factorisation of a Hermitian floating-point matrix ``A`` (order ``m``, real nonnegative
diagonal) completes, then ``A + E`` is positive semidefinite for some ``|E| <= alpha d d^T`` with
``d_j = sqrt(a_jj)``, so ``lambda_min(A) >= -alpha trace(A)`` (Demmel 1989; Rump, *Verification of
positive definiteness*, BIT 46, 2006; Higham 2002, theorem 10.3).

The constant, line by line, for complex data:

1.  Entry (i, j), i >= j, of ``R* R`` is built from ``a_ij - sum_{k<j} conj(r_ki) r_kj``. Real and
    imaginary part are each one real sum of at most ``2 (j - 1) + 1 <= 2 m - 1`` terms, summed in an
    order that the library chooses. No term sees more than ``2 m`` roundings.
2.  Then comes the division by the real ``r_jj`` (or the square root for i = j). A library may
    multiply by a rounded reciprocal, or divide as by a complex number with zero imaginary part:
    at most 8 further roundings per part. So at most ``n = 2 m + 8`` on any path.
3.  Each part is off by at most ``gamma(n)`` times ``sum_{k<=j}`` of ``|Re| |Re| + |Im| |Im|`` or
    ``|Re| |Im| + |Im| |Re|``; both are at most ``|r_ki| |r_kj|`` by Cauchy-Schwarz, so the
    modulus of the error is at most ``sqrt(2) gamma(n) (|R|^T |R|)_ij``. We use 3/2 for sqrt(2).
4.  ``(|R|^T |R|)_ij <= |r_i| |r_j|`` (columns), and on the diagonal ``|r_j|^2 (1 - beta) <= a_jj``
    with ``beta = 3/2 gamma(n)``. Hence ``|E_ij| <= beta / (1 - beta) d_i d_j``: alpha.

Trusted: IEEE binary64 rounding to nearest; ``LAPACK``'s factorisation computes the classical sums
above in some order (no Strassen-like product, no three-multiplication complex product, triangular
systems solved by substitution). Underflow, gradual or flushed to zero, is paid for by
``roundoff.UNDERFLOW``, which needs entries below 2^40 in size.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from pnp_lip.rounding import UNDERFLOW, UNIT, gamma, round_down


def completion_constant(order: int) -> Fraction:
    """``alpha`` of the module's docstring: completion proves ``lambda_min >= -alpha trace``."""
    beta = Fraction(3, 2) * gamma(2 * order + 8)
    return beta / (1 - beta)


def shifted_threshold(threshold: Fraction, error: Fraction, order: int) -> float:
    """``theta`` such that completion for ``theta I - H`` proves ``lambda_max(G) < threshold``.

    Here ``H`` is the computed matrix, ``G`` the exact one, ``||H - G||_2 <= error``, ``G >= 0``.

    Derivation. Let ``A = fl(theta I - H)``; only the diagonal is rounded, so
    ``A = theta I - H + D`` with ``|D| <= u max_j |a_jj|``. Completion implies ``a_jj > 0`` and
    ``h_jj >= g_jj - error >= -error``, so ``0 < a_jj <= (theta + error)(1 + u)`` and
    ``trace(A) <= m (theta + error)(1 + u)``. Therefore
    ``lambda_min(theta I - G) >= -(m alpha + u)(1 + u)(theta + error) - error - underflow``, that is
    ``lambda_max(G) <= theta + (m alpha + u)(1 + u)(theta + error) + error + underflow``.
    The choice ``theta = (threshold - 2 error - 2 underflow) / (1 + (m alpha + u)(1 + u))`` makes
    the right side smaller than ``threshold``, as long as ``(m alpha + u)(1 + u) <= 1``.

    Returns
    -------
    float
        ``theta``, rounded down; -1.0 where nothing can be proved.
    """
    growth = (order * completion_constant(order) + UNIT) * (1 + UNIT)
    if growth > 1:
        return -1.0
    theta = (threshold - 2 * error - 2 * UNDERFLOW) / (1 + growth)
    return round_down(theta) if theta > 0 else -1.0


def factorisation_completes(matrices: Tensor, theta: Tensor) -> Tensor:
    """Whether the Cholesky factorisation of ``theta_i I - H_i`` completes, for each of a batch.

    Parameters
    ----------
    matrices
        ``[batch, m, m]``, real or complex float64; only the lower triangle is read.
        Overwritten.
    theta
        ``[batch]``, float64.

    Returns
    -------
    Tensor
        ``[batch]`` booleans, False also for whatever is not finite.
    """
    shifted = matrices.neg_()
    diagonal = shifted.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(theta[:, None])
    _, info = torch.linalg.cholesky_ex(shifted)
    real = diagonal.real if shifted.is_complex() else diagonal
    return (info == 0) & real.isfinite().all(-1) & (real > 0).all(-1)
