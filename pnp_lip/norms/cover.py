"""What a bound rests on, as plain numbers: enough for somebody else to prove it again.

The claim of a cover: every cell ``c`` of radius ``r`` satisfies

    lambda_max(G(c)) < s^2 - (s^2 - lo) sin^2 r

or the Taylor test of ``taylor``, with ``s`` the target and ``lo`` a lower bound of
``lambda_min(G)`` over all frequencies (0, or proved by the floor below). Then ``sup ||P|| < s``,
because no cell can hold a maximiser ``omega*`` of norm ``M >= s``. For the first test: along a
line through ``omega*``, ``v* G v - (M^2 + lo)/2`` is a real trigonometric polynomial of exponential
type ``2 r`` per unit, bounded by ``(M^2 - lo)/2`` and reaching it at ``omega*``, so it is at least
``cos(2 r)`` times that at ``c`` (Riesz 1914; Duffin and Schaeffer 1938). If ``M >= s``, then
``lambda_max(G(c)) >= M^2 cos^2 r + lo sin^2 r >= s^2 cos^2 r + lo sin^2 r``: a contradiction.

The claim of a floor ``(t, lo)``: every *root* cell has, with ``sin^2 r < 1/2``,

    lambda_max(G(c)) < t - (t - lo) sin^2 r,    lambda_min(G(c)) > lo + (t - lo) sin^2 r.

Then ``M^2 < t`` and ``lo < inf lambda_min``: let ``a = M^2 - t``, ``b = lo - inf lambda_min``. The
argument above, for the maximum and the minimum, gives ``a < (a + b) sin^2 r`` and
``b < (a + b) sin^2 r``, so ``a + b < 2 (a + b) sin^2 r``, hence ``a + b < 0``, then ``a, b < 0``.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.rounding import round_up

FORMAT = 1


@dataclass(frozen=True)
class Cover:
    """The cells behind an upper bound ``target * 2^exponent``; angles are ``2 pi t / 2^bits``.

    Attributes
    ----------
    target
        ``s``, for the kernel divided by ``2^exponent``.
    exponent
        of the scaling that brings the largest tap into [1/2, 1).
    bits
        ``log2`` of the root denominators, one per axis on which the kernel extends.
    floors
        ``(t, lo)`` per group, (0, 0) where the plain test was enough.
    cells
        level to cells ``(group, t_1, ..., t_n)``; at level ``l`` the bits grow by ``l``.
    witness
        ``(group, t_1, ..., t_n)`` of a frequency ``2 pi t / 2^44`` that attains the lower
        bound.
    weight_digest
        SHA-256 of the weight, see `weight_digest`.
    """

    target: float
    exponent: int
    bits: tuple[int, ...]
    floors: tuple[tuple[float, float], ...]
    cells: dict[int, list[tuple[int, ...]]]
    witness: tuple[int, ...]
    weight_digest: str

    @property
    def upper(self) -> float:
        """``target * 2^exponent``, exact unless it leaves the normal range, then rounded up."""
        return scale_up(self.target, self.exponent)

    def __len__(self) -> int:
        return sum(len(cells) for cells in self.cells.values())

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, ints, floats and strings."""
        return {
            "format": FORMAT,
            "target": self.target,
            "exponent": self.exponent,
            "bits": list(self.bits),
            "floors": [list(pair) for pair in self.floors],
            "cells": {str(level): [list(c) for c in cells] for level, cells in self.cells.items()},
            "witness": list(self.witness),
            "weight_digest": self.weight_digest,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Cover:
        """The inverse of `to_json`.

        Raises
        ------
        ValueError
            the data are of another format, or incomplete.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"Cover: expected format {FORMAT}, got {data.get('format')!r}")
        try:
            return cls(
                float(data["target"]),
                int(data["exponent"]),
                tuple(data["bits"]),
                tuple((float(t), float(lo)) for t, lo in data["floors"]),
                {int(level): [tuple(c) for c in cells] for level, cells in data["cells"].items()},
                tuple(data["witness"]),
                str(data["weight_digest"]),
            )
        except KeyError as missing:
            raise ValueError(f"Cover: expected an entry {missing}, got none") from missing


@dataclass(frozen=True)
class NormBound:
    """``lower <= ||layer|| <= upper``, the second for every image size.

    Attributes
    ----------
    upper
        proved, rounding included.
    lower
        attained by a Rayleigh quotient at one frequency, rounded down.
    rule
        what proved ``upper``.
    cover
        the proof; None for a zero weight.
    """

    upper: float
    lower: float
    rule: str
    cover: Cover | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a certificate."""
        cover = None if self.cover is None else self.cover.to_json()
        return {"upper": self.upper, "lower": self.lower, "rule": self.rule, "cover": cover}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> NormBound:
        """The inverse of `to_json`."""
        cover = None if data["cover"] is None else Cover.from_json(data["cover"])
        return cls(float(data["upper"]), float(data["lower"]), str(data["rule"]), cover)


def scale_up(value: float, exponent: int) -> float:
    """``value * 2^exponent``, rounded up where it is not exact."""
    try:
        scaled = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    exact = Fraction(value) * Fraction(2) ** exponent
    return scaled if Fraction(scaled) >= exact else round_up(exact)


def weight_digest(weight: Tensor) -> str:
    """SHA-256 of ``"AxBx..."`` (the shape) and the entries as little-endian float64, row by row."""
    exact = weight.detach().to("cpu", torch.float64).contiguous()
    shape = "x".join(map(str, weight.shape))
    return hashlib.sha256(shape.encode() + exact.numpy().astype("<f8").tobytes()).hexdigest()
