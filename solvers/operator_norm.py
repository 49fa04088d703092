r"""Upper bounds of :math:`\|A\|` for deepinv physics, with where they come from.

deepinv's own ``compute_sqnorm`` is a power method: a lower bound, which makes a step too long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import torch
from deepinv.physics import Blur, BlurFFT, DecomposablePhysics, Denoising, LinearPhysics
from torch import Tensor

from pnp_lip.norms import convolution_norm, padding_factor

__all__ = ["NormSource", "OperatorNorm", "operator_norm"]

#: Relative room for the float32 arithmetic in which deepinv computes singular values.
_ROUNDING = 1e-5
#: What a power method is multiplied with before it is used as if it were an upper bound.
_MARGIN = 1.05


class NormSource(Enum):
    """How the bound of ``|A|`` was obtained; the value is the sentence shown to the user."""

    SINGULAR_VALUES = "largest singular value of a diagonalised physics"
    SYMBOL = "proved bound of the blur's symbol, for every image size"
    ESTIMATE = "power method times 1.05: an estimate, not proved"
    GIVEN = "given by the caller"

    @property
    def proved(self) -> bool:
        """Whether theorems may rely on it."""
        return self is not NormSource.ESTIMATE


@dataclass(frozen=True)
class OperatorNorm:
    r"""Bounds of the singular values of ``A``.

    Attributes:
        upper: :math:`\|A\| \le` this, if ``source.proved``.
        lower: :math:`\|Ax\| \ge` this times :math:`\|x\|` for all ``x``; 0 where nothing is known.
        source: where the numbers come from.
    """

    upper: float
    source: NormSource
    lower: float = 0.0


def operator_norm(physics: LinearPhysics, x: Tensor) -> OperatorNorm:
    """Bound the norm of ``physics`` on images of the shape of ``x``.

    Singular values where deepinv diagonalises the physics, the certified symbol bound for blurs,
    otherwise a power method with a margin, which is flagged as unproved.
    """
    if isinstance(physics, DecomposablePhysics):
        return _from_singular_values(physics)
    if type(physics) is Blur:
        return OperatorNorm(_blur_bound(physics) * (1 + _ROUNDING), NormSource.SYMBOL)
    return OperatorNorm(_MARGIN * _power_method(physics, x), NormSource.ESTIMATE)


def _from_singular_values(physics: DecomposablePhysics) -> OperatorNorm:
    values = torch.as_tensor(physics.mask).abs().double()
    upper = float(values.max()) * (1 + _ROUNDING)
    square = type(physics) in (Denoising, BlurFFT)
    lower = max(0.0, float(values.min()) - _ROUNDING * upper) if square else 0.0
    return OperatorNorm(upper, NormSource.SINGULAR_VALUES, lower)


def _blur_bound(physics: Blur) -> float:
    """The largest bound over the filters of the batch and the channels, times the padding's."""
    kernels = physics.filter.flatten(0, 1)
    mode = {"valid": "zeros", "constant": "zeros"}.get(
        physics.padding.lower(), physics.padding.lower()
    )
    size = tuple(kernels.shape[1:])
    factor = padding_factor(mode, size, tuple(side // 2 for side in size))
    return factor * max(convolution_norm(kernel[None, None]).upper for kernel in kernels)


def _power_method(physics: LinearPhysics, x: Tensor, steps: int = 200, tol: float = 1e-6) -> float:
    """A lower bound of ``|A|`` that is usually close, from a seeded start."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(x.shape, generator=generator).to(x.device, x.dtype)
    value = 0.0
    for _ in range(steps):
        v = v / torch.linalg.vector_norm(v)
        v = physics.A_adjoint_A(v)
        previous, value = value, float(torch.linalg.vector_norm(v))
        if value == 0 or abs(value - previous) <= tol * value:
            break
    return math.sqrt(value)
