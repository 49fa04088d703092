r"""The free check of a run: ``T`` may not move two iterates apart.

For a nonexpansive ``T`` that is evaluated with errors :math:`E_a, E_b`,

.. math:: \|\mathrm{fl}\,T(a) - \mathrm{fl}\,T(b)\| \le \|a - b\| + E_a + E_b .

An excess beyond a first guess of the rounding only raises a suspicion. The pair is then evaluated again
in float64, where errors are :math:`2^{-29}` of those of float32; an excess that remains there is a proof,
with the two iterates as the counter-example, under the assumption that one evaluation of ``T`` in
float64 errs by less than :math:`2^{-29}` of the size of what goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Growth", "Numbers", "Watch", "norms", "numbers"]

Map = Callable[[Tensor], Tensor]
#: One number for every image of a batch, ``[B]``.
Numbers = NDArray[np.float64]

#: Units of eps (|w| + |T w|) that an excess has to exceed to be looked at.
_SUSPICIOUS = 64
#: Relative error of an evaluation in float64 that a proof allows for.
_DOUBLE = 2.0**-29
#: Suspicions of one run that are looked at, each more than twice as strong as the last.
_LOOKS = 8


@dataclass(frozen=True)
class Growth:
    """Two iterates that the map moved apart.

    Attributes
    ----------
    iteration
        the application of the map that showed it, counted from 1.
    image
        index in the batch.
    ratio
        ``|T(a) - T(b)| / |a - b|``, in float64 if ``proved``.
    proved
        whether the excess remained in float64.
    """

    iteration: int
    image: int
    ratio: float
    proved: bool


class Watch:
    """Looks at every pair of successive iterates.

    Parameters
    ----------
    exact
        makes the map for float64; ``None`` or one that fails leaves a suspicion a suspicion.
    size
        the norm ``[B]`` in which the map is nonexpansive.
    """

    def __init__(self, exact: Callable[[], Map] | None = None, size: Map | None = None) -> None:
        self.size = size or norms
        self._make = exact
        self._exact: Map | None = None
        self._looks, self._explained = _LOOKS, 0.0
        self.growth: Growth | None = None

    def look(
        self,
        iteration: int,
        pair: Callable[[], tuple[Tensor, Tensor]],
        moved: Numbers,
        apart: Numbers,
    ) -> None:
        """Compare ``moved`` with ``apart``, for the iterates before the map that ``pair`` makes."""
        if self._looks == 0 or not (moved > apart).any():
            return
        if self.growth is not None and self.growth.proved:
            return
        points = pair()
        size = numbers(norms(points[0]) + norms(points[1])) + moved
        limits = torch.finfo(points[0].dtype)
        with np.errstate(invalid="ignore"):
            share = (moved - apart) / np.maximum(size, limits.tiny)
        share = np.nan_to_num(share, nan=-np.inf)
        if not (share > _SUSPICIOUS * limits.eps).any():
            return
        image = int(share.argmax())
        if share[image] <= 2 * self._explained:
            return
        self._looks -= 1
        self._explained = float(share[image])
        self._decide(Growth(iteration, image, float(moved[image] / apart[image]), False), points)

    def _decide(self, suspicion: Growth, pair: tuple[Tensor, Tensor]) -> None:
        points = tuple(part.double() for part in pair)
        images = self._in_double(points)
        if images is None:
            self.growth = self.growth or suspicion
            return
        apart, moved = self.size(points[0] - points[1]), self.size(images[0] - images[1])
        slack = _DOUBLE * sum(norms(part) for part in (*points, *images))
        excess = moved - apart - slack
        if bool((excess > 0).any()):
            image = int(excess.argmax())
            ratio = float(moved[image] / apart[image])
            self.growth = Growth(suspicion.iteration, image, ratio, proved=True)

    def _in_double(self, points: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Their images in float64; ``None`` where the map cannot be evaluated there."""
        if self._make is None:
            return None
        try:
            exact = self._exact = self._exact or self._make()
            images = tuple(exact(point) for point in points)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return None
        finite = all(part.dtype == torch.float64 and bool(part.isfinite().all()) for part in images)
        return images if finite else None


def norms(w: Tensor) -> Tensor:
    """The Euclidean norm of every image of a batch, ``[B]``."""
    return torch.linalg.vector_norm(w.flatten(1), dim=1)


def numbers(values: Tensor) -> Numbers:
    """The values ``[B]`` in float64, outside of the device."""
    return values.detach().cpu().double().numpy()
