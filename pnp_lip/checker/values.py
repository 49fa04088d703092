"""What a node of a graph is, for the walk that checks it again."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import statically_known_true

from pnp_lip.checker.composition import Claim
from pnp_lip.checker.execution import Error
from pnp_lip.checker.found import UNKNOWN

__all__ = [
    *("JUMP", "Atom", "Constant", "Value"),
    *("depends", "equal_sizes", "plain_value", "shape_of", "sides_of"),
]

#: A value that jumps with the image, such as the place of a maximum.
JUMP = object()


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the image: a combination of atoms; ``exact`` if nothing was rounded."""

    terms: dict[str, Fraction]
    shape: tuple[Any, ...]
    exact: bool = True

    def times(self, factor: Fraction) -> Value:
        return Value({k: factor * c for k, c in self.terms.items()}, self.shape, self.exact)


@dataclass(frozen=True, eq=False)
class Constant:
    """What does not depend on the image; :data:`UNKNOWN` where it depends on sizes or the level."""

    value: Any
    shape: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Atom:
    """The result of an operator as a map of the last cut.

    Attributes
    ----------
    claim, error
        of it.
    spectrum
        of its symmetric mean matrix, if it has one.
    origin
        what an adjoint operator must know.
    """

    claim: Claim
    spectrum: tuple[Fraction, Fraction] | None = None
    error: Error | None = None
    origin: Any = None


def depends(value: Any) -> bool:
    """Whether it depends on the image."""
    if isinstance(value, (list, tuple)):
        return any(map(depends, value))
    return isinstance(value, Value)


def equal_sizes(one: Any, other: Any) -> bool:
    """For every image that meets the conditions."""
    return bool(statically_known_true(one == other))


def shape_of(node: fx.Node) -> tuple[Any, ...]:
    """Of its tensor, the first of several, with symbols; empty for what is none."""
    value = node.meta.get("val")
    return sides_of(value[0] if isinstance(value, (list, tuple)) else value)


def sides_of(value: Any) -> tuple[Any, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def plain_value(value: Any) -> Any:
    if isinstance(value, list):
        return [plain_value(one) for one in value]
    if not isinstance(value, Constant):
        return value
    if value.value is UNKNOWN:
        raise ValueError("not known")
    return value.value
