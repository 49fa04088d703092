"""What a node of a graph is: dependent on the image or known, and what is proved of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import statically_known_true

from pnp_lip.certifier.statement import Statement

__all__ = [
    *("JUMPING", "Atom", "Dependent", "Known", "Linear", "Spectrum", "Terms"),
    *("is_equal", "named", "shape_of", "size_of", "whole_factor"),
]

#: A value that depends on the image and jumps, such as the place of a maximum.
JUMPING = object()

Terms = dict[str, Fraction]
Spectrum = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Dependent:
    """A tensor that depends on the image.

    Attributes
    ----------
    terms
        the combination of atoms.
    size
        its shape, with symbols.
    exact
        nothing was added or rounded since the last cut, except where a statement says so.
    """

    terms: Terms
    size: tuple[Any, ...]
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Known:
    """A value that does not depend on the image: a tensor or a number, ``None`` where unknown.

    Attributes
    ----------
    value
        the value, or the one number of which a tensor consists.
    size
        shape of a tensor.
    """

    value: Any = None
    size: tuple[Any, ...] = ()

    def number(self) -> Fraction | None:
        """As one finite number."""
        value = self.value
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        real = isinstance(value, (int, float)) and not isinstance(value, bool)
        return Fraction(value) if real and math.isfinite(value) else None


@dataclass(frozen=True)
class Linear:
    """An atom ``W x + b``, or a scalar nonlinearity of one.

    Attributes
    ----------
    written
        what a transposed operator must agree with to be its adjoint: padding, other arguments,
        and the weight.
    source
        the atom that ``x`` is, empty for a combination.
    norm
        of ``W``.
    slopes
        of the nonlinearity.
    """

    written: tuple[Any, dict[str, Any], Tensor]
    source: str
    norm: float
    slopes: Spectrum | None = None


@dataclass(frozen=True)
class Atom:
    """What is proved of one tensor, as a map of the last cut.

    Attributes
    ----------
    statement
        its bound.
    spectrum
        of its symmetric mean matrix, if it has one.
    origin
        how it came about, where that matters to another operator.
    """

    statement: Statement
    spectrum: Spectrum | None = None
    origin: Linear | None = None


def size_of(node: fx.Node) -> tuple[Any, ...]:
    """The shape of a node's tensor, of the first of several, from the exporter."""
    value = node.meta.get("val")
    return shape_of(value[0] if isinstance(value, (tuple, list)) else value)


def shape_of(value: Any) -> tuple[Any, ...]:
    """Of a tensor; empty for what is none."""
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def is_equal(one: Any, other: Any) -> bool:
    """Whether two sizes are equal for every image that meets the conditions."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return bool(statically_known_true(one == other))


def named(names: str) -> tuple[Any, ...]:
    """Several operators in one text; the overload is ``default`` where none is named."""
    pairs = [name.partition(".") for name in names.split()]
    return tuple(getattr(getattr(torch.ops.aten, a), b or "default") for a, _, b in pairs)


def whole_factor(source: Any, target: Any) -> Fraction | None:
    """``f`` or ``1/f`` where the target is so many times the source for every image; up to 32."""
    if isinstance(source, int) and isinstance(target, int):
        found = Fraction(target, source)
        return found if 1 in found.as_integer_ratio() else None
    for factor in range(1, 33):
        if is_equal(target, factor * source):
            return Fraction(factor)
        if is_equal(source, factor * target):
            return Fraction(1, factor)
    return None
