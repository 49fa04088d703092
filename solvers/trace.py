r"""What becomes of a run, image by image, and the decision when it ends.

The residual of an iterate is :math:`\|T(w) - w\| / (c\,\|w\|)`. The scale ``c`` is 1, or the share of the
natural step :math:`1/L` that a short step takes: a method that moves little in each step has not
converged for that reason. If there is no fixed point, the step lengths of an averaged ``T`` tend to a
positive constant (Bruck and Reich 1977; Baillon, Bruck and Reich 1978); slow convergence can look the
same for any finite time, so this ending is reported as what was seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp_lip.solvers.growth import Growth, norms
from pnp_lip.solvers.stopping import Iteration, Status, StoppingRule

__all__ = ["Trace"]


#: From good to bad.
_ORDER = (
    Status.CONVERGED,
    Status.MAX_ITERATIONS,
    Status.NO_FIXED_POINT,
    Status.NON_FINITE,
    Status.EXPANSION,
)
#: A residual at which a step length that stays is no rounding, of any type that a map may use.
_FAR = 2e-3


class Trace:
    """Takes note of every application of the map.

    Parameters
    ----------
    rule
        when images have converged.
    w
        the first iterate.
    """

    def __init__(self, rule: StoppingRule, w: Tensor) -> None:
        self.rule = rule
        self.image = w
        self.residuals: list[list[float]] = []
        self.lengths: list[Tensor] = []
        self.ended: dict[int, tuple[Status, int]] = {}
        self.expands = False
        self._tiny = torch.finfo(w.dtype).tiny
        self._kept: dict[int, Tensor] = {}
        self._frozen: dict[int, Tensor] = {}

    @property
    def worst(self) -> float:
        """The largest residual of the last step."""
        return max(self.residuals[-1])

    def add(self, w: Tensor, image: Tensor, residual: Tensor) -> bool:
        """Take note of ``T(w)`` and of ``T(w) - w``; False if no image is finite any more."""
        length = norms(residual)
        size = norms(w).clamp(min=self._tiny)
        values = (length / (self.rule.scale * size)).tolist()
        # Of w = 0 the relative residual may be infinite, the length is not.
        finite = map(math.isfinite, length.tolist())
        lost = [index for index, whole in enumerate(finite) if not whole]
        for index in lost:
            if index not in self.ended:
                self._end(index, Status.NON_FINITE, len(self.residuals), w[index], w[index])
        if len(lost) == len(values):
            self.image = _with_rows(self.image, self._kept)
            return False
        for index in self.ended:
            if self.residuals:
                values[index] = self.residuals[-1][index]
        self.residuals.append(values)
        self.lengths.append(length)
        self.image = image
        for index, value in enumerate(values):
            if value <= self.rule.tol and index not in self.ended:
                self._end(index, Status.CONVERGED, len(self.residuals), image[index], w[index])
        if self._kept and len(values) > 1:
            self.image = _with_rows(image, self._kept)
        return True

    def held(self, w: Tensor) -> Tensor:
        """The next iterate, with those images that have ended where they were."""
        return _with_rows(w, self._frozen) if self._frozen else w

    def ends(self, growth: Growth | None) -> bool:
        """Whether this was the last step."""
        self.expands = growth is not None and growth.proved and self.rule.stop_on_growth
        return self.expands or len(self.ended) == len(self.residuals[-1])

    def result(self, growth: Growth | None) -> Iteration:
        """What the loop returns."""
        count, total = len(self.image), len(self.residuals)
        refuted = growth is not None and growth.proved
        statuses, steps = [], []
        for index in range(count):
            status, took = self.ended.get(index, (Status.MAX_ITERATIONS, total))
            if status is Status.MAX_ITERATIONS and not self.rule.exists and self._level(index):
                status = Status.NO_FIXED_POINT
            statuses.append(status)
            steps.append(took)
        if (
            growth is not None
            and refuted
            and not (statuses[growth.image] is Status.CONVERGED and not self.expands)
        ):
            statuses[growth.image] = Status.EXPANSION
        worst = max(statuses, key=_ORDER.index)
        history = torch.tensor(self.residuals, dtype=torch.float64).reshape(total, count)
        lengths = self.lengths[-1] if total else torch.full_like(norms(self.image), torch.inf)
        return Iteration(
            self.image,
            worst,
            tuple(statuses),
            total,
            tuple(steps),
            history.to(self.image.real.dtype),
            lengths,
            growth,
        )

    def _end(self, index: int, status: Status, step: int, kept: Tensor, frozen: Tensor) -> None:
        self.ended[index] = (status, step)
        self._kept[index], self._frozen[index] = kept, frozen

    def _level(self, index: int) -> bool:
        """Whether the step lengths of an image stay, far above rounding."""
        if len(self.lengths) < 20:
            return False
        middle, last = self.lengths[len(self.lengths) // 2][index], self.lengths[-1][index]
        return bool(last > 0.99 * middle) and self.residuals[-1][index] > _FAR


def _with_rows(w: Tensor, rows: dict[int, Tensor]) -> Tensor:
    """A copy of ``w`` with other rows."""
    return torch.stack([rows.get(index, row) for index, row in enumerate(w)])
