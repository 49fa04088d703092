r"""What executing a layer in floating point adds to its exact value, for every image size.

With :math:`P` the number of pixels of one image (1 for a vector), and every norm over one image,

.. math:: \|\mathrm{fl}(T(x)) - T(x)\| \le r\,\|x\| + o\,\sqrt{P}, \qquad
          \|T(x)\| \le g\,\|x\| + s\,\sqrt{P}.

Assumed: IEEE binary32 with rounding to nearest, unit roundoff :math:`u = 2^{-24}`; sums of products in
any order, with or without fused multiply-add, by algorithms that multiply each weight with each
sample (no Winograd or FFT convolution, no TF32); no underflow, no overflow.
A sum of products with at most ``n`` roundings on the path of each term is off by at most
:math:`\gamma_n = nu/(1-nu)` times the sum of absolute values (Higham 2002, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from pnp_lip.rounding import add_up, multiply_up, round_up, sqrt_up

__all__ = [
    *("EXACT", "Execution", "affine_execution", "compose_executions", "gamma32"),
    *("relaxed_execution", "sizes_of", "step_execution"),
]

_UNIT = Fraction(1, 2**24)
Sizes = tuple[float, float, tuple[int, int]]


@dataclass(frozen=True)
class Execution:
    """``|fl(T(x)) - T(x)| <= relative |x| + offset sqrt(P)`` in float32.

    Attributes
    ----------
    relative, offset
        the error.
    growth, shift
        ``|T(x)| <= growth |x| + shift sqrt(P)``.
    """

    relative: float
    offset: float
    growth: float
    shift: float

    def error(self, norm: float, pixels: int) -> float:
        """The bound for an input of norm ``norm`` with ``pixels`` pixels."""
        return self.relative * norm + self.offset * math.sqrt(pixels)


#: Of a map with ``|T(x)| <= |x|`` that is computed without rounding.
EXACT = Execution(0.0, 0.0, 1.0, 0.0)


def gamma32(operations: int) -> float:
    """At least ``n u / (1 - n u)`` for ``u = 2^-24``; infinite where this says nothing."""
    share = operations * _UNIT
    return round_up(share / (1 - share)) if share < 1 else math.inf


def compose_executions(parts: Sequence[tuple[float, Execution | None]]) -> Execution | None:
    r"""Of a chain of maps, given with their Lipschitz constants :math:`L`, the first applied first.

    The error of :math:`T_2\circ T_1` is at most :math:`L_2 e_1 + r_2(\|T_1x\| + e_1) + o_2\sqrt P`.
    """
    total = EXACT
    for lipschitz, part in parts:
        if part is None:
            return None
        wrong, exact = (total.relative, total.offset), (total.growth, total.shift)
        own = _sum(_times(part.relative, _sum(exact, wrong)), (0.0, part.offset))
        error = _sum(_times(lipschitz, wrong), own)
        total = Execution(*error, *_sum(_times(part.growth, exact), (0.0, part.shift)))
    return total if all(map(math.isfinite, vars(total).values())) else None


def step_execution(
    *, norm: float, sizes: Sizes, tau: float, growth: float, roundings: int
) -> Execution:
    r"""Of :math:`x - \tau W^\top\sigma(Wx+b)` with :math:`\sigma(0) = 0` and slopes in [0, 1].

    1. :math:`\hat r = \mathrm{fl}(Wx+b)` is off by :math:`\gamma_{n_1+1}(\||W|\|\,\|x\| + \|b\|\sqrt P)`,
       because an entrywise bound by :math:`|W||x| + |b|` is one in norm.
    2. :math:`\hat z = \mathrm{fl}(\sigma(\hat r))` is off by that plus :math:`\gamma_a\|\hat r\|`.
    3. :math:`\hat v = \mathrm{fl}(W^\top\hat z)` is off by :math:`\|W\|` times that, plus
       :math:`\gamma_{n_2}\||W|\|\,\|\hat z\|`.
    4. The product with :math:`\tau` and the difference: :math:`\tau` times that, plus
       :math:`\gamma_2(\|x\| + \tau\|\hat v\|)`.

    Every quantity is affine in :math:`(\|x\|, \sqrt P)`; the code carries the two coefficients.

    Parameters
    ----------
    norm
        bound of :math:`\|W\|`.
    sizes
        see :func:`sizes_of`; :math:`(n_1, n_2)`, the roundings on a path through ``W`` and through its
        transpose, are the last.
    tau
        step length, nonnegative.
    growth
        bound of the Lipschitz constant of the step.
    roundings
        :math:`a`, those of the activation.
    """
    absolute, bias, terms = sizes
    exact_r = (norm, bias)
    wrong_r = _times(gamma32(terms[0] + 1), (absolute, bias))
    rough_r = _sum(exact_r, wrong_r)
    wrong_z = _sum(wrong_r, _times(gamma32(roundings), rough_r))
    rough_z = _sum(exact_r, wrong_z)
    wrong_v = _sum(_times(norm, wrong_z), _times(gamma32(terms[1]), _times(absolute, rough_z)))
    rough_v = _sum(_times(norm, exact_r), wrong_v)
    total = _sum(_times(tau, wrong_v), _times(gamma32(2), _sum((1.0, 0.0), _times(tau, rough_v))))
    return Execution(*total, growth, multiply_up(tau, multiply_up(norm, bias)))


def affine_execution(norm: float, sizes: Sizes, factor: float = 1.0) -> Execution:
    r"""Execution of :math:`Wx + b`, onto no more pixels than ``x`` has.

    It is off by :math:`\gamma_{n+1}(\||W|\|\,\|x\| + \|b\|\sqrt P)` for sums of ``n`` products.

    Parameters
    ----------
    norm
        bound of the norm of ``W``.
    sizes
        see :func:`sizes_of`.
    factor
        bound of what is done to ``x`` before, such as padding.
    """
    absolute, bias, (terms, _) = sizes
    error = _times(gamma32(terms + 1), (multiply_up(factor, absolute), bias))
    return Execution(*error, norm, bias)


def relaxed_execution(inner: Execution | None, weight: float) -> Execution | None:
    r"""Execution of :math:`x + \lambda(D(x) - x)`.

    Three roundings of :math:`\|x\| + \lambda(\|\hat D(x)\| + \|x\|)`.
    """
    if inner is None:
        return None
    image = (add_up(inner.growth, inner.relative), add_up(inner.shift, inner.offset))
    size = _sum((add_up(1.0, weight), 0.0), _times(weight, image))
    total = _sum(_times(weight, (inner.relative, inner.offset)), _times(gamma32(3), size))
    growth = round_up(abs(1 - Fraction(weight)) + Fraction(weight) * Fraction(inner.growth))
    return Execution(*total, growth, multiply_up(weight, inner.shift))


def sizes_of(weight: Tensor, bias: Tensor | None) -> Sizes:
    r"""At least :math:`\||W|\|` and :math:`\|b\|` over the channels; products in an entry of Wx and W'z.

    :math:`|\hat w_{ij}(\omega)| \le \sum_a |w_{ij}(a)|`, and :math:`\|A\|^2 \le \|A\|_1\|A\|_\infty`.
    """
    rows, columns, *_ = weight.shape
    sums = weight.detach().double().reshape(rows, columns, -1).abs().sum(2)
    taps = weight[0, 0].numel()
    slack = 1 + Fraction(1, 2**30)  # float64 sums of fewer than 2**20 terms
    largest = Fraction(float(sums.sum(0).max())) * Fraction(float(sums.sum(1).max()))
    entries = [] if bias is None else bias.detach().tolist()
    squares = sum((Fraction(entry) ** 2 for entry in entries), Fraction(0))
    return sqrt_up(largest * slack), sqrt_up(squares), (columns * taps, rows * taps)


_Pair = tuple[float, float]


def _times(factor: float, pair: _Pair) -> _Pair:
    return multiply_up(factor, pair[0]), multiply_up(factor, pair[1])


def _sum(a: _Pair, b: _Pair) -> _Pair:
    return add_up(a[0], b[0]), add_up(a[1], b[1])
