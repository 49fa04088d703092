"""A second proof of ``||layer|| <= upper`` from a stored cover, in exact, ball and bounded arithmetic.

Independent of the prover: the Gram coefficients are exact integers, sines and cosines are balls (Arb,
through python-flint), and positive definiteness is proved from a residual in floating point whose every
rounding is bounded (:mod:`pnp_lip.checker.floating`), or where that does not decide by Schur
complements in balls. What is checked, for each group:

1. the claimed upper bound is ``target * 2^exponent``, and the weight is the one that was bounded;
2. the cells cover the torus: each root, or its mirror image under ``omega -> -omega``, is a stored
   cell or is split into children that are covered. Two axes: diamonds centred at ``t``,
   ``t_1 + t_2`` even, children ``2 t +- e_i``. One or three axes: boxes centred at even ``t``,
   children ``2 t + (+-1, ..)``. In both cases children tile their parent, roots tile the torus;
3. on each cell ``(s^2 - (s^2 - lo) sin^2 r) I - G(c)`` is positive definite; or, on one or two
   axes, with ``B_a = h^a d^a G(c)``, ``tau = s^2 (1 - (2 r)^6 / 1440)`` and
   ``N = tau I - G(c) > 0``, some ``b_j`` satisfy ``b_j N +- B_a >= 0`` for ``|a| = j = 1..5`` and
   ``sum_j b_j / j! < 1``: the Taylor model of ``G`` stays below ``tau`` on the cell, and
   Bernstein's inequality bounds the rest. If ``lo`` is not zero, the floor ``(t, lo)`` is proved
   on the roots: ``lambda_max < t - (t - lo) sin^2 r`` and
   ``lambda_min > lo + (t - lo) sin^2 r``, with ``sin^2 r < 1/2``;
4. the lower bound is attained: ``v* G v >= lower^2 v* v`` at the stored frequency.

That these inequalities imply the bound is the local bound of Riesz (1914) and of Duffin and
Schaeffer (1938) for functions of exponential type: ``r = sup sum_i d_i |delta_i|``, where the
half-degrees are ``d_i = (k_i - 1)/2``.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from torch import Tensor

from pnp_lip.checker.balls import flint_module
from pnp_lip.checker.cover import CoverCheck
from pnp_lip.checker.exact_gram import ExactGram
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["CertificateRejected", "check_layer"]

_PRECISION = 160


def check_layer(
    weight: Tensor,
    bound: dict[str, Any],
    *,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> None:
    """Prove a stored bound of a convolution (3 to 5 dimensions) or a matrix (2) again.

    Parameters
    ----------
    weight
        in torch's layout, as it was given to ``convolution_norm`` or ``matrix_norm``.
    bound
        what ``NormBound.to_json`` returned.
    stride, dilation, groups
        of the layer.

    Raises
    ------
    CertificateRejected
        with the reason, for whatever could not be proved.
    ImportError
        python-flint is not installed.
    """
    flint = flint_module()
    upper, lower, cover = _entries(bound)
    if cover is None:
        if bool((weight != 0).any()) or upper < 0 or lower > 0:
            raise CertificateRejected("no cover is stored, and the weight is not zero")
        return
    _check_claim(weight, upper, lower, cover)
    before, flint.ctx.prec = flint.ctx.prec, _PRECISION
    try:
        gram = ExactGram.of(weight, stride, dilation, groups)
        CoverCheck(gram, cover, lower).run()
    except (
        *(AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError),
        RecursionError,
    ) as problem:
        raise CertificateRejected(f"the cover cannot be read: {problem}") from problem
    finally:
        flint.ctx.prec = before


def _entries(bound: dict[str, Any]) -> tuple[float, float, dict[str, Any] | None]:
    try:
        upper, lower, cover = float(bound["upper"]), float(bound["lower"]), bound["cover"]
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise CertificateRejected(f"the bound cannot be read: {problem}") from problem
    if not (math.isfinite(upper) and 0 <= lower <= upper):
        raise CertificateRejected(f"expected 0 <= lower <= upper, got {lower} and {upper}")
    return upper, lower, cover


def _check_claim(weight: Tensor, upper: float, lower: float, cover: dict[str, Any]) -> None:
    """The numbers of the claim belong together, and to this weight."""
    fmpq = flint_module().fmpq
    exact = weight.detach().to("cpu").double().contiguous().numpy().astype("<f8")
    shape = "x".join(map(str, weight.shape))
    digest = hashlib.sha256(shape.encode() + exact.tobytes()).hexdigest()
    if cover.get("weight_digest") != digest:
        raise CertificateRejected("the weight is not the one that the bound was proved for")
    target = cover.get("target")
    if not isinstance(target, float) or not 0 < target < math.inf:
        raise CertificateRejected(f"expected a positive target, got {target!r}")
    exponent = cover.get("exponent")
    if not isinstance(exponent, int) or isinstance(exponent, bool) or abs(exponent) > 2200:
        raise CertificateRejected(f"expected a power of two as exponent, got {exponent!r}")
    proved = fmpq(*target.as_integer_ratio()) * fmpq(2) ** exponent
    claimed, below = (
        fmpq(*value.as_integer_ratio()) for value in (upper, math.nextafter(upper, -math.inf))
    )
    if claimed < proved:
        raise CertificateRejected(
            f"the claimed upper bound {upper!r} is below the target that the cells prove"
        )
    if below >= proved:
        raise CertificateRejected(
            f"the claimed upper bound {upper!r} is not the target that the cells prove"
        )
