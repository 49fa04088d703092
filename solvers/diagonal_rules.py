"""Norms of physics whose singular values are stored numbers, between unitary transforms."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from deepinv.physics import (
    MRI,
    BlurFFT,
    Decolorize,
    Demosaicing,
    Denoising,
    DynamicMRI,
    Inpainting,
    MultiCoilMRI,
    PtychographyLinearOperator,
    SinglePixelCamera,
    StructuredRandom,
)
from deepinv.physics.functional import dst1
from torch import Tensor

from pnp_lip.rounding import multiply_up, sqrt_up
from pnp_lip.solvers.convolution_rules import blur_spectrum
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, norm_rule, power_method

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


@norm_rule(PtychographyLinearOperator)
def _scanned(physics: Any, x: Tensor) -> OperatorNorm:
    r""":math:`A^*A` is diagonal, with :math:`\sum_l |p_l|^2` of the probes on each pixel.

    The Fourier transforms are unitary; a probe smaller than the object is put in its place.
    """
    squares = physics.probe.to(torch.complex128).abs().square()
    whole = squares if physics.probe_is_object_sized else physics.place_patch(squares)
    value = math.sqrt(float(whole.sum(dim=1).max()))
    return OperatorNorm(value * (1 + _ROUNDING), NormSource.SINGULAR_VALUES, value=value)
