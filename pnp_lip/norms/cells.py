"""Cells of the half torus: dyadic centres ``2 pi t / 2^bits``, one shape for each number of axes.

A cell's radius is ``r = sup (d_1 |delta_1| + ... + d_n |delta_n|)`` over the cell, ``d`` the
half-degrees. Let ``h_i = 2 pi / 2^bits_i``.

* Two axes: the diamond ``|delta_1| / h_1 + |delta_2| / h_2 <= 1``, centres with ``t_1 + t_2`` even,
  ``r = max d_i h_i``. It splits into the four diamonds of half the size centred at
  ``2 t +- e_i``. (Twice the area of the square with the same radius.)
* One or three axes: the box ``|delta_i| <= h_i``, centres with every ``t_i`` even,
  ``r = sum d_i h_i``, split into ``2^n`` boxes centred at ``2 t + (+-1, ..., +-1)``.
* No axis: the single point.

The roots tile the torus, a set invariant under ``omega -> -omega`` as each cell's shape is; the
singular values of a real kernel are too, so one of each pair ``+-t`` is enough.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from pnp_lip.rounding import round_up

PI_UP = Fraction(3141592653589793238463, 10**21)


def root_bits(half_degrees: tuple[float, ...]) -> tuple[int, ...]:
    """Bits per axis at which a root's radius is about 0.4 (0.6 on three axes)."""
    wanted = 0.2 if len(half_degrees) == 3 else 0.4
    return tuple(max(3, math.ceil(math.log2(2 * math.pi * d / wanted))) for d in half_degrees)


def roots(bits: tuple[int, ...]) -> Tensor:
    """The centres ``[n, axes]`` (int64) of root cells that cover half of the torus."""
    if not bits:
        return torch.zeros(1, 0, dtype=torch.int64)
    sizes = [2**b for b in bits]
    if len(bits) == 2:
        centres = torch.cartesian_prod(*(torch.arange(size) for size in sizes))
        centres = centres[centres.sum(1) % 2 == 0]
    else:
        centres = torch.cartesian_prod(*(torch.arange(0, size, 2) for size in sizes))
        centres = centres.view(-1, len(bits))
    keys = torch.zeros(len(centres), dtype=torch.int64)
    mirrored = torch.zeros(len(centres), dtype=torch.int64)
    for axis, size in enumerate(sizes):
        keys = keys * size + centres[:, axis]
        mirrored = mirrored * size + (-centres[:, axis]) % size
    return centres[keys <= mirrored]


def children(cells: Tensor, bits: tuple[int, ...]) -> Tensor:
    """The cells ``[n, 1 + axes]``, group and centre, that split the given ones of ``bits``.

    They live at one more bit per axis. A cell that is its own mirror image has children that mirror
    each other: half of them are enough.
    """
    axes = len(bits)
    steps: list[tuple[int, ...]] = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    if axes != 2:
        steps = list(product((1, -1), repeat=axes))  # the second half mirrors the first
    centres = 2 * cells[:, None, 1:] + torch.tensor(steps)
    group = cells[:, None, :1].expand(-1, len(steps), 1)
    period = torch.tensor([2 ** (b - 1) for b in bits])
    symmetric = (cells[:, 1:] % period == 0).all(1)
    keep = ~symmetric[:, None] | (torch.arange(len(steps)) < len(steps) // 2)
    return torch.cat([group, centres], 2)[keep]


def radius(half_degrees: tuple[float, ...], bits: tuple[int, ...]) -> Fraction:
    """An upper bound of a cell's radius, exact but for ``pi``."""
    parts = [Fraction(d) * 2 * PI_UP / 2**b for d, b in zip(half_degrees, bits, strict=True)]
    if not parts:
        return Fraction(0)
    return max(parts) if len(parts) == 2 else sum(parts, Fraction(0))


def sine_squared(r: Fraction) -> Fraction:
    """An upper bound of ``sin^2 r``; 1 where ``r > pi/2``, when the local bound says nothing.

    ``sin r <= r - r^3/3! + r^5/5! - r^7/7! + r^9/9!``: the terms decrease for ``r <= pi/2``.
    """
    if r > PI_UP / 2:
        return Fraction(1)
    series = sum(
        ((-1) ** j * r ** (2 * j + 1) / math.factorial(2 * j + 1) for j in range(5)), Fraction(0)
    )
    return min(Fraction(1), Fraction(round_up(series**2)))
