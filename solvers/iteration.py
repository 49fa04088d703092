r"""The one loop: apply a nonexpansive ``T`` until its residual is small, whatever the scheme of steps.

The residual of an iterate is :math:`\|T(w) - w\| / (c\,\|w\|)`. The scale ``c`` is 1, or the share of the
natural step :math:`1/L` that a short step takes: a method that moves little in each step has not
converged for that reason. If there is no fixed point, the step lengths of an averaged ``T`` tend to a
positive constant (Bruck and Reich 1977; Baillon, Bruck and Reich 1978); slow convergence can look the
same for any finite time, so this ending is reported as what was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from tqdm import tqdm

from pnp_lip.errors import PnpLipError
from pnp_lip.solvers.growth import Growth, Watch, norms
from pnp_lip.solvers.schemes import KrasnoselskiiMann, Scheme

__all__ = ["Iteration", "MapError", "Status", "StoppingRule", "iterate"]


class MapError(PnpLipError, RuntimeError):
    """The map changes its argument, or returns another shape: it is no map of one variable."""


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
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        if not self.tol >= 0:
            raise ValueError(f"tol must be a number >= 0, got {self.tol}")
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must lie in (0, 1], got {self.scale}")


@dataclass(frozen=True)
class Iteration:
    """What the loop returns.

    Attributes
    ----------
    w
        ``T`` of the last iterate ``[B, ...]``, or the last finite iterate.
    status
        how it ended.
    iterations
        applications of the map with a finite result.
    residuals
        relative residuals ``[iterations, B]``.
    lengths
        ``|T(w) - w|`` of the last iterate ``[B]``.
    growth
        two iterates that moved apart, if there were any.
    """

    w: Tensor
    status: Status
    iterations: int
    residuals: Tensor
    lengths: Tensor
    growth: Growth | None


def iterate(
    fixed_point_map: Callable[[Tensor], Tensor],
    w: Tensor,
    rule: StoppingRule,
    *,
    scheme: Scheme | None = None,
    exact: Callable[[], Callable[[Tensor], Tensor]] | None = None,
    measure: Callable[[Tensor], Tensor] | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
    progress: str | None = None,
) -> Iteration:
    """Iterate the map from ``w`` (``[B, ...]``, real).

    Parameters
    ----------
    fixed_point_map
        ``T``, acting on every image of the batch by itself.
    w
        start.
    rule
        when to stop.
    scheme
        how steps are made; those of Picard, ``w = T(w)``, without it.
    exact
        makes the map for float64, to decide whether a growth is a proof. A map on float64
        is its own.
    measure
        the norm ``[B]`` in which ``T`` is nonexpansive; the Euclidean one without it.
    callback
        called with the iteration (from 1) and ``T`` of the iterate.
    progress
        label of a progress bar on a terminal; none without it.

    Raises
    ------
    MapError
        the map changed its argument in place, or returned another shape.
    """
    if exact is None and w.dtype == torch.float64:
        exact = lambda: fixed_point_map  # noqa: E731
    watch = Watch(exact, measure or norms)
    steps = (scheme or KrasnoselskiiMann()).start(w)
    trace = _Trace(rule)
    last: tuple[Tensor, Tensor] | None = None
    bar = tqdm(total=rule.max_iter, desc=progress, disable=None if progress else True, leave=False)
    with bar:
        for iteration in range(1, rule.max_iter + 1):
            image = _apply(fixed_point_map, w)
            if not trace.add(w, image):
                break
            change = None
            if last is not None and w is last[1] and measure is None:
                # A Picard step: the change of T(w) is the residual, that of w the one before.
                watch.look(iteration, (last[0], w), trace.lengths[-1], trace.lengths[-2])
            elif last is not None:
                change = (w - last[0], image - last[1])
                watch.look(iteration, (last[0], w), watch.size(change[1]), watch.size(change[0]))
            if callback is not None:
                callback(iteration, image)
            bar.update()
            if not bar.disable:
                bar.set_postfix_str(f"residual {float(trace.residuals[-1].max()):.1e}")
            if trace.ends(watch.growth):
                break
            last = (w, image)
            w = steps(w, image, change)
    return trace.result(w, watch.growth)


def _apply(fixed_point_map: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    version = w._version
    image = fixed_point_map(w)
    if w._version != version:
        raise MapError(
            "the map changed its argument in place, so nothing that was computed with it is valid: "
            "write the denoiser and the physics without in-place operations on their inputs"
        )
    if image.shape != w.shape:
        raise MapError(
            f"expected a map that keeps the shape {tuple(w.shape)}, got {tuple(image.shape)}: check "
            f"that A_adjoint gives images of the shape that A takes"
        )
    return image


class _Trace:
    """Residuals of a run, and the decision how it ended."""

    def __init__(self, rule: StoppingRule) -> None:
        self.rule = rule
        self.residuals: list[Tensor] = []
        self.lengths: list[Tensor] = []
        self.status = Status.MAX_ITERATIONS
        self.image: Tensor | None = None

    def add(self, w: Tensor, image: Tensor) -> bool:
        """Take note of one application; False if its result is not finite."""
        length, size = norms(image - w), norms(w)
        if not bool(torch.isfinite(length).all()):
            self.status = Status.NON_FINITE
            return False
        tiny = torch.finfo(w.dtype).tiny
        self.lengths.append(length)
        self.residuals.append(length / (self.rule.scale * size.clamp(min=tiny)))
        self.image = image
        return True

    def ends(self, growth: Growth | None) -> bool:
        """Whether this was the last step."""
        if growth is not None and growth.proved and self.rule.stop_on_growth:
            self.status = Status.EXPANSION
        elif bool((self.residuals[-1] <= self.rule.tol).all()):
            self.status = Status.CONVERGED
        return self.status is not Status.MAX_ITERATIONS

    def result(self, w: Tensor, growth: Growth | None) -> Iteration:
        """What the loop returns, from the last iterate."""
        if self.status is Status.MAX_ITERATIONS and growth is not None and growth.proved:
            self.status = Status.EXPANSION
        if self.status is Status.MAX_ITERATIONS and not self.rule.exists and self._level():
            self.status = Status.NO_FIXED_POINT
        failed = self.status is Status.NON_FINITE or self.image is None
        end = w if failed or self.image is None else self.image
        history = torch.stack(self.residuals).cpu() if self.residuals else torch.empty(0, len(w))
        lengths = self.lengths[-1] if self.lengths else torch.full_like(norms(w), torch.inf)
        return Iteration(end, self.status, len(self.residuals), history, lengths, growth)

    def _level(self) -> bool:
        """Whether the step lengths stay, far above the rounding of any type that a map may use."""
        if len(self.lengths) < 20:
            return False
        middle, last = self.lengths[len(self.lengths) // 2], self.lengths[-1]
        return bool(((last > 0.99 * middle) & (self.residuals[-1] > 2e-3)).any())
