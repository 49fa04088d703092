"""``lower <= sup ||P(omega)|| < upper``, with ``upper <= (1 + gap) lower`` up to rounding.

The upper bound holds for every image size: with zero padding the layer is a compression of the
convolution on all of ``Z^n``, whose norm is the supremum; with circular padding its singular values
are those of ``P`` at some frequencies (Sedghi, Gupta and Long, ICLR 2019).
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from torch import Tensor

from pnp_lip.norms.ascent import Maximum
from pnp_lip.norms.cover import Cover, NormBound, weight_digest
from pnp_lip.norms.kernel import (
    Kernel,
    check_weight,
    convolution_kernel_taps,
    scaled_kernel,
)
from pnp_lip.norms.prover import (
    Problem,
    Search,
    first_maximum,
    floors,
    pose,
    refine,
    start,
    target_for,
)
from pnp_lip.rounding import round_down, sqrt_down

_ZERO = NormBound(0.0, 0.0, "zero weight", None)


def convolution_norm(
    weight: Tensor,
    *,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    transposed: bool = False,
    gap: float = 1e-3,
) -> NormBound:
    """``sup_omega sigma_max(P(omega))``, proved; the maximum over groups.

    Holds for zero, valid, full and circular padding and every image size. (Circular padding with a
    stride needs image sides that are multiples of the stride; see `padding_factor`.)

    Parameters
    ----------
    weight
        ``[c_out, c_in / groups, *kernel]``, or ``[c_in, c_out / groups, *kernel]`` for a
        transposed convolution, which is the adjoint and has the same norm; one to three axes.
    stride
        per axis, or one for all.
    dilation
        per axis, or one for all.
    groups
        of the layer.
    transposed
        the layout of ``weight``; the number is the same either way.
    gap
        wanted ``upper / lower - 1``, in [1e-9, 1]. A larger one comes back, never an
        unproved bound, where rounding or the number of cells stands in the way.

    Returns
    -------
    NormBound
        The bound with its cover.

    Raises
    ------
    TypeError
        the weight is not a floating-point tensor.
    ValueError
        empty, non-finite or misshapen weight, or an argument out of range.

    Examples
    --------
    >>> import torch
    >>> bound = convolution_norm(torch.ones(1, 1, 3, 3) / 9)
    >>> f"{bound.lower:.3f} {bound.upper:.3f}"
    '1.000 1.001'
    """
    where = "convolution_norm"
    _check_gap(gap, where)
    taps = convolution_kernel_taps(weight, stride, dilation, groups, where)
    return _bound(scaled_kernel(taps), weight, gap, where)


def matrix_norm(weight: Tensor, *, gap: float = 1e-3) -> NormBound:
    """``||W||_2`` of a dense matrix ``[rows, columns]``, proved.

    Raises
    ------
    TypeError, ValueError
        as in `convolution_norm`.

    Examples
    --------
    >>> import torch
    >>> bound = matrix_norm(torch.diag(torch.tensor([3.0, 4.0])))
    >>> bound.lower <= 4 <= bound.upper < 4.01
    True
    """
    _check_gap(gap, "matrix_norm")
    check_weight(weight, "matrix_norm", (2,))
    tall = weight if weight.shape[0] >= weight.shape[1] else weight.T
    return _bound(scaled_kernel(tall[None]), weight, gap, "matrix_norm")


def prove_below(
    weight: Tensor,
    target: float,
    *,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Cover | None:
    """A proof that the norm is below ``target`` (a matrix, or a convolution), or None."""
    if weight.ndim == 2:
        check_weight(weight, "prove_below", (2,))
        taps = (weight if weight.shape[0] >= weight.shape[1] else weight.T)[None]
    else:
        taps = convolution_kernel_taps(weight, stride, dilation, groups, "prove_below")
    kernel = scaled_kernel(taps)
    if kernel is None:
        raise ValueError("prove_below: expected a nonzero weight, got zeros; its norm is 0")
    problem = pose(kernel)
    scaled = math.ldexp(target, -kernel.exponent)
    maximum, seen = first_maximum(problem)
    slack = max(1e-12, scaled**2 / float(maximum.square) - 1) / 8
    floor = floors(problem, seen, slack)
    search = start(problem)
    while maximum.square < Fraction(scaled) ** 2:
        search, better = refine(problem, search, scaled, floor, maximum.square)
        if search.done:
            return _cover(search, problem, scaled, kernel, floor, maximum, weight)
        if better is None:
            break
        maximum = better
    return None


def _check_gap(gap: float, where: str) -> None:
    if not 1e-9 <= gap <= 1:
        raise ValueError(f"{where}: expected a gap in [1e-9, 1], got {gap}")


def _bound(kernel: Kernel | None, weight: Tensor, gap: float, where: str) -> NormBound:
    """The loop of the module: raise the target until every cell passes."""
    if kernel is None:
        return _ZERO
    problem = pose(kernel)
    maximum, seen = first_maximum(problem)
    floor = floors(problem, seen, gap / 8)
    allowed, search = Fraction(gap), start(problem)
    while True:
        target = target_for(maximum.square, allowed)
        search, better = refine(problem, search, target, floor, maximum.square)
        if search.done:
            break
        if better is None:
            allowed *= 2
            search = replace(search, tried=0)
        else:
            maximum = better
    cover = _cover(search, problem, target, kernel, floor, maximum, weight)
    if not math.isfinite(cover.upper):
        raise ValueError(f"{where}: expected a norm below 1.8e308, got one beyond; rescale")
    lower = round_down(Fraction(sqrt_down(maximum.square)) * Fraction(2) ** kernel.exponent)
    return NormBound(cover.upper, lower, _rule(problem, floor), cover)


def _rule(problem: Problem, floor: list[tuple[float, float]]) -> str:
    if not problem.bits:
        return "Gram matrix, verified Cholesky"
    flat = any(lo > 0 for _, lo in floor)
    return "adaptive symbol cover" + (", flat symbol" if flat else "")


def _cover(
    search: Search,
    problem: Problem,
    target: float,
    kernel: Kernel,
    floor: list[tuple[float, float]],
    maximum: Maximum,
    weight: Tensor,
) -> Cover:
    cells = {
        level: [tuple(row) for row in rows.tolist()]
        for level, rows in search.passed.items()
        if len(rows)
    }
    digest = weight_digest(weight)
    witness = (maximum.group, *maximum.point)
    return Cover(target, kernel.exponent, problem.bits, tuple(floor), cells, witness, digest)
