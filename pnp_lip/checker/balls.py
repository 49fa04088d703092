"""Matrices of balls, and what is proved of them: positive definiteness, by Schur complements."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["flint_module", "middle", "positive_definite", "taylor_holds"]

_DIRECT_ORDER = 6


def flint_module() -> ModuleType:
    """python-flint, or an error that says how to get it."""
    try:
        import flint
    except ImportError as missing:
        raise ImportError(
            'checking a certificate needs python-flint: pip install "pnp-lip[check]"'
        ) from missing
    return flint


def positive_definite(matrix: Any, shift: Any, sign: int) -> bool:
    """Whether ``sign (G - shift I)`` is proved positive definite, ``G`` Hermitian.

    ``[[A, B], [B*, C]] > 0`` if and only if ``A > 0`` and ``C - B* A^-1 B > 0``.
    """
    flint = flint_module()
    order = matrix.nrows()
    entries = matrix.entries() if sign > 0 else [-x for x in matrix.entries()]
    for i in range(order):
        entries[i * (order + 1)] -= sign * shift
    try:
        return _schur(flint, entries, order)
    except ZeroDivisionError:
        return False


def taylor_holds(derivatives: list[list[Any]], tau: Any) -> bool:
    """Whether ``N = tau I - B_0 > 0`` and some ``b_j N +- B_a >= 0`` with ``sum b_j / j! < 1``.

    The ``b_j`` are guessed in floating point; the inequalities are proved.
    """
    flint = flint_module()
    centre = derivatives[0][0]
    order = centre.nrows()
    identity = flint.acb_mat(
        order, order, [int(i == j) for i in range(order) for j in range(order)]
    )
    gap = identity * flint.acb(tau) - centre
    if not positive_definite(gap, 0, 1):
        return False
    total = flint.fmpq(0)
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(middle(gap, tau)))
    except np.linalg.LinAlgError:
        return False
    for j in range(1, len(derivatives)):
        sizes = [
            np.linalg.norm(inverse @ middle(b, tau) @ inverse.conj().T) for b in derivatives[j]
        ]
        bound = flint.fmpq(*float(max(sizes) * 1.005 + 5e-4).as_integer_ratio())
        total += bound / math.factorial(j)
        scaled = gap * bound
        for term in derivatives[j]:
            if not (
                positive_definite(scaled - term, 0, 1) and positive_definite(scaled + term, 0, 1)
            ):
                return False
    return bool(total < 1)


def middle(matrix: Any, unit: Any) -> Any:
    """The midpoints of ``matrix / unit`` in floating point."""
    relative = ((x.real / unit, x.imag / unit) for x in matrix.entries())
    values = [complex(float(re.mid()), float(im.mid())) for re, im in relative]
    return np.array(values).reshape(matrix.nrows(), matrix.ncols())


def _schur(flint: ModuleType, a: list[Any], n: int) -> bool:
    if n <= _DIRECT_ORDER:
        return _pivots_positive(a, n)
    h = n // 2
    corner = [a[i * n + j] for i in range(h) for j in range(h)]
    if not _schur(flint, corner, h):
        return False
    beside = flint.acb_mat(h, n - h, [a[i * n + j] for i in range(h) for j in range(h, n)])
    rest = flint.acb_mat(n - h, n - h, [a[i * n + j] for i in range(h, n) for j in range(h, n)])
    solved = flint.acb_mat(h, h, corner).solve(beside)
    return _schur(flint, (rest - beside.conjugate().transpose() * solved).entries(), n - h)


def _pivots_positive(a: list[Any], n: int) -> bool:
    """Gaussian elimination of a small Hermitian matrix: every pivot is positive."""
    a = list(a)
    for k in range(n):
        pivot = a[k * (n + 1)].real
        if not pivot > 0:
            return False
        for i in range(k + 1, n):
            factor = a[i * n + k] / pivot
            for j in range(k + 1, i + 1):
                a[i * n + j] -= factor * a[j * n + k].conjugate()
    return True
