r"""Upper bounds of :math:`\|A\|`, which every stepsize rule and every proof needs.

deepinv's ``compute_sqnorm`` is a power method: a lower bound, which makes a step too long. Here a bound is
proved by a rule of the exact class of the physics (``*_rules`` in this room); a subclass may have changed
``A``, so it is not trusted. Beside the bound stands the ``value``, what the norm is as far as a
computation can tell: stepsizes are chosen from it, so that a looser bound never moves a solution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from weakref import WeakKeyDictionary

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from pnp_lip.certifier import digest
from pnp_lip.solvers.dense import dense_norm
from pnp_lip.solvers.stock import is_stock

__all__ = ["NormSource", "OperatorNorm", "norm_rule", "operator_norm", "power_method"]

#: What a power method is multiplied with before it is shown as if it were an upper bound.
_MARGIN = 1.05
#: A bound that exceeds the norm as computed by more than this factor is tried again on a dense matrix.
_LOOSE = 1.01


class NormSource(Enum):
    """How the bound of ``|A|`` was obtained; the value is the sentence shown to the user."""

    SINGULAR_VALUES = "largest singular value of a diagonalised physics"
    SYMBOL = "proved bound of the blur's symbol, for every image size"
    NONNEGATIVE = "Collatz-Wielandt bound of the operator of absolute values, rounding included"
    MATRIX = "proved norm of the stored matrix"
    DENSE = "proved norm of the dense matrix of a small operator"
    COILS = "largest sum of squared coil sensitivities, times the mask"
    PARTS = "composed of proved norms of the parts"
    ESTIMATE = "power method times 1.05: an estimate, not proved"
    GIVEN = "given by the caller"

    @property
    def proved(self) -> bool:
        """Whether theorems may rely on it."""
        return self is not NormSource.ESTIMATE


@dataclass(frozen=True)
class OperatorNorm:
    r"""Bounds of the singular values of ``A``.

    Attributes
    ----------
    upper
        :math:`\|A\| \le` this, if ``source.proved``.
    source
        where the numbers come from.
    lower
        :math:`\|Ax\| \ge` this times :math:`\|x\|` for all ``x``; 0 where nothing is known.
    value
        the norm as computed, from which stepsizes are chosen; ``upper`` without it.
    """

    upper: float
    source: NormSource
    lower: float = 0.0
    value: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            object.__setattr__(self, "value", self.upper)


Rule = Callable[[LinearPhysics, Tensor], OperatorNorm | None]

_RULES: dict[type, Rule] = {}
_KNOWN: WeakKeyDictionary[LinearPhysics, tuple[object, OperatorNorm]] = WeakKeyDictionary()


def norm_rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Register a rule for these exact classes; it returns ``None`` where it does not apply."""

    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def operator_norm(physics: LinearPhysics, x: Tensor) -> OperatorNorm:
    """Bound the norm of ``physics`` on images of the shape and type of ``x`` (``[B, ...]``).

    The bound of a physics that has not changed is remembered. Without a rule the result is a power
    method with a margin, which is flagged as not proved.

    Examples
    --------
    >>> import deepinv as dinv
    >>> physics = dinv.physics.Tomography(img_width=16, angles=12, normalize=False)
    >>> norm = operator_norm(physics, torch.zeros(1, 1, 16, 16))
    >>> norm.source.proved
    True
    """
    # A part that cannot be read gives another digest every time, and nothing is remembered.
    key = (digest(physics), x.shape, x.dtype, x.device)
    known = _KNOWN.get(physics)
    if known is None or known[0] != key:
        known = _KNOWN[physics] = (key, _bound(physics, x))
    return known[1]


def _bound(physics: LinearPhysics, x: Tensor) -> OperatorNorm:
    rule = _RULES.get(type(physics))
    bound = rule(physics, x) if rule is not None and is_stock(physics) else None
    if bound is None:
        value = power_method(physics, x)
        return OperatorNorm(_MARGIN * value, NormSource.ESTIMATE, value=value)
    if bound.upper <= _LOOSE * bound.value:
        return bound
    small = dense_norm(physics, x)
    if small is None or small[0] >= bound.upper:
        return bound
    return OperatorNorm(small[0], NormSource.DENSE, bound.lower, small[1])


def power_method(physics: LinearPhysics, x: Tensor, steps: int = 200, tol: float = 1e-6) -> float:
    r"""A lower bound of :math:`\|A\|` up to rounding, usually close, from a seeded start."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, x.dtype)
    value = 0.0
    for _ in range(steps):
        v = v / torch.linalg.vector_norm(v)
        v = physics.A_adjoint_A(v)
        previous, value = value, float(torch.linalg.vector_norm(v))
        if not value > 0 or abs(value - previous) <= tol * value:
            break
    return math.sqrt(value)
