"""``cos(2 pi p / 2^L)`` and ``sin(2 pi p / 2^L)`` for integers ``p``, with a proved error bound.

Every frequency of a cover is a dyadic fraction of a turn, so phases ``a . omega`` are integers
modulo ``2^L`` and their reduction to an eighth of a turn is exact. What is left is a Taylor
polynomial on ``[-pi/4, pi/4]``, evaluated here so that no library's sine has to be trusted.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from pnp_lip.rounding import UNIT

# Absolute error of one entry, term by term, with z = x^2 and |x| <= pi/4:
#   the argument x = p' * fl(2 pi) * 2^-L has one rounded factor and one rounded product, relative
#     error <= 2.01 u, so sin and cos move by at most 2.01 u * pi/4 < 1.6 u;
#   a monomial c_j z^j, j <= 9, carries the roundings of c_j (1), of z (j) and of Horner's rule
#     (2 j + 1 <= 19), so at most 29 in all, 30 with the last product by x of the sine:
#     gamma(30) cosh(pi/4) < 40.1 u, since sum |c_j| z^j <= cosh(pi/4) < 1.325;
#   the first omitted term is at most (pi/4)^20 / 20! < 2^-68.
# Together below 42 u. The bound below leaves room to spare.
ENTRY_ERROR: Fraction = 64 * UNIT

_COSINE = [(-1) ** j / math.factorial(2 * j) for j in range(10)]
_SINE = [(-1) ** j / math.factorial(2 * j + 1) for j in range(10)]
_MAX_BITS = 56


def _horner(coefficients: list[float], z: Tensor) -> Tensor:
    value = torch.full_like(z, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * z + coefficient
    return value


def cosines_and_sines(phases: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """``cos`` and ``sin`` of ``2 pi phases / 2^bits``, each within ``ENTRY_ERROR``.

    Parameters
    ----------
    phases
        integers of any shape (int64), in any range.
    bits
        the denominator's logarithm, between 3 and 56.

    Returns
    -------
    tuple[Tensor, Tensor]
        Two float64 tensors of the shape of ``phases``.

    Raises
    ------
    ValueError
        ``bits`` is out of range, or the phases are not int64.
    """
    if phases.dtype != torch.int64 or not 3 <= bits <= _MAX_BITS:
        raise ValueError(
            f"cosines_and_sines: expected int64 phases and 3 <= bits <= {_MAX_BITS}, "
            f"got {phases.dtype} and {bits}"
        )
    reduced = phases & (2**bits - 1)
    quarter = (reduced + 2 ** (bits - 3)) >> (bits - 2)
    # |remainder| <= 2^(bits - 3) is exact in float64 up to 2^53, hence the bound on ``bits``.
    remainder = (reduced - (quarter << (bits - 2))).to(torch.float64)
    x = remainder * (2.0 * math.pi * 2.0**-bits)
    z = x * x
    cosine, sine = _horner(_COSINE, z), x * _horner(_SINE, z)
    odd, quarter = (quarter & 1).bool(), quarter & 3
    real = torch.where(odd, sine, cosine) * torch.where((quarter == 1) | (quarter == 2), -1.0, 1.0)
    imaginary = torch.where(odd, cosine, sine) * torch.where(quarter >= 2, -1.0, 1.0)
    return real, imaginary
