r"""Hermitian matrices proved definite in floating point, every rounding bounded; balls decide the rest.

To prove: ``t I - G(omega)`` (or ``G(omega) - t I``) is positive definite at some frequencies, with
``G = sum_a cos(a.omega) S_a + i sin(a.omega) T_a`` for exact ``S_a``, ``T_a``. With :math:`u = 2^{-53}`:

1. *Entries.* Sines, cosines and coefficients are balls rounded to float64, off by at most :math:`2u` of 1
   and of themselves; their sum of ``F`` products, in any order, by :math:`F u/(1 - F u)` of the sum of
   absolute values more. So each computed entry is off by at most
   :math:`e = (F + 16)\,2u\sum_a |S_a|`, with ``T`` for imaginary parts, and the matrix by at most
   :math:`\|e\|_F` in norm.
2. *Shift.* With ``t`` moved by that norm and by the rounding of the diagonal, it suffices that the matrix
   ``B`` that is stored is positive definite: :math:`t I - G \succeq B`.
3. *Residual.* ``X`` is nearly the inverse of a Cholesky factor of ``B``; how it came about does not matter.
   If :math:`\|I - X B X^*\| < 1` then :math:`X B X^*` is positive definite, so ``X`` is invertible and
   ``B`` is positive definite. Complex matrices of order ``m`` are real ones of order ``n = 2 m``, whose
   computed products are off by at most :math:`\gamma\,|X||B|` entrywise, :math:`\gamma = 2 n u`, for sums
   in any order, fused or not (Higham 2002, section 3.5). With ``P`` the computed :math:`XB`, in Frobenius
   norms, the computed :math:`P X^*` is off by at most
   :math:`\gamma(\|P\|\|X\| + \|X\|^2\|B\|)`. This and the computed :math:`\|I - PX^*\|` stay below 1/2.

Everything is divided by a power of two near ``t`` first, ``X`` is bounded by :math:`2^{100}`, and
:math:`2^{-500}` is added to every bound, which covers underflow: less than :math:`2^{-1000}` for each of
fewer than :math:`2^{60}` operations, times at most :math:`2^{300}`. Norms are taken larger by the
factor :math:`1 + 2^{-20}`, more than their own roundings for fewer than :math:`2^{30}` entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_lip.checker.balls import flint_module

__all__ = ["FloatGram"]

Array = NDArray[Any]

_U, _TINY, _UP = 2.0**-53, 2.0**-500, 1 + 2.0**-20
#: Entries of the inverses, at most.
_LARGEST = 2.0**100
#: Numbers of real matrices that exist at a time.
_BATCH = 2**21


class FloatGram:
    """``G`` of one group over ``2^exponent``, in float64.

    Parameters
    ----------
    symmetric, antisymmetric
        balls ``[F, m * m]`` around ``S_a`` and ``T_a``.
    order
        ``m``.
    exponent
        of the power of two by which everything is divided.
    """

    @np.errstate(all="ignore")  # what is not finite proves nothing
    def __init__(self, symmetric: Any, antisymmetric: Any, order: int, exponent: int) -> None:
        self.order, self.unit = order, flint_module().fmpq(2) ** exponent
        self.symmetric, self.antisymmetric = map(self._floats, (symmetric, antisymmetric))
        factor = (len(self.symmetric) + 16) * 2 * _U
        sums = (abs(part).sum(0) for part in (self.symmetric, self.antisymmetric))
        self.error = float(_norm(factor * np.stack(list(sums))))

    @np.errstate(all="ignore")
    def definite(self, cosines: Array, sines: Array, shift: Any, sign: int) -> Array:
        """For which frequencies ``sign (G - shift I)`` is proved positive definite.

        Parameters
        ----------
        cosines, sines
            of ``a.omega`` for each frequency and each lag, ``[N, F]``, off by at most ``2u``.
        shift
            a ball or a rational number.
        sign
            1 or -1.
        """
        count = max(1, _BATCH // (2 * self.order) ** 2)
        parts = range(0, len(cosines), count)
        ends = [(cosines[i : i + count], sines[i : i + count]) for i in parts]
        return np.concatenate([self._some(*pair, shift, sign) for pair in ends])

    def _floats(self, balls: Any) -> Array:
        rows = [float(x.mid()) for x in (balls * (1 / flint_module().arb(self.unit))).entries()]
        return np.array(rows).reshape(balls.nrows(), -1)

    def _some(self, cosines: Array, sines: Array, shift: Any, sign: int) -> Array:
        m = self.order
        real = (cosines @ self.symmetric).reshape(-1, m, m)
        imaginary = (sines @ self.antisymmetric).reshape(-1, m, m)
        # The lower triangle says what the matrix is.
        lower = np.tril(real) + 1j * np.tril(imaginary, -1)
        matrices = sign * (lower + np.conj(np.tril(lower, -1)).swapaxes(1, 2))
        diagonal = matrices[:, range(m), range(m)].real
        least = self._below(flint_module().arb(shift) * -sign)
        room = self.error + 4 * _U * (abs(least) + abs(diagonal).max(axis=1, initial=0.0))
        matrices[:, range(m), range(m)] = diagonal + (least - _UP * room - _TINY)[:, None]
        return _positive_definite(matrices)

    def _below(self, ball: Any) -> float:
        """A float below ``ball / 2^exponent``."""
        value = float((ball / flint_module().arb(self.unit)).lower())
        return value - 8 * _U * abs(value) - _TINY


def _positive_definite(matrices: Array) -> Array:
    """Step 3 for Hermitian matrices ``[N, m, m]`` as they are stored."""
    b, x = _as_real(matrices), _as_real(_inverse_factors(matrices))
    p, gamma = x @ b, 2 * b.shape[-1] * _U
    computed = _norm(np.eye(b.shape[-1]) - p @ x.swapaxes(1, 2))
    size = _norm(x)
    rounded = gamma * (_norm(p) * size + size**2 * _norm(b) + 1) * _UP + _TINY
    proved: Array = (computed + rounded < 0.5) & (size < _LARGEST)
    return proved


def _inverse_factors(matrices: Array) -> Array:
    """Nearly the inverses of Cholesky factors; not numbers where there are none."""
    try:
        return np.linalg.inv(np.linalg.cholesky(matrices))
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.full_like(matrices, np.nan)
    middle = len(matrices) // 2
    halves = _inverse_factors(matrices[:middle]), _inverse_factors(matrices[middle:])
    return np.concatenate(halves)


def _as_real(matrices: Array) -> Array:
    """``[[Re, -Im], [Im, Re]]``."""
    real, imaginary = matrices.real, matrices.imag
    return np.block([[real, -imaginary], [imaginary, real]])


def _norm(matrices: Array) -> Array:
    """Of each matrix, at least the Frobenius norm."""
    norms: Array = np.sqrt(np.square(matrices).sum((-2, -1))) * _UP + _TINY
    return norms
