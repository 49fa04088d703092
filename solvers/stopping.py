"""When a run ends, how it can end, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.solvers.growth import Growth

__all__ = ["Iteration", "Status", "StoppingRule"]


class Status(Enum):
    """How an iteration ended; the value is the sentence shown to the user."""

    CONVERGED = "the fixed-point residual fell below the tolerance"
    MAX_ITERATIONS = "the iterations ran out before the residual fell below the tolerance"
    NO_FIXED_POINT = (
        "the iterations ran out and the step lengths level off at a positive constant, as they do "
        "where the map has no fixed point (slow convergence can look the same)"
    )
    EXPANSION = "the map is proved not to be nonexpansive: it moves two of the iterates apart"
    NON_FINITE = "the iterates became infinite or NaN"


@dataclass(frozen=True)
class StoppingRule:
    """When the loop ends, and what is known before it starts.

    Attributes
    ----------
    max_iter
        most applications of the map.
    tol
        largest relative residual, for every image of the batch.
    stop_on_growth
        end at the first proved growth instead of recording it only.
    scale
        ``c`` of the residual, in (0, 1].
    exists
        whether a fixed point is known to exist.
    """

    max_iter: int
    tol: float
    stop_on_growth: bool = True
    scale: float = 1.0
    exists: bool = False

    def __post_init__(self) -> None:
        if self.max_iter < 1:
            raise InputError(f"max_iter must be at least 1, got {self.max_iter}")
        if not self.tol >= 0:
            raise InputError(f"tol must be a number >= 0, got {self.tol}")
        if not 0 < self.scale <= 1:
            raise InputError(f"scale must lie in (0, 1], got {self.scale}")


@dataclass(frozen=True)
class Iteration:
    """What the loop returns.

    Attributes
    ----------
    w
        for every image ``T`` of its last iterate, or its last finite iterate, ``[B, ...]``.
    status
        how it ended, the worst of the images.
    statuses
        how every image ended.
    iterations
        applications of the map with a finite result.
    steps
        those that every image took until it ended.
    residuals
        relative residuals ``[iterations, B]``; of an image that has ended, its last.
    lengths
        ``|T(w) - w|`` of the last iterate ``[B]``.
    growth
        two iterates that moved apart, if there were any.
    """

    w: Tensor
    status: Status
    statuses: tuple[Status, ...]
    iterations: int
    steps: tuple[int, ...]
    residuals: Tensor
    lengths: Tensor
    growth: Growth | None
