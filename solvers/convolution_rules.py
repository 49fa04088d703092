r"""Norms of convolutions: by absolute values, by transfer functions, and of signed kernels."""

from __future__ import annotations

import math
from typing import Any

import torch
from deepinv.physics import (
    Blur,
    CompressiveSpectralImaging,
    Downsampling,
    LinearPhysics,
    SpaceVaryingBlur,
    TiledSpaceVaryingBlur,
    Upsampling,
)
from deepinv.physics import functional as dF
from torch import Tensor

from pnp_lip.norms import convolution_norm, matrix_norm
from pnp_lip.rounding import add_up, multiply_up
from pnp_lip.solvers.absolute_values import absolute_norm
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, norm_rule, power_method

__all__ = ["blur_spectrum", "norm_by_absolute_values", "signed_blur_norm"]

#: Room for a sum of stored numbers in float64.
_ROUNDING = 2.0**-40


@norm_rule(Blur, Downsampling)
def _convolution(physics: Any, x: Tensor) -> OperatorNorm | None:
    """Young's inequality, or ``|A|``; for signed kernels the symbol, or two one-dimensional factors."""
    if physics.filter is None:
        return OperatorNorm(1.0, NormSource.SINGULAR_VALUES)
    stays = physics.padding in ("valid", "constant", "zeros", "circular")
    signed = bool((physics.filter < 0).any())
    if type(physics) is Blur and stays and not signed:
        value = float(physics.filter.double().flatten(2).sum(-1).max())
        return OperatorNorm(value * (1 + _ROUNDING), NormSource.SYMBOL, value=value)
    if type(physics) is Blur and stays:
        # Of the symbol, for every size, as the sum of a nonnegative kernel is.
        bounds = [convolution_norm(k[None, None]) for k in physics.filter.flatten(0, 1)]
        upper = max(bound.upper for bound in bounds)
        return OperatorNorm(upper, NormSource.SYMBOL, value=max(bound.lower for bound in bounds))
    best = norm_by_absolute_values(physics, x)
    if not signed or best is None:
        return best
    upper, source = signed_blur_norm(physics, x)
    if upper >= best.upper:
        return best
    return OperatorNorm(upper, source, value=min(best.value, upper))


@norm_rule(Upsampling)
def _upsampled(physics: Any, x: Tensor) -> OperatorNorm | None:
    """As its adjoint, which samples the image that comes out."""
    best = norm_by_absolute_values(physics, x)
    if physics.filter is None or best is None or not bool((physics.filter < 0).any()):
        return best
    fine = x.new_zeros(*x.shape[:2], *(n * int(physics.factor) for n in x.shape[2:]))
    upper, source = signed_blur_norm(physics, fine)
    if upper >= best.upper:
        return best
    return OperatorNorm(upper, source, value=min(best.value, upper))


@norm_rule(SpaceVaryingBlur, TiledSpaceVaryingBlur, CompressiveSpectralImaging)
def norm_by_absolute_values(physics: LinearPhysics, x: Tensor) -> OperatorNorm | None:
    """The norm of the operator of absolute values; ``None`` where there is none."""
    try:
        found = absolute_norm(physics, x)
    except (ValueError, RuntimeError, TypeError, NotImplementedError):
        return None
    if found is None:
        return None
    upper, value, exact = found
    value = value if exact else min(power_method(physics, x), upper)
    return OperatorNorm(upper, NormSource.NONNEGATIVE, value=value)


def blur_spectrum(kernel: Tensor, size: tuple[int, int]) -> tuple[float, float, float]:
    r"""Extremes of :math:`|\hat h|` over the frequencies of a periodic image, and their error.

    :math:`\hat h(a, b) = \sum_{jk} h_{jk} e^{-2\pi i(aj/H + bk/W)}` as two products of matrices in float64.
    Phases are reduced exactly as integers, a sine or cosine errs by less than 4 units in the last
    place, so with ``n`` terms the error is below :math:`(n + 16)\,2^{-50}\sum|h|`. A kernel larger
    than the image wraps around, as in deepinv's padding with a negative width it is cropped.

    Parameters
    ----------
    kernel
        ``[B, C, h, w]``.
    size
        ``(H, W)``.

    Returns
    -------
    tuple[float, float, float]
        Smallest and largest modulus over all filters, and the error of both.
    """
    kernel = kernel[..., : size[0], : size[1]].double()
    rows, columns = (
        _phases(n, k).to(kernel.device) for n, k in zip(size, kernel.shape[2:], strict=True)
    )
    moduli = (rows @ kernel.to(torch.complex128) @ columns.T).abs()
    terms = kernel.shape[2] * kernel.shape[3]
    error = (terms + 16) * 2.0**-50 * float(kernel.abs().sum(dim=(2, 3)).max())
    return float(moduli.min()), float(moduli.max()), error


def _phases(size: int, length: int) -> Tensor:
    """``exp(-2 pi i a j / size)`` for all frequencies ``a`` and ``j < length``."""
    turns = torch.arange(size)[:, None] * torch.arange(length)[None, :] % size
    angles = turns.double() * (-2 * math.pi / size)
    return torch.polar(torch.ones_like(angles), angles)


def signed_blur_norm(physics: Any, x: Tensor) -> tuple[float, NormSource]:
    """The best proved bound for a kernel with negative entries; infinite without one."""
    bounds = [(math.inf, NormSource.SYMBOL)]
    kernels = physics.filter.flatten(0, 1).double()
    if physics.padding in ("valid", "constant", "zeros", "circular"):
        sup = max(convolution_norm(kernel[None, None]).upper for kernel in kernels)
        bounds.append((sup, NormSource.SYMBOL))
    if kernels.ndim == 3:
        bounds.append((max(_separable(k, physics, x) for k in kernels), NormSource.MATRIX))
    return min(bounds, key=lambda bound: bound[0])


def _separable(kernel: Tensor, physics: Any, x: Tensor) -> float:
    r""":math:`\|A\| \le \|R\|\,\|C\| + \delta` for a kernel :math:`uv^\top` up to :math:`\delta`.

    ``R`` and ``C`` are the operators of ``u`` along the columns and of ``v`` along the rows, as dense
    matrices. The rest of the kernel is bounded by the sum of its moduli times the norms of the paddings,
    at most ``1 + length`` along each axis.
    """
    u, s, vh = torch.linalg.svd(kernel)
    first, second = u[:, 0] * s[0].sqrt(), vh[0] * s[0].sqrt()
    rest = float((kernel - torch.outer(first, second)).abs().sum()) * (1 + 1e-9)
    if rest > 1e-4 * float(kernel.abs().sum()):
        return math.inf
    norms = [
        matrix_norm(_line_operator(line, n, physics)).upper
        for line, n in ((first, x.shape[-2]), (second, x.shape[-1]))
    ]
    room = math.prod(1 + n for n in kernel.shape)
    product = multiply_up(norms[0], norms[1]) * (1 + 1e-12)
    return add_up(product, multiply_up(rest, float(room)))


def _line_operator(line: Tensor, size: int, physics: Any) -> Tensor:
    """The convolution with ``line`` of columns of ``size`` pixels, and its sampling, as a matrix."""
    columns = torch.eye(size, dtype=torch.float64, device=line.device)[:, None, :, None]
    image = dF.conv2d(columns, line[None, None, :, None], padding=physics.padding)
    factor = physics.factor if isinstance(physics, Downsampling) else 1
    return image[:, 0, ::factor, 0].T
