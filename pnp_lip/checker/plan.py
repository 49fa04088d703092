"""What a network is made of, as far as theorems go: layers, chains of them, and what wraps them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

__all__ = [*("Chain", "Entrywise", "Exportable", "Plan", "Planes", "Relaxation", "Step", "Windows")]


@dataclass(frozen=True)
class Step:
    """A gradient step with slopes in [0, 1]; ``roundings`` of its activation, ``None`` if unknown."""

    name: str
    weight: Tensor
    bias: Tensor | None
    tau: Fraction
    roundings: int | None


@dataclass(frozen=True)
class Entrywise:
    """A scalar map with slopes in [low, high]."""

    name: str
    low: Fraction
    high: Fraction
    exact: bool = False


@dataclass(frozen=True)
class Chain:
    """Parts in order, the first applied first."""

    parts: tuple[Plan, ...]


@dataclass(frozen=True)
class Relaxation:
    """``(1 - w) I + w T`` for each ``w`` of ``weights``."""

    part: Plan
    weights: tuple[Fraction, ...]


@dataclass(frozen=True)
class Windows:
    """A part that is computed in tiles, the same function; ``overlap`` windows lie over a pixel."""

    part: Plan
    overlap: int


@dataclass(frozen=True)
class Planes:
    """A part on the planes of a volume in three directions, and a convex combination of the three."""

    part: Plan


@dataclass(frozen=True)
class Exportable:
    """A part of a class that has no theorem here."""

    name: str
    module: nn.Module


Plan = Step | Entrywise | Chain | Relaxation | Windows | Planes | Exportable
