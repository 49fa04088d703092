r"""Steps from :math:`w_k` and :math:`T(w_k)` to the next iterate, for a nonexpansive ``T``.

Krasnosel'skii-Mann
    :math:`w_{k+1} = (1-\lambda)w_k + \lambda T(w_k)`. If ``T`` is :math:`\alpha`-averaged and
    :math:`\lambda = 1`, then :math:`\|w_k - Tw_k\| \le \sqrt{\alpha/(1-\alpha)}\,d_0/\sqrt{k+1}` with
    :math:`d_0` the distance from the start to the fixed points (Bauschke and Combettes 2017,
    theorem 5.15; :math:`\|w_{k+1}-z\|^2 \le \|w_k-z\|^2 - \frac{1-\alpha}{\alpha}\|w_k-Tw_k\|^2` summed).
Halpern
    :math:`w_{k+1} = w_0/(k+2) + (k+1)/(k+2)\,T(w_k)`: :math:`\|w_k - Tw_k\| \le 2d_0/(k+1)` (Lieder 2021).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.solvers.growth import Numbers, norms, numbers

__all__ = [
    "Distances",
    "Halpern",
    "KrasnoselskiiMann",
    "Relaxed",
    "Scheme",
    "Steps",
    "require_share",
]

#: ``|T(w) - T(v)|`` and ``|w - v|`` of two iterates.
Distances = tuple[Numbers, Numbers]


class Steps(ABC):
    """The steps of one run: every iterate is noted, then the next one is asked for."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor, Numbers] | None = None

    def note(self, w: Tensor, image: Tensor, residual: Tensor, length: Numbers) -> Distances | None:
        """Take note of an iterate, and say how far it and its image are from the last ones.

        Parameters
        ----------
        w
            the iterate ``[B, ...]``.
        image
            ``T(w)``.
        residual
            ``T(w) - w``.
        length
            its norm, ``[B]``.

        Returns
        -------
        tuple or None
            ``None`` for the first iterate, and where no image moved further than its iterate.
        """
        last, self._last = self._last, (w, image, length)
        if last is None:
            return None
        if w is last[1]:
            # A Picard step: the change of T(w) is the residual, that of w the one before.
            return length, last[2]
        return numbers(norms(image - last[1])), numbers(norms(w - last[0]))

    def keep(self, rows: list[int]) -> None:
        """Go on with these images of the batch only."""
        if self._last is not None:
            w, image, length = self._last
            self._last = w[rows], image[rows], length[rows]

    @abstractmethod
    def following(self, w: Tensor, image: Tensor, residual: Tensor) -> Tensor:
        """The iterate after the one that was noted."""


class Scheme(ABC):
    """A rule for the next iterate; :meth:`start` begins a run."""

    #: How the field calls it, for a plan.
    name: str
    #: Images of the variable that a run keeps besides the iterate.
    stored: int = 0

    @abstractmethod
    def start(self, w: Tensor) -> Steps:
        """The steps from ``w`` on."""

    def limited(self, most: float) -> Scheme:
        """The scheme with a relaxation of at most ``most``, for a map that needs it."""
        return self


@dataclass(frozen=True)
class KrasnoselskiiMann(Scheme):
    """``(1 - relaxation) w + relaxation T(w)``, with a relaxation in (0, 1]."""

    relaxation: float = 1.0
    name = "Krasnosel'skii-Mann"

    def __post_init__(self) -> None:
        require_share(self.relaxation)

    def start(self, w: Tensor) -> Steps:
        return Relaxed(self.relaxation)

    def limited(self, most: float) -> KrasnoselskiiMann:
        return replace(self, relaxation=min(self.relaxation, most))


class Relaxed(Steps):
    """The steps of Krasnosel'skii and Mann."""

    def __init__(self, relaxation: float) -> None:
        super().__init__()
        self.relaxation = relaxation

    def following(self, w: Tensor, image: Tensor, residual: Tensor) -> Tensor:
        if self.relaxation == 1:
            return image
        return torch.add(w, residual, alpha=self.relaxation)


@dataclass(frozen=True)
class Halpern(Scheme):
    """``w_0 / (k + 2) + (k + 1) / (k + 2) T(w_k)``."""

    name = "Halpern"
    stored = 1

    def start(self, w: Tensor) -> Steps:
        return _Anchored(w)


class _Anchored(Steps):
    def __init__(self, anchor: Tensor) -> None:
        super().__init__()
        self.anchor, self.step = anchor, 0

    def keep(self, rows: list[int]) -> None:
        super().keep(rows)
        self.anchor = self.anchor[rows]

    def following(self, w: Tensor, image: Tensor, residual: Tensor) -> Tensor:
        self.step += 1
        return torch.lerp(self.anchor, image, self.step / (self.step + 1))


def require_share(relaxation: float) -> None:
    """Refuse a relaxation outside (0, 1].

    Raises
    ------
    InputError
        as said.
    """
    if not 0 < relaxation <= 1:
        raise InputError(f"expected a relaxation in (0, 1], got {relaxation}")
