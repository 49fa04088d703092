"""Proved norms of deepinv's linear physics, each by a rule of its exact class."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    ComposedLinearPhysics,
    CompressedSensing,
    CompressiveSpectralImaging,
    Decolorize,
    Demosaicing,
    Denoising,
    Downsampling,
    DownsamplingMatlab,
    DynamicMRI,
    HyperSpectralUnmixing,
    Inpainting,
    LinearPhysics,
    MultiCoilMRI,
    Pansharpen,
    PhysicsCropper,
    SinglePixelCamera,
    SpaceVaryingBlur,
    StackedLinearPhysics,
    StructuredRandom,
    TiledSpaceVaryingBlur,
    Tomography,
    Upsampling,
)
from deepinv.physics.functional import dst1
from torch import Tensor

from pnp_lip.norms import convolution_norm, matrix_norm
from pnp_lip.rounding import multiply_up, sqrt_up
from pnp_lip.solvers.absolute_values import absolute_norm
from pnp_lip.solvers.convolution_rules import blur_spectrum, signed_blur_norm
from pnp_lip.solvers.nonnegative import collatz_wielandt
from pnp_lip.solvers.operator_norm import (
    NormSource,
    OperatorNorm,
    norm_rule,
    operator_norm,
    power_method,
)

#: Room for evaluating a few sums and squares of stored numbers in float64.
_ROUNDING = 2.0**-40


@norm_rule(Denoising, Inpainting, Demosaicing, MRI, DynamicMRI)
def _diagonal(physics: Any, x: Tensor) -> OperatorNorm:
    """The mask, between the identity or unitary Fourier transforms: square and diagonal."""
    values = torch.as_tensor(physics.mask).to(torch.complex128).abs()
    return OperatorNorm(float(values.max()), NormSource.SINGULAR_VALUES, float(values.min()))


@norm_rule(Decolorize)
def _grey(physics: Any, x: Tensor) -> OperatorNorm:
    """``x -> <s, x>`` in every pixel, for the spectral response ``s``."""
    value = float(torch.linalg.vector_norm(physics.srf.double()))
    return OperatorNorm(value * (1 + 1e-6), NormSource.SINGULAR_VALUES, value=value)


@norm_rule(SinglePixelCamera)
def _single_pixel(physics: Any, x: Tensor) -> OperatorNorm:
    """``U diag(m) V^T``; the factors of the dense form are orthogonal up to rounding."""
    value = float(physics.mask.abs().double().max())
    if physics.fast:
        return OperatorNorm(value, NormSource.SINGULAR_VALUES)
    loss = multiply_up(_orthogonality(physics.u), _orthogonality(physics.vh.T))
    return OperatorNorm(multiply_up(value, loss), NormSource.SINGULAR_VALUES, value=value)


def _orthogonality(columns: Tensor) -> float:
    """``|Q| <= sqrt(1 + |Q^T Q - I|_1)``, evaluated in float64."""
    gram = columns.double().T @ columns.double()
    defect = (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).abs().sum(1).max()
    return sqrt_up(Fraction(1) + Fraction(float(defect) + 1e-9))


@norm_rule(BlurFFT)
def _circular(physics: Any, x: Tensor) -> OperatorNorm | None:
    """The transfer function of the stored filter on the grid of the image."""
    low, high, error = blur_spectrum(physics.filter, tuple(physics.img_size[-2:]))
    # The mask is what runs; it has to be the modulus of the filter's transfer function.
    if abs(float(physics.mask.max()) - high) > 1e-4 * high + error:
        return None
    return OperatorNorm(high + error, NormSource.SINGULAR_VALUES, max(0.0, low - error), high)


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
    best = _by_absolute_values(physics, x)
    if not signed or best is None:
        return best
    upper, source = signed_blur_norm(physics, x)
    if upper >= best.upper:
        return best
    return OperatorNorm(upper, source, value=min(best.value, upper))


@norm_rule(
    Upsampling,
    SpaceVaryingBlur,
    TiledSpaceVaryingBlur,
    CompressiveSpectralImaging,
)
def _by_absolute_values(physics: LinearPhysics, x: Tensor) -> OperatorNorm | None:
    try:
        found = absolute_norm(physics, x)
    except (ValueError, RuntimeError, TypeError, NotImplementedError):
        return None
    if found is None:
        return None
    upper, value, exact = found
    value = value if exact else min(power_method(physics, x), upper)
    return OperatorNorm(upper, NormSource.NONNEGATIVE, value=value)


@norm_rule(Tomography)
def _projections(physics: Any, x: Tensor) -> OperatorNorm | None:
    """Sums of bilinear interpolations: no negative entry. Its adjoint by automatic differentiation."""
    if not (physics.fan_beam or physics.adjoint_via_backprop):
        return None
    views = len(physics.angles)
    roundings = 8 * (2 * physics.img_width + 4 * views + 64)
    upper, value = collatz_wielandt(physics.A_adjoint_A, x[:1, :1], roundings=roundings)
    return OperatorNorm(upper, NormSource.NONNEGATIVE, value=value)


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


@norm_rule(MultiCoilMRI)
def _coils(physics: Any, x: Tensor) -> OperatorNorm:
    r""":math:`\|MFS\|^2 \le \max|M|^2 \max_p \sum_c |S_c(p)|^2`, attained without a mask.

    This number, which no mask changes, is also the value from which stepsizes are chosen.
    """
    maps = physics.coil_maps.to(torch.complex128)
    square = float(maps.abs().square().sum(dim=1).max())
    largest = float(physics.mask.abs().double().max())
    upper = multiply_up(largest, math.sqrt(square)) * (1 + _ROUNDING)
    return OperatorNorm(upper, NormSource.COILS)


@norm_rule(StructuredRandom)
def _structured(physics: Any, x: Tensor) -> OperatorNorm | None:
    """Orthogonal sine transforms and diagonals, between zero padding and cropping."""
    if physics.transform_func is not dst1 or physics.transform_func_inv is not dst1:
        return None
    sizes = physics.diagonals.abs().double().flatten(1).max(1).values
    upper = math.prod(sizes.tolist()) * (1 + _ROUNDING)
    return OperatorNorm(
        upper, NormSource.SINGULAR_VALUES, value=min(power_method(physics, x), upper)
    )


@norm_rule(PhysicsCropper)
def _cropped(physics: Any, x: Tensor) -> OperatorNorm | None:
    inner = operator_norm(physics.base, physics.remove_pad(x))
    if not inner.source.proved:
        return None
    return OperatorNorm(inner.upper, NormSource.PARTS, value=inner.value)


@norm_rule(ComposedLinearPhysics)
def _composed(physics: Any, x: Tensor) -> OperatorNorm | None:
    r"""Entry by entry, or :math:`\|A_k \cdots A_1\| \le \prod\|A_i\|`."""
    best = _by_absolute_values(physics, x)
    upper, image = 1.0, x
    for part in physics.physics_list:
        bound = operator_norm(part, image)
        if not bound.source.proved:
            return best
        upper, image = multiply_up(upper, bound.upper), part.A(image)
    if best is not None and best.upper <= upper:
        return best
    return OperatorNorm(upper, NormSource.PARTS, value=min(power_method(physics, x), upper))


@norm_rule(StackedLinearPhysics, Pansharpen)
def _stacked(physics: Any, x: Tensor) -> OperatorNorm | None:
    r"""Entry by entry, or :math:`\|A\|^2 \le \sum\|A_i\|^2`."""
    best = _by_absolute_values(physics, x)
    square = Fraction(0)
    for part in physics.physics_list:
        bound = operator_norm(part, x)
        if not bound.source.proved:
            return best
        square += Fraction(bound.upper) ** 2
    upper = sqrt_up(square)
    if best is not None and best.upper <= upper:
        return best
    return OperatorNorm(upper, NormSource.PARTS, value=min(power_method(physics, x), upper))
