r"""The one loop: :math:`w_{k+1} = (1-\lambda)w_k + \lambda T(w_k)` until the residual is small.

For a nonexpansive ``T`` the step lengths :math:`\|w_{k+1} - w_k\|` never grow, because
:math:`w_{k+2} - w_{k+1}` is the image of :math:`w_{k+1} - w_k` under a nonexpansive map. One growth
beyond rounding proves the assumption false, at no cost, and is reported with its iteration. If
there is no fixed point the lengths tend to a positive constant (Pazy 1971).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from tqdm import tqdm

__all__ = ["Growth", "Iteration", "Status", "StoppingRule", "iterate"]

#: Evaluation errors of a map, in units of eps |w|, that a growth has to exceed.
_ROUNDING_UNITS = 64


class Status(Enum):
    """How an iteration ended; the value is the sentence shown to the user."""

    CONVERGED = "the fixed-point residual fell below the tolerance"
    MAX_ITERATIONS = "the iterations ran out before the residual fell below the tolerance"
    NO_FIXED_POINT = (
        "the iterations ran out and the step lengths level off at a positive constant: "
        "the map seems to have no fixed point"
    )
    EXPANSION = "the step lengths grew: the map is proved not to be nonexpansive"
    NON_FINITE = "the iterates became infinite or NaN"


@dataclass(frozen=True)
class Growth:
    """The first growth of the step lengths: a proof that the map is expansive.

    Attributes:
        iteration: the step that was longer than the one before it, counted from 1.
        image: index in the batch.
        ratio: how many times longer.
    """

    iteration: int
    image: int
    ratio: float


@dataclass(frozen=True)
class StoppingRule:
    """When the loop ends.

    Attributes:
        max_iter: most applications of the map.
        tol: largest relative residual ``|T(w) - w| / |w|``, for every image of the batch.
        stop_on_growth: end at the first growth of the step lengths instead of recording it only.
    """

    max_iter: int
    tol: float
    stop_on_growth: bool = True

    def __post_init__(self) -> None:
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        if not self.tol >= 0:
            raise ValueError(f"tol must be a number >= 0, got {self.tol}")


@dataclass(frozen=True)
class Iteration:
    """What the loop returns.

    Attributes:
        w: the last finite iterate ``[B, ...]``.
        status: how it ended.
        iterations: applications of the map.
        residuals: relative residuals ``[iterations, B]``.
        growth: the first growth of the step lengths, if there was one.
    """

    w: Tensor
    status: Status
    iterations: int
    residuals: Tensor
    growth: Growth | None


def iterate(
    fixed_point_map: Callable[[Tensor], Tensor],
    w: Tensor,
    rule: StoppingRule,
    *,
    relaxation: float = 1.0,
    callback: Callable[[int, Tensor], None] | None = None,
    progress: str | None = None,
) -> Iteration:
    """Iterate the map from ``w`` (``[B, ...]``).

    Args:
        fixed_point_map: ``T``, acting on every image of the batch by itself.
        w: start.
        rule: when to stop.
        relaxation: the factor lambda of the Krasnosel'skii-Mann iteration, in (0, 1].
        callback: called with the iteration (from 1) and the new iterate.
        progress: label of a progress bar on a terminal; none without it.
    """
    residuals: list[Tensor] = []
    lengths: list[Tensor] = []
    growth: Growth | None = None
    status = Status.MAX_ITERATIONS
    bar = tqdm(total=rule.max_iter, desc=progress, disable=None if progress else True, leave=False)
    with bar:
        for iteration in range(1, rule.max_iter + 1):
            following = fixed_point_map(w)
            step = relaxation * (following - w)
            length, size = _norms(step), _norms(w)
            if not torch.isfinite(length).all():
                status = Status.NON_FINITE
                break
            residuals.append(length / (relaxation * size.clamp(min=torch.finfo(w.dtype).tiny)))
            lengths.append(length)
            w = w + step
            growth = growth or _growth(lengths, _ROUNDING_UNITS * torch.finfo(w.dtype).eps * size)
            if callback is not None:
                callback(iteration, w)
            bar.update()
            bar.set_postfix_str(f"residual {float(residuals[-1].max()):.1e}")
            if growth is not None and rule.stop_on_growth:
                status = Status.EXPANSION
                break
            if bool((residuals[-1] <= rule.tol).all()):
                status = Status.CONVERGED
                break
    if status is Status.MAX_ITERATIONS:
        status = _why_unfinished(lengths, growth)
    history = torch.stack(residuals).cpu() if residuals else torch.empty(0, len(w))
    return Iteration(w, status, len(residuals), history, growth)


def _norms(w: Tensor) -> Tensor:
    """The Euclidean norm of every image of a batch, ``[B]``."""
    return torch.linalg.vector_norm(w.flatten(1), dim=1)


def _growth(lengths: list[Tensor], rounding: Tensor) -> Growth | None:
    if len(lengths) < 2:
        return None
    grown = lengths[-1] > lengths[-2] + rounding
    if not bool(grown.any()):
        return None
    image = int(grown.int().argmax())
    return Growth(len(lengths), image, float(lengths[-1][image] / lengths[-2][image]))


def _why_unfinished(lengths: list[Tensor], growth: Growth | None) -> Status:
    """Tell slow convergence, where lengths keep falling, from lengths that level off."""
    if growth is not None:
        return Status.EXPANSION
    middle, last = lengths[len(lengths) // 2], lengths[-1]
    level = bool((last > 0.99 * middle).any()) and len(lengths) >= 20
    return Status.NO_FIXED_POINT if level else Status.MAX_ITERATIONS
