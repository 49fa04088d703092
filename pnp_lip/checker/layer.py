"""A second proof of ``||layer|| <= upper`` from a stored cover, in exact and ball arithmetic.

Independent of the prover: the Gram coefficients are exact integers, sines, cosines and every later
number are balls (Arb, through python-flint), and positive definiteness is proved by Schur
complements instead of a factorisation in floating point. What is checked, for each group:

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
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from torch import Tensor

from pnp_lip.checker.exact_gram import (
    DEGREE,
    ExactGram,
    flint_module,
    positive_definite,
    taylor_holds,
)
from pnp_lip.errors import PnpLipError

_WITNESS_BITS = 44
_PRECISION = 160
_BATCH_ENTRIES = 2**19
_TAYLOR_ORDER = 8
#: Roots of a cover, at most, as a power of two; those that are written have some thousands.
_ROOT_BITS = 24

Cell = tuple[int, ...]


class CertificateRejected(PnpLipError):
    """A stored bound does not hold up; the message says why."""


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
        _LayerCheck(gram, cover, lower).run()
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


class _LayerCheck:
    """Steps 2 to 4 of the module's docstring for one layer."""

    def __init__(self, gram: ExactGram, cover: dict[str, Any], lower: float) -> None:
        flint = flint_module()
        self.arb, self.fmpq = flint.arb, flint.fmpq
        self.gram, self.lower = gram, lower
        self.bits = [int(b) for b in cover["bits"]]
        self.unit = self.fmpq(2) ** int(cover["exponent"])
        self.square = (self.fmpq(*cover["target"].as_integer_ratio()) * self.unit) ** 2
        self.floors = [tuple(map(float, pair)) for pair in cover["floors"]]
        self.witness = [int(t) for t in cover["witness"]]
        self.cells = {
            int(level): [tuple(map(int, cell)) for cell in cells]
            for level, cells in cover["cells"].items()
        }
        axes = len(gram.size)
        if len(self.bits) != axes or any(not 2 <= b <= 40 for b in self.bits):
            raise CertificateRejected(f"expected {axes} root bits from 2 to 40, got {self.bits}")
        if sum(self.bits) > _ROOT_BITS:
            raise CertificateRejected(
                f"expected at most 2^{_ROOT_BITS} roots, got the bits {self.bits}: such a cover cannot be "
                f"checked"
            )
        if len(self.floors) != gram.groups:
            raise CertificateRejected(f"expected {gram.groups} floors, got {len(self.floors)}")
        if any(not 0 <= level <= 60 for level in self.cells):
            raise CertificateRejected("expected levels from 0 to 60")
        if any(len(c) != 1 + axes for cells in self.cells.values() for c in cells):
            raise CertificateRejected(f"expected cells with a group and {axes} coordinates")

    def run(self) -> None:
        for group in range(self.gram.groups):
            stored = {
                level: [c[1:] for c in cells if c[0] == group]
                for level, cells in self.cells.items()
            }
            self._check_cover(group, stored)
            low = self._check_floor(group)
            for level, cells in stored.items():
                self._check_cells(group, level, cells, low)
        self._check_witness()

    def _sine_squared(self, level: int) -> Any:
        """A ball around ``sin^2 r``; refuses cells larger than ``r = pi/2``."""
        turns = [
            self.fmpq(k - 1, 2) / self.fmpq(2) ** (b + level - 1)
            for k, b in zip(self.gram.size, self.bits, strict=True)
        ]
        if not turns:
            return self.arb(0)
        radius = max(turns) if len(turns) == 2 else sum(turns, self.fmpq(0))
        if radius > self.fmpq(1, 2):
            raise CertificateRejected(f"cells of level {level} are too large for the local bound")
        return self.arb(radius).sin_pi() ** 2

    def _roots(self) -> Iterable[Cell]:
        sizes = [2**b for b in self.bits]
        if len(sizes) == 2:
            return ((i, j) for i in range(sizes[0]) for j in range(i % 2, sizes[1], 2))
        return product(*(range(0, size, 2) for size in sizes))

    def _check_cover(self, group: int, stored: dict[int, list[Cell]]) -> None:
        """Step 2, by descending from every root."""
        leaves = {(level, self._reduced(level, c)) for level, cs in stored.items() for c in cs}
        deepest = max(stored, default=0)
        open_cells = [(0, root) for root in self._roots()]
        while open_cells:
            level, cell = open_cells.pop()
            mirrored = tuple(-t for t in cell)
            if (level, self._reduced(level, cell)) in leaves:
                continue
            if (level, self._reduced(level, mirrored)) in leaves:
                continue
            if level >= deepest or not self.bits:
                turns = [t / 2 ** (b + level) for t, b in zip(cell, self.bits, strict=True)]
                raise CertificateRejected(
                    f"no cell of group {group} covers the frequency 2 pi * {turns}"
                )
            open_cells += [(level + 1, child) for child in _children(cell)]

    def _reduced(self, level: int, cell: Cell) -> Cell:
        return tuple(t % 2 ** (b + level) for t, b in zip(cell, self.bits, strict=True))

    def _check_floor(self, group: int) -> Any:
        """The proved ``lo`` of a group, in the weight's units."""
        ceiling, low = (
            self.fmpq(*value.as_integer_ratio()) * self.unit**2 for value in self.floors[group]
        )
        if low == 0:
            return low
        kappa = self._sine_squared(0)
        if not (kappa < 0.5 and 0 < low < ceiling):
            raise CertificateRejected(f"the floor of group {group} is outside its theorem")
        below, above = ceiling - (ceiling - low) * kappa, low + (ceiling - low) * kappa
        half = [c for c in self._roots() if c <= self._reduced(0, tuple(-t for t in c))]
        for point, matrix in self._matrices(group, 0, half):
            if not positive_definite(matrix, below, -1):
                raise CertificateRejected(f"the ceiling of group {group} fails at {point}")
            if not positive_definite(matrix, above, 1):
                raise CertificateRejected(f"the floor of group {group} fails at {point}")
        return low

    def _check_cells(self, group: int, level: int, cells: list[Cell], low: Any) -> None:
        """Step 3."""
        if not cells:
            return
        limit = self.square - (self.square - low) * self._sine_squared(level)
        for cell, matrix in self._matrices(group, level, cells):
            if not positive_definite(matrix, limit, -1) and not self._taylor(group, level, cell):
                raise CertificateRejected(
                    f"the inequality fails on the cell {cell} of level {level}, group {group}: "
                    f"the bound is too small for this weight"
                )

    def _taylor(self, group: int, level: int, cell: Cell) -> bool:
        """The second test of step 3, for cells where ``G`` is nearly stationary."""
        if len(self.bits) not in (1, 2) or self.gram.order > _TAYLOR_ORDER:
            return False
        bits = [b + level for b in self.bits]
        r = self.arb.pi() * max(
            self.fmpq(k - 1) / self.fmpq(2) ** b for k, b in zip(self.gram.size, bits, strict=True)
        )
        rest = (2 * r) ** (DEGREE + 1) / (2 * math.factorial(DEGREE + 1))
        return taylor_holds(self.gram.derivatives(group, cell, bits), self.square * (1 - rest))

    def _matrices(self, group: int, level: int, cells: list[Cell]) -> Iterator[tuple[Cell, Any]]:
        bits = [b + level for b in self.bits]
        step = max(1, _BATCH_ENTRIES // max(self.gram.order**2, len(self.gram.lags)))
        for start in range(0, len(cells), step):
            part = cells[start : start + step]
            yield from zip(part, self.gram.at(group, part, bits), strict=True)

    def _check_witness(self) -> None:
        """Step 4: the vector is found in floating point, the quotient is a ball."""
        group, *point = self.witness
        ((_, matrix),) = zip(
            [point],
            self.gram.at(group, [tuple(point)], [_WITNESS_BITS] * len(self.bits)),
            strict=True,
        )
        quotient = self.gram.rayleigh_quotient(matrix)
        claimed = self.fmpq(*self.lower.as_integer_ratio()) ** 2
        if not quotient >= claimed:
            raise CertificateRejected(
                f"the lower bound {self.lower!r} is not attained at its stored frequency"
            )


def _children(cell: Cell) -> list[Cell]:
    doubled = [2 * t for t in cell]
    if len(cell) == 2:
        steps: Iterable[Cell] = [(1, 0), (-1, 0), (0, 1), (0, -1)]
    else:
        steps = product((1, -1), repeat=len(cell))
    return [tuple(t + s for t, s in zip(doubled, step, strict=True)) for step in steps]
