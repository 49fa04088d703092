r"""What becomes of a run, image by image, and the decision when it ends.

The residual of an iterate is :math:`\|T(w) - w\| / (c\,\|w\|)`. The scale ``c`` is 1, or the share of the
natural step :math:`1/L` that a short step takes: a method that moves little in each step has not
converged for that reason. If there is no fixed point, the step lengths of an averaged ``T`` tend to a
positive constant (Bruck and Reich 1977; Baillon, Bruck and Reich 1978); slow convergence can look the
same for any finite time, so this ending is reported as what was seen.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pnp_lip.solvers.growth import Growth, Numbers, norms
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
        self.residuals: list[list[float]] = []
        self.lengths: list[list[float]] = []
        self.ended: dict[int, tuple[Status, int]] = {}
        #: The images that are iterated, as indices in the batch.
        self.rows = list(range(len(w)))
        self.expands = False
        self._count = len(w)
        self._tiny = torch.finfo(w.dtype).tiny
        self._latest = w
        self._kept: dict[int, Tensor] = {}
        self._frozen: dict[int, Tensor] = {}

    @property
    def worst(self) -> float:
        """The largest residual of the last step."""
        return max(self.residuals[-1])

    @property
    def image(self) -> Tensor:
        """``T(w)`` of the last step; of an image that has ended, that of its own."""
        if not self._kept:
            return self._latest
        rows = dict(zip(self.rows, self._latest, strict=True)) | self._kept
        return torch.stack([rows[index] for index in range(self._count)])

    def add(self, w: Tensor, image: Tensor, residual: Tensor) -> bool:
        """Take note of ``T(w)`` and of ``T(w) - w``; False if no image is finite any more."""
        now, sizes = norms(residual).tolist(), norms(w).tolist()
        going = self.going()
        lost = [place for place in going if not math.isfinite(now[place])]
        for place in lost:
            self._end(place, Status.NON_FINITE, w, w)
        if len(lost) == len(going):
            return False
        nothing = [math.nan] * self._count
        self.residuals.append(list(self.residuals[-1] if self.residuals else nothing))
        self.lengths.append(list(self.lengths[-1] if self.lengths else nothing))
        self._latest = image
        for place in self.going():
            index = self.rows[place]
            # Of w = 0 the relative residual may be infinite, the length is not.
            size = self.rule.scale * max(sizes[place], self._tiny)
            self.residuals[-1][index] = now[place] / size
            self.lengths[-1][index] = now[place]
            if self.residuals[-1][index] <= self.rule.tol:
                self._end(place, Status.CONVERGED, image, w)
        return True

    def length(self) -> Numbers:
        """``|T(w) - w|`` of the images that are iterated."""
        return np.array([self.lengths[-1][index] for index in self.rows])

    def held(self, w: Tensor) -> Tensor:
        """The next iterate, with those images that have ended where they were."""
        here = {p: self._frozen[i] for p, i in enumerate(self.rows) if i in self._frozen}
        return _with_rows(w, here) if here else w

    def going(self) -> list[int]:
        """The places of the iterated images that have not ended."""
        return [place for place, index in enumerate(self.rows) if index not in self.ended]

    def indices(self, places: list[int]) -> list[int]:
        """The indices in the batch of iterated images."""
        return [self.rows[place] for place in places]

    def keep(self, places: list[int]) -> None:
        """Go on with the images in these places only."""
        self._latest = self._latest[places]
        self.rows = self.indices(places)

    def whole(self, w: Tensor) -> Tensor:
        """The whole batch for an iterate, with the images that are not iterated where they were."""
        if len(self.rows) == self._count:
            return w
        rows = self._frozen | dict(zip(self.rows, w, strict=True))
        return torch.stack([rows[index] for index in range(self._count)])

    def spread(self, values: Numbers) -> Numbers:
        """Values of the iterated images for the whole batch, 0 for the others."""
        if len(self.rows) == self._count:
            return values
        spread = np.zeros(self._count)
        spread[self.rows] = values
        return spread

    def ends(self, growth: Growth | None) -> bool:
        """Whether this was the last step."""
        self.expands = growth is not None and growth.proved and self.rule.stop_on_growth
        return self.expands or len(self.ended) == self._count

    def result(self, growth: Growth | None) -> Iteration:
        """What the loop returns."""
        image, total, count = self.image, len(self.residuals), self._count
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
        lengths = self.lengths[-1] if total else [math.inf] * count
        return Iteration(
            image,
            worst,
            tuple(statuses),
            total,
            tuple(steps),
            history.to(image.real.dtype),
            image.new_tensor(lengths).real,
            growth,
        )

    def _end(self, place: int, status: Status, kept: Tensor, frozen: Tensor) -> None:
        index = self.rows[place]
        self.ended[index] = (status, len(self.residuals))
        # Copies, for a map may write its next image into the same memory.
        self._kept[index], self._frozen[index] = kept[place].clone(), frozen[place].clone()

    def _level(self, index: int) -> bool:
        """Whether the step lengths of an image stay, far above rounding."""
        if len(self.lengths) < 20:
            return False
        middle, last = self.lengths[len(self.lengths) // 2][index], self.lengths[-1][index]
        return bool(last > 0.99 * middle) and self.residuals[-1][index] > _FAR


def _with_rows(w: Tensor, rows: dict[int, Tensor]) -> Tensor:
    """A copy of ``w`` with other rows."""
    return torch.stack([rows.get(index, row) for index, row in enumerate(w)])
