r"""Safeguarded type-II Anderson acceleration of a nonexpansive ``T``.

A step of Krasnosel'skii-Mann plus a correction :math:`e_k` fitted to the last differences of
residuals. The correction is taken only if :math:`\|e_k\| \le D\,\|g_0\|\,(n+1)^{-1.1}`, with ``n``
the number of corrections taken before and :math:`g_0` the first residual. The corrections are
therefore summable, and a Krasnosel'skii-Mann iteration with summable errors converges as the
exact one does (Combettes 2001, theorem 5.5). This is the safeguard of Zhang, O'Donoghue and
Boyd 2020 and of Fu, Zhang and Boyd 2020, put on the correction itself.

For ``m`` differences ``2 m`` images are kept, in the type of the image. The Gram matrix is small and in
float64. A step reads every kept image once: one product with the differences of residuals gives the
right-hand side and the new row of the Gram matrix, one with those of steps the correction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.solvers.growth import Numbers, norms, numbers
from pnp_lip.solvers.steps import Distances, Scheme, Steps, require_share

__all__ = ["Anderson"]


@dataclass(frozen=True)
class Anderson(Scheme):
    r"""Safeguarded type-II Anderson acceleration of every image of a batch by itself.

    Parameters
    ----------
    memory
        differences kept; each costs two images of the variable.
    relaxation
        :math:`\lambda` of the step that is corrected, in (0, 1]: 1 for an averaged map.
    safeguard
        ``D``, how many first residuals a correction may be long.
    restart
        forget the differences where the residual grew by more than this factor.

    Examples
    --------
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.solvers import Anderson, ForwardBackward
    >>> solver = ForwardBackward(LipschitzDenoiser(1), 0.05, scheme=Anderson(memory=5))
    """

    memory: int = 10
    relaxation: float = 1.0
    safeguard: float = 1e6
    restart: float = 2.0
    name = "safeguarded Anderson"

    def __post_init__(self) -> None:
        require_share(self.relaxation)
        if self.memory < 1 or not self.safeguard > 0 or not self.restart > 1:
            raise InputError(
                f"expected memory >= 1, safeguard > 0 and restart > 1, got {self.memory}, "
                f"{self.safeguard} and {self.restart}"
            )

    @property
    def stored(self) -> int:  # type: ignore[override]
        return 2 * self.memory

    def start(self, w: Tensor) -> Steps:
        return _Mixing(self, w)

    def limited(self, most: float) -> Anderson:
        return replace(self, relaxation=min(self.relaxation, most))


class _Mixing(Steps):
    r"""The extrapolated step.

    With :math:`g_k = Tw_k - w_k` and :math:`s_k = w_k + \lambda g_k` it is
    :math:`w_{k+1} = s_k - \sum_j c_j\,\Delta s_j`, where :math:`c` minimises
    :math:`\|g_k - \sum_j c_j\,\Delta g_j\|`.
    """

    def __init__(self, scheme: Anderson, w: Tensor) -> None:
        super().__init__()
        count, memory, size = len(w), scheme.memory, w[0].numel()
        self.scheme = scheme
        self.steps = w.new_empty(count, memory, size)
        self.residuals = w.new_empty(count, memory, size)
        self.gram = np.zeros((count, memory, memory))
        self.target = np.zeros((count, memory))
        self.kept = np.zeros((count, memory), dtype=bool)
        self.taken = np.zeros(count)
        self.first = self.length = np.zeros(count)
        self.noted = -1
        self._now: tuple[Tensor, Tensor] | None = None

    @property
    def filled(self) -> int:
        """Differences that are stored."""
        return min(self.noted, self.scheme.memory)

    def note(self, w: Tensor, image: Tensor, residual: Tensor, length: Numbers) -> Distances | None:
        share = self.scheme.relaxation
        step = image if share == 1 else torch.add(w, residual, alpha=share)
        last, self._now = self._now, (step.flatten(1), residual.flatten(1))
        before, self.length = self.length, length
        self.noted += 1
        if last is None:
            self.first = length
            return None
        slot = (self.noted - 1) % self.scheme.memory
        moved, change = self.steps[:, slot], self.residuals[:, slot]
        torch.sub(self._now[0], last[0], out=moved)
        torch.sub(self._now[1], last[1], out=change)
        self._fit(slot, grown=length > self.scheme.restart * before)
        return self._distances(moved, change, self.gram[:, slot, slot])

    def following(self, w: Tensor, image: Tensor, residual: Tensor) -> Tensor:
        assert self._now is not None
        step = self._now[0]
        if self.noted == 0:
            return step.view_as(w)
        weights = torch.from_numpy(self._coefficients()).to(w.device, w.dtype)
        correction = torch.bmm(weights[:, None], self.steps[:, : self.filled])[:, 0]
        allowed = self.scheme.safeguard * self.first * (self.taken + 1) ** -1.1
        # Also False for a correction that is not finite.
        take = numbers(norms(correction)) <= allowed
        self.taken += take
        if not take.all():
            correction[torch.from_numpy(~take).to(w.device)] = 0
        return torch.sub(step, correction, out=correction).view_as(w)

    def keep(self, rows: list[int]) -> None:
        for name in ("steps", "residuals", "gram", "target", "kept", "taken", "first", "length"):
            setattr(self, name, getattr(self, name)[rows])
        if self._now is not None:
            self._now = self._now[0][rows], self._now[1][rows]

    def _fit(self, slot: int, grown: NDArray[np.bool_]) -> None:
        r"""The right-hand side, and the new row of the Gram matrix.

        One product with the stored differences gives both:
        :math:`\langle\Delta g_k, \Delta g_j\rangle = \langle g_k, \Delta g_j\rangle -
        \langle g_{k-1}, \Delta g_j\rangle`, and the second was the last right-hand side.
        """
        assert self._now is not None
        stored = self.residuals[:, : self.filled]
        products = numbers(torch.bmm(self._now[1][:, None], stored.transpose(1, 2))[:, 0])
        row = products - self.target[:, : self.filled]
        row[:, slot] = numbers(norms(self.residuals[:, slot])) ** 2
        self.gram[:, slot, : self.filled] = self.gram[:, : self.filled, slot] = row
        self.target[:, : self.filled] = products
        self.kept[grown] = False
        self.kept[:, slot] = ~grown

    def _coefficients(self) -> Numbers:
        """``c`` of every image, from the normal equations with unit diagonal."""
        here = slice(self.filled)
        gram, kept = self.gram[:, here, here], self.kept[:, here]
        diagonal = np.diagonal(gram, axis1=1, axis2=2) * kept
        scale = np.divide(1, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0)
        matrix = gram * scale[:, :, None] * scale[:, None, :]
        index = np.arange(self.filled)
        matrix[:, index, index] = 1 + 1e-10
        try:
            solution = np.linalg.solve(matrix, (self.target[:, here] * scale)[..., None])[..., 0]
        except np.linalg.LinAlgError:
            solution = np.zeros_like(scale)
        return np.asarray(solution * scale)

    def _distances(self, moved: Tensor, change: Tensor, square: Numbers) -> Distances | None:
        r"""How far ``T(w)`` and ``w`` moved, if ``T(w)`` moved further.

        :math:`\Delta Tw = \Delta s + (1-\lambda)\Delta g` is longer than
        :math:`\Delta w = \Delta s - \lambda\Delta g` if and only if
        :math:`2\langle\Delta s, \Delta g\rangle > (2\lambda - 1)\|\Delta g\|^2`.
        """
        share = self.scheme.relaxation
        product = numbers(torch.linalg.vecdot(moved, change))
        if (2 * product <= (2 * share - 1) * square).all():
            return None
        apart = torch.sub(moved, change, alpha=share)
        return numbers(norms(apart + change)), numbers(norms(apart))
