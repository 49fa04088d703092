"""A proved ``lo <= lambda_min(G(omega))`` for all ``omega``: what makes flat symbols cheap.

The proof is the joint test on the root cells stated in ``cover``. Given ``U`` and ``L``, the
largest and smallest eigenvalues at the centres, and ``kappa = sin^2 r``, the smallest interval
that can pass is ``t = U + kappa w``, ``lo = L - kappa w`` with ``w = (U - L) / (1 - 2 kappa)``.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from pnp_lip.norms.cells import radius, sine_squared
from pnp_lip.norms.gram import GramPolynomial
from pnp_lip.norms.verified import (
    completion_constant,
    factorisation_completes,
    shifted_threshold,
)
from pnp_lip.rounding import UNDERFLOW, UNIT, round_down, round_up

_WORTH_IT = 0.3
NO_FLOOR = (0.0, 0.0)


def proved_floor(
    gram: GramPolynomial,
    group: int,
    centres: Tensor,
    bits: tuple[int, ...],
    half_degrees: tuple[float, ...],
    slack: float,
) -> tuple[float, float]:
    """``(t, lo)`` with the joint test proved on every root, or (0, 0) where ``lo`` would be small.

    Parameters
    ----------
    gram, group
        the polynomial and which of its groups.
    centres
        root cells, ``[n, axes]``.
    bits
        of the roots.
    half_degrees
        of the kernel.
    slack
        relative room left above and below for rounding, far below the gap asked for.
    """
    kappa = sine_squared(radius(half_degrees, bits))
    if kappa > Fraction(2, 5) or not _looks_flat(gram, group, centres, bits):
        return NO_FLOOR
    step = max(1, 2**19 // gram.order**2)
    values = torch.cat(
        [torch.linalg.eigvalsh(gram.at(group, part, bits)) for part in centres.split(step)]
    )
    high, low = Fraction(values.max().item()), Fraction(values.min().item())
    room = Fraction(slack) * high + 4 * gram.error
    width = (high - low + 2 * room) / (1 - 2 * kappa)
    ceiling = Fraction(round_up(high + room + kappa * width))
    lo = Fraction(round_down(low - room - kappa * width))
    if lo < Fraction(_WORTH_IT) * ceiling:
        return NO_FLOOR
    passed = all(
        _joint_test(gram.at(group, part, bits), ceiling, lo, kappa, gram.error)
        for part in centres.split(step)
    )
    return (float(ceiling), float(lo)) if passed else NO_FLOOR


def _looks_flat(gram: GramPolynomial, group: int, centres: Tensor, bits: tuple[int, ...]) -> bool:
    """Whether three of the centres show eigenvalues within a factor of each other."""
    few = centres[:: max(1, len(centres) // 3)][:3]
    values = torch.linalg.eigvalsh(gram.at(group, few, bits))
    return values.min().item() > _WORTH_IT * values.max().item()


def _joint_test(
    matrices: Tensor, ceiling: Fraction, lo: Fraction, kappa: Fraction, error: Fraction
) -> bool:
    """Both inequalities of a floor, proved for a batch of computed ``G``.

    The second: with ``A = fl(H - theta I)`` and ``theta >= 0``, completion gives
    ``lambda_min(H) >= theta - alpha trace(A) - u max a_jj``, where ``a_jj <= (h_jj)(1 + u)`` and
    ``h_jj <= lambda_max(G) + error < t + error`` by the first. So
    ``theta >= threshold + (m alpha + u)(1 + u)(t + error) + error`` proves the claim for ``G``.
    """
    order = matrices.shape[-1]
    below = ceiling - (ceiling - lo) * kappa
    above = lo + (ceiling - lo) * kappa
    growth = (order * completion_constant(order) + UNIT) * (1 + UNIT)
    lifted = round_up(above + growth * (ceiling + error) + error + 2 * UNDERFLOW)
    batch = torch.ones(len(matrices), dtype=torch.float64)
    minimum = factorisation_completes(matrices.neg(), -lifted * batch)
    maximum = factorisation_completes(matrices, shifted_threshold(below, error, order) * batch)
    return bool((minimum & maximum).all())
