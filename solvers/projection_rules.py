"""Norms of projections along lines and waves: sums of interpolations, without negative entries."""

from __future__ import annotations

import copy
from typing import Any

from deepinv.physics import Tomography, UltrasoundPlaneWave
from torch import Tensor

from pnp_lip.norms import convolution_norm, matrix_norm
from pnp_lip.rounding import add_up, multiply_up
from pnp_lip.solvers.dense import MOST, columns
from pnp_lip.solvers.nonnegative import collatz_wielandt
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, norm_rule, power_method


@norm_rule(Tomography)
def _projections(physics: Any, x: Tensor) -> OperatorNorm | None:
    """Sums of bilinear interpolations: no negative entry. Its adjoint by automatic differentiation."""
    if not (physics.fan_beam or physics.adjoint_via_backprop):
        return None
    views = len(physics.angles)
    roundings = 8 * (2 * physics.img_width + 4 * views + 64)
    upper, value = collatz_wielandt(physics.A_adjoint_A, x[:1, :1], roundings=roundings)
    return OperatorNorm(upper, NormSource.NONNEGATIVE, value=value)


@norm_rule(UltrasoundPlaneWave)
def _echoes(physics: Any, x: Tensor) -> OperatorNorm | None:
    r"""Interpolations weighed by windows; a pulse convolves the echoes, :math:`\|A\| \le \|P\|\,\|B\|`."""
    still = copy.deepcopy(physics)
    still.pulse = None
    paths = len(physics.angles) * len(physics.element_positions)
    roundings = 8 * (2 * x[0].numel() + 4 * paths + 64)
    upper, value = collatz_wielandt(still.A_adjoint_A, x[:1], roundings=roundings)
    if physics.pulse is None:
        return OperatorNorm(upper, NormSource.NONNEGATIVE, value=value)
    pulse = convolution_norm(physics.pulse[None, None])
    # One rounding for each term of the convolution, in float32.
    room = 1 + (len(physics.pulse) + 2) * 2.0**-23
    whole = multiply_up(upper, pulse.upper) * room
    product = OperatorNorm(whole, NormSource.PARTS, value=min(power_method(physics, x), whole))
    return _with_pulse(physics, x, upper, roundings + len(physics.pulse) + 2) or product


def _with_pulse(physics: Any, x: Tensor, echoes: float, roundings: int) -> OperatorNorm | None:
    r"""Of a small image, as a dense matrix: :math:`\|A\| \le \|\hat A\| + nu\sum|p|\,\|B\|`, in float32."""
    if x[0].numel() > MOST:
        return None
    bound = matrix_norm(columns(physics, x[:1]))
    largest = multiply_up(float(physics.pulse.double().abs().sum()) * (1 + 1e-9), echoes)
    upper = add_up(bound.upper, multiply_up(roundings * 2.0**-23, largest))
    return OperatorNorm(upper, NormSource.DENSE, value=bound.lower)
