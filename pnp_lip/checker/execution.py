r"""What float32 adds to a layer, computed again in rational numbers.

For checking: written on its own. With :math:`u = 2^{-24}`, :math:`\gamma_n = nu/(1-nu)` and ``P`` pixels,
an error :math:`(r, o, g, s)` says :math:`\|\mathrm{fl}(T(x)) - T(x)\| \le r\|x\| + o\sqrt P` and
:math:`\|T(x)\| \le g\|x\| + s\sqrt P`. Pairs below are coefficients of :math:`(\|x\|, \sqrt P)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from pnp_lip.checker.composition import root_up
from pnp_lip.checker.exact_gram import integers_of

__all__ = ["EXACT", "Error", "after_tiles", "in_turn", "of_affine", "of_blend", "of_step"]

Pair = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Error:
    """``relative``, ``offset``: of the error; ``growth``, ``shift``: of the exact value."""

    relative: Fraction
    offset: Fraction
    growth: Fraction
    shift: Fraction


EXACT = Error(Fraction(0), Fraction(0), Fraction(1), Fraction(0))


def _gamma(count: int) -> Fraction:
    unit = Fraction(count, 2**24)
    return unit / (1 - unit) if unit < 1 else Fraction(2**200)


def in_turn(parts: Sequence[tuple[Fraction, Error | None]]) -> Error | None:
    """Of a chain, each part with its Lipschitz constant: what came in is stretched, what is new adds."""
    total = EXACT
    for stretch, part in parts:
        if part is None:
            return None
        seen = total.growth + total.relative, total.shift + total.offset
        total = Error(
            stretch * total.relative + part.relative * seen[0],
            stretch * total.offset + part.relative * seen[1] + part.offset,
            part.growth * total.growth,
            part.growth * total.shift + part.shift,
        )
    return total


def of_affine(
    weight: Tensor, bias: Tensor | None, norm: Fraction, factor: Fraction
) -> Error | None:
    """Of ``W x + b`` in float32; ``factor`` of its padding."""
    if weight.dtype != torch.float32:
        return None
    taps = _Taps(weight)
    size, gamma = _bias(bias), _gamma(taps.columns * taps.size + 1)
    return Error(gamma * factor * taps.absolute, gamma * size, norm * factor, size)


class StepLike(Protocol):
    """``x - tau W^T s(W x + b)``, where ``s`` is computed with ``roundings`` roundings."""

    @property
    def weight(self) -> Tensor: ...
    @property
    def bias(self) -> Tensor | None: ...
    @property
    def tau(self) -> Fraction: ...
    @property
    def roundings(self) -> int | None: ...


def of_step(step: StepLike, norm: Fraction, growth: Fraction) -> Error | None:
    """Of a gradient step, with bounds of ``|W|`` and of its Lipschitz constant."""
    weight, tau, roundings = step.weight, step.tau, step.roundings
    if roundings is None or tau < 0 or weight.dtype != torch.float32:
        return None
    taps, beta = _Taps(weight), _bias(step.bias)
    inner = norm, beta
    first = _gamma(taps.columns * taps.size + 1)
    off = first * taps.absolute, first * beta
    off = _plus(off, _times(_gamma(roundings), _plus(inner, off)))
    second = _times(_gamma(taps.rows * taps.size) * taps.absolute, _plus(inner, off))
    off = _plus(_times(norm, off), second)
    image = _plus(_times(norm, inner), off)
    last = _times(_gamma(2), _plus((Fraction(1), Fraction(0)), _times(tau, image)))
    total = _plus(_times(tau, off), last)
    return Error(*total, growth, tau * norm * beta)


def of_blend(inner: Error | None, weight: Fraction) -> Error | None:
    """Of ``x + w (T x - x)``."""
    if inner is None:
        return None
    image = inner.growth + inner.relative, inner.shift + inner.offset
    size = _plus((1 + weight, Fraction(0)), _times(weight, image))
    total = _plus(_times(weight, (inner.relative, inner.offset)), _times(_gamma(3), size))
    return Error(*total, abs(1 - weight) + weight * inner.growth, weight * inner.shift)


def after_tiles(inner: Error | None, overlap: int) -> Error | None:
    """A pixel lies in at most ``overlap^2`` windows."""
    if inner is None:
        return None
    return Error(overlap * inner.relative, overlap * inner.offset, inner.growth, inner.shift)


class _Taps:
    """Sizes of a kernel, and the norm of the operator of absolute values by the two largest sums."""

    def __init__(self, weight: Tensor) -> None:
        self.rows, self.columns = weight.shape[:2]
        self.size = weight[0, 0].numel()
        self.absolute = Fraction(0)
        if bool((weight != 0).any()):
            whole, exponent = integers_of(weight)
            sums = abs(whole).reshape(self.rows, self.columns, -1).sum(2)
            product = int(sums.sum(0).max()) * int(sums.sum(1).max())
            self.absolute = root_up(Fraction(product)) * Fraction(2) ** exponent


def _bias(bias: Tensor | None) -> Fraction:
    entries = [] if bias is None else bias.detach().double().tolist()
    return root_up(sum((Fraction(entry) ** 2 for entry in entries), Fraction(0)))


def _times(factor: Fraction, pair: Pair) -> Pair:
    return factor * pair[0], factor * pair[1]


def _plus(one: Pair, other: Pair) -> Pair:
    return one[0] + other[0], one[1] + other[1]
