r"""The cells of a stored cover, gone through again: steps 2 to 4 of :mod:`pnp_lip.checker.layer`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from pnp_lip.checker.balls import flint_module, positive_definite, taylor_holds
from pnp_lip.checker.exact_gram import DEGREE, ExactGram
from pnp_lip.checker.floating import FloatGram
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["CoverCheck"]

_WITNESS_BITS = 44
_BATCH_ENTRIES = 2**19
_TAYLOR_ORDER = 8
#: Bits of frequencies whose phases are machine integers.
_FLOAT_BITS = 60
#: Roots of a cover, at most, as a power of two; those that are written have some thousands.
_ROOT_BITS = 24

Cell = tuple[int, ...]


class CoverCheck:
    """Steps 2 to 4 for one layer."""

    def __init__(self, gram: ExactGram, cover: dict[str, Any], lower: float) -> None:
        flint = flint_module()
        self.arb, self.fmpq = flint.arb, flint.fmpq
        self.gram, self.lower = gram, lower
        self.bits = [int(b) for b in cover["bits"]]
        self.unit = self.fmpq(2) ** int(cover["exponent"])
        self.square = (self.fmpq(*cover["target"].as_integer_ratio()) * self.unit) ** 2
        self.exponent = int(self.square.p).bit_length() - int(self.square.q).bit_length()
        self.floats: dict[int, FloatGram] = {}
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
        for name, shift, sign in (("ceiling", below, -1), ("floor", above, 1)):
            left = self._undecided(group, 0, half, shift, sign)
            for point, matrix in self._matrices(group, 0, left):
                if not positive_definite(matrix, shift, sign):
                    raise CertificateRejected(f"the {name} of group {group} fails at {point}")
        return low

    def _check_cells(self, group: int, level: int, cells: list[Cell], low: Any) -> None:
        """Step 3."""
        if not cells:
            return
        limit = self.square - (self.square - low) * self._sine_squared(level)
        left = self._undecided(group, level, cells, limit, -1)
        for cell, matrix in self._matrices(group, level, left):
            if not positive_definite(matrix, limit, -1) and not self._taylor(group, level, cell):
                raise CertificateRejected(
                    f"the inequality fails on the cell {cell} of level {level}, group {group}: "
                    f"the bound is too small for this weight"
                )

    def _undecided(
        self, group: int, level: int, cells: list[Cell], shift: Any, sign: int
    ) -> list[Cell]:
        """The cells of which floating point does not prove ``sign (G - shift I) > 0``."""
        bits = [b + level for b in self.bits]
        if max(bits, default=0) > _FLOAT_BITS:
            return cells
        if group not in self.floats:
            parts = self.gram.symmetric[group], self.gram.antisymmetric[group]
            self.floats[group] = FloatGram(*parts, self.gram.order, self.exponent)
        proved = self.floats[group].definite(*self.gram.floats(cells, bits), shift, sign)
        return [cell for cell, one in zip(cells, proved.tolist(), strict=True) if not one]

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
