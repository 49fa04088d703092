"""Norms of physics that are stored matrices, or that are read off as small ones."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import CompressedSensing, DownsamplingMatlab, HyperSpectralUnmixing
from torch import Tensor

from pnp_lip.norms import matrix_norm
from pnp_lip.rounding import multiply_up
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, norm_rule


@norm_rule(HyperSpectralUnmixing)
def _mixing(physics: Any, x: Tensor) -> OperatorNorm:
    return _matrix(physics.M)


@norm_rule(CompressedSensing)
def _sensing(physics: Any, x: Tensor) -> OperatorNorm:
    return _matrix(physics._A)


def _matrix(stored: Tensor) -> OperatorNorm:
    if stored.is_complex():
        stored = torch.cat(
            [torch.cat([stored.real, -stored.imag], 1), torch.cat([stored.imag, stored.real], 1)]
        )
    bound = matrix_norm(stored)
    return OperatorNorm(bound.upper, NormSource.MATRIX, value=bound.lower)


@norm_rule(DownsamplingMatlab)
def _resized(physics: Any, x: Tensor) -> OperatorNorm:
    """One matrix along the rows and one along the columns, read off images constant in one direction.

    The rows of each matrix sum to 1, so that a constant direction stays what it is.
    """
    norms = []
    for size, axis in ((x.shape[-2], 0), (x.shape[-1], 1)):
        rows = torch.eye(size, dtype=x.dtype, device=x.device)[:, None, :, None]
        lines = rows.expand(-1, 1, size, 4 * int(physics.factor))
        image = physics.A(lines.contiguous() if axis == 0 else lines.transpose(2, 3).contiguous())
        norms.append(matrix_norm(image[:, 0, :, 0] if axis == 0 else image[:, 0, 0, :]))
    upper = multiply_up(norms[0].upper, norms[1].upper) * (1 + 1e-5)
    return OperatorNorm(upper, NormSource.MATRIX, value=norms[0].lower * norms[1].lower)
