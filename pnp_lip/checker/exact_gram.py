"""``G(omega) = sum_a C_a exp(i a.omega)`` with ``C_a = sum_b K_b^T K_(b+a)`` exact, ``G`` in balls.

Floats are integers times a power of two, so the coefficients are integer matrices. Frequencies are
rational parts of a turn. Written for checking: nothing here is shared with the prover.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.checker.balls import flint_module, middle

__all__ = ["DEGREE", "ExactGram", "integers_of"]

#: Degree of the Taylor models of cells that the local bound alone does not settle.
DEGREE = 5


@dataclass(frozen=True)
class ExactGram:
    """The polynomial of one layer: unit stride, no dilation, the smaller channel side.

    Attributes
    ----------
    groups
        how many.
    order
        ``m``, the side of ``G``.
    size
        taps per axis, after the stride, where more than one.
    lags
        half of the lags, zero first.
    symmetric
        per group ``[F, m * m]``: ``C_0`` and ``C_a + C_a^T``.
    antisymmetric
        per group ``[F, m * m]``: zero and ``C_a - C_a^T``.
    """

    groups: int
    order: int
    size: tuple[int, ...]
    lags: list[tuple[int, ...]]
    symmetric: list[Any] = field(repr=False)
    antisymmetric: list[Any] = field(repr=False)

    @classmethod
    def of(
        cls,
        weight: Tensor,
        stride: int | tuple[int, ...],
        dilation: int | tuple[int, ...],
        groups: int,
    ) -> ExactGram:
        """The exact coefficients of a weight in torch's layout."""
        flint = flint_module()
        integers, exponent = integers_of(weight)
        steps = _reduced_steps(weight.ndim - 2, stride, dilation)
        unit = flint.arb(flint.fmpq(2) ** (2 * exponent))
        symmetric: list[Any] = []
        antisymmetric: list[Any] = []
        for part in np.split(integers, groups):
            taps, size = _phases(part, steps)
            gram, order = _correlation(taps)
            lags = [a for a in product(*(range(-k + 1, k) for k in size)) if a >= (0,) * len(size)]
            zero = flint.fmpz_mat(order, order)
            even, odd = [], []
            for lag in lags:
                c = gram.get(lag, zero)
                first = not any(lag)
                even += (c if first else c + c.transpose()).entries()
                odd += (zero if first else c - c.transpose()).entries()
            for rows, kept in ((even, symmetric), (odd, antisymmetric)):
                exact = flint.fmpz_mat(len(lags), order * order, rows)
                kept.append(flint.arb_mat(exact) * unit)
        return cls(groups, order, size, lags, symmetric, antisymmetric)

    def at(self, group: int, points: list[tuple[int, ...]], bits: list[int]) -> list[Any]:
        """``G`` at ``omega = 2 pi t / 2^bits`` for each point ``t``, as ball matrices."""
        waves = [wave for point in points for wave in self._waves(point, bits)]
        sines, cosines = [s for s, _ in waves], [c for _, c in waves]
        return self._combined(group, len(points), cosines, sines)

    def floats(
        self, points: list[tuple[int, ...]], bits: list[int]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Cosines and sines of ``a.omega`` in float64, ``[N, F]``, off by less than two roundings of 1."""
        finest, precision = max(bits, default=0), flint_module().ctx.prec
        turns = [
            [t % 2**b << (finest - b) for t, b in zip(point, bits, strict=True)] for point in points
        ]
        lags = np.array(self.lags, dtype=object).reshape(len(self.lags), -1)
        phases = np.array(turns, dtype=object).reshape(len(points), -1) @ lags.T % 2**finest
        found, places = np.unique(phases.astype(np.int64), return_inverse=True)
        waves = (_root_of_unity(phase, finest, precision) for phase in found.tolist())
        table = np.array([[float(c.mid()), float(s.mid())] for s, c in waves])
        cosines, sines = (table[places, i].reshape(phases.shape) for i in (0, 1))
        return cosines, sines

    def derivatives(self, group: int, point: tuple[int, ...], bits: list[int]) -> list[list[Any]]:
        """``h^a d^a G`` with ``h_i = 2 pi / 2^bits_i``, by ``|a| = 0, 1, .., 5``."""
        flint = flint_module()
        waves = self._waves(point, bits)
        steps = [flint.arb.pi() * 2 / 2**b for b in bits]
        # Re and Im of i^j (cos + i sin).
        turned = [
            [(c, s) for s, c in waves],
            [(-s, c) for s, c in waves],
            [(-c, -s) for s, c in waves],
            [(s, -c) for s, c in waves],
        ]
        result = []
        for j in range(DEGREE + 1):
            orders = [a for a in product(range(j + 1), repeat=len(bits)) if sum(a) == j]
            real, imaginary = [], []
            for a in orders:
                scale = math.prod((h**n for h, n in zip(steps, a, strict=True)), start=flint.arb(1))
                for lag, (re, im) in zip(self.lags, turned[j % 4], strict=True):
                    power = scale * math.prod(t**n for t, n in zip(lag, a, strict=True))
                    real.append(re * power)
                    imaginary.append(im * power)
            result.append(self._combined(group, len(orders), real, imaginary))
        return result

    def _waves(self, point: tuple[int, ...], bits: list[int]) -> list[tuple[Any, Any]]:
        """Sine and cosine of ``a.omega`` for every lag."""
        finest, precision = max(bits, default=0), flint_module().ctx.prec
        turns = [t << (finest - b) for t, b in zip(point, bits, strict=True)]
        phases = (sum(a * t for a, t in zip(lag, turns, strict=True)) for lag in self.lags)
        return [_root_of_unity(phase % 2**finest, finest, precision) for phase in phases]

    def _combined(self, group: int, count: int, real: list[Any], imaginary: list[Any]) -> list[Any]:
        """``sum_a real_a S_a + i imaginary_a T_a`` for ``count`` rows of coefficients."""
        flint, m, square = flint_module(), self.order, self.order**2
        shape = (count, len(self.lags))
        re = (flint.arb_mat(*shape, real) * self.symmetric[group]).entries()
        im = (flint.arb_mat(*shape, imaginary) * self.antisymmetric[group]).entries()
        return [
            flint.acb_mat(m, m, list(map(flint.acb, re[i : i + square], im[i : i + square])))
            for i in range(0, len(re), square)
        ]

    def rayleigh_quotient(self, matrix: Any) -> Any:
        """``v* G v / v* v`` in balls, ``v`` being nearly the leading eigenvector."""
        flint = flint_module()
        trace = sum((matrix[i, i].real for i in range(self.order)), flint.arb(0))
        centre = middle(matrix, trace)
        top = np.linalg.eigh(centre)[1][:, -1]
        v = flint.acb_mat(self.order, 1, [flint.acb(z.real, z.imag) for z in top.tolist()])
        adjoint = v.conjugate().transpose()
        return (adjoint * matrix * v)[0, 0].real / (adjoint * v)[0, 0].real


@lru_cache(maxsize=2**18)
def _root_of_unity(phase: int, bits: int, precision: int) -> tuple[Any, Any]:
    """Balls around the sine and cosine of ``2 pi phase / 2^bits``."""
    flint = flint_module()
    angle = flint.arb(flint.fmpq(phase, 2**bits) * 2)
    return angle.sin_pi(), angle.cos_pi()


def integers_of(weight: Tensor) -> tuple[Any, int]:
    """An object array of integers ``n`` and ``e`` with ``weight = n 2^e``."""
    values = weight.detach().to("cpu").double().numpy()
    mantissas, exponents = np.frexp(values)
    whole = np.ldexp(mantissas, 53).astype(np.int64).astype(object)
    least = int(exponents[values != 0].min())
    shifts = np.where(values != 0, exponents - least, 0).astype(object)
    return whole << shifts, least - 53


def _reduced_steps(
    axes: int, stride: int | tuple[int, ...], dilation: int | tuple[int, ...]
) -> list[int]:
    """``s / gcd(s, D)`` per axis: only these phases of the input meet in one output."""
    strides, dilations = (
        (value,) * axes if isinstance(value, int) else tuple(value) for value in (stride, dilation)
    )
    return [s // math.gcd(s, d) for s, d in zip(strides, dilations, strict=True)]


def _phases(weight: Any, steps: list[int]) -> tuple[dict[tuple[int, ...], Any], tuple[int, ...]]:
    """The unit-stride taps of one group ``[rows, columns, *kernel]``, and their number per axis."""
    flint = flint_module()
    rows, columns, *kernel = weight.shape
    sizes = [-(-k // s) for k, s in zip(kernel, steps, strict=True)]
    axes = [i for i, size in enumerate(sizes) if size > 1]
    wide: dict[tuple[int, ...], Any] = {}
    for tap in product(*(range(k) for k in kernel)):
        place = tuple(tap[i] // steps[i] for i in axes)
        phase = 0
        for t, s in zip(tap, steps, strict=True):
            phase = phase * s + t % s
        block = wide.setdefault(place, np.zeros((rows, math.prod(steps), columns), dtype=object))
        block[:, phase] = weight[(slice(None), slice(None), *tap)]
    taps = {}
    for place, block in wide.items():
        flat = block.reshape(rows, -1)
        tall = flat if flat.shape[0] >= flat.shape[1] else flat.T
        taps[place] = flint.fmpz_mat(*tall.shape, tall.reshape(-1).tolist())
    return taps, tuple(sizes[i] for i in axes)


def _correlation(taps: dict[tuple[int, ...], Any]) -> tuple[dict[tuple[int, ...], Any], int]:
    """``C_a`` for the lags ``a >= 0`` in lexicographic order, and the side ``m``."""
    gram: dict[tuple[int, ...], Any] = {}
    order = next(iter(taps.values())).ncols()
    for low, first in taps.items():
        adjoint = first.transpose()
        for high, second in taps.items():
            if high >= low:
                lag = tuple(h - l for h, l in zip(high, low, strict=True))
                term = adjoint * second
                gram[lag] = gram[lag] + term if lag in gram else term
    return gram, order
