"""Unproved eigenpairs, used to find good frequencies and vectors; nothing here enters a proof."""

from __future__ import annotations

import torch
from torch import Tensor

_DIRECT_ORDER = 320


def top_pairs(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (ascending) and eigenvectors of a Hermitian matrix, the largest well converged.

    All pairs up to order 320; beyond that, Ritz pairs of a Lanczos process with
    reorthogonalisation (Golub and Van Loan, *Matrix Computations*, section 10.1).
    """
    if len(matrix) <= _DIRECT_ORDER:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    basis, diagonal, beside = _lanczos(matrix)
    tridiagonal = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    values, coordinates = torch.linalg.eigh(tridiagonal)
    return values, basis @ coordinates.to(basis.dtype)


def _lanczos(matrix: Tensor, steps: int = 96) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(matrix), dtype=torch.float64, generator=generator).to(matrix.dtype)
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    while True:
        image = matrix @ basis[-1]
        diagonal.append(torch.vdot(basis[-1], image).real)
        known = torch.stack(basis, 1)
        for _ in range(2):
            image = image - known @ (known.mH @ image)
        length = image.norm()
        if len(basis) == steps or length <= 1e-13 * diagonal[0].abs():
            off = torch.stack(beside) if beside else torch.zeros(0, dtype=torch.float64)
            return known, torch.stack(diagonal), off
        beside.append(length)
        basis.append(image / length)


def estimates(matrices: Tensor, steps: int = 8) -> Tensor:
    """``lambda_max`` of ``[n, m, m]``, estimated from below by a batched Lanczos process.

    Single precision: half the memory traffic, which is all that these products cost.
    """
    m = matrices.shape[-1]
    if m <= steps:
        return torch.linalg.eigvalsh(matrices)[:, -1]
    small = matrices.to(torch.complex64 if matrices.is_complex() else torch.float32)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(m, 1, generator=generator).to(small.dtype)
    previous = torch.zeros(len(small), m, 1, dtype=small.dtype)
    vector = (start / start.norm()).expand(len(small), m, 1)
    tridiagonal = torch.zeros(len(small), steps, steps)
    length = torch.zeros(len(small), 1, 1)
    for k in range(steps):
        image = small @ vector - length * previous
        weight = (vector.conj() * image).sum(1, keepdim=True).real
        tridiagonal[:, k, k] = weight[:, 0, 0]
        image = image - weight * vector
        length = image.norm(dim=1, keepdim=True)
        if k + 1 < steps:
            tridiagonal[:, k + 1, k] = length[:, 0, 0]
        previous, vector = vector, image / length.clamp_min(1e-30)
    return torch.linalg.eigvalsh(tridiagonal)[:, -1].double()
