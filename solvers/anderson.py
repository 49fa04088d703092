r"""Safeguarded type-II Anderson acceleration of a nonexpansive ``T``.

A step of Krasnosel'skii-Mann plus a correction :math:`e_k` fitted to the last differences of
residuals. The correction is taken only if :math:`\|e_k\| \le D\,\|g_0\|\,(n+1)^{-1.1}`, with ``n``
the number of corrections taken before and :math:`g_0` the first residual. The corrections are
therefore summable, and a Krasnosel'skii-Mann iteration with summable errors converges as the
exact one does (Combettes 2001, theorem 5.5). This is the safeguard of Zhang, O'Donoghue and
Boyd 2020 and of Fu, Zhang and Boyd 2020, put on the correction itself.

For ``m`` differences ``2 m`` images are kept, in the type of the image. The Gram matrix is small and in
float64; one product with the kept residuals gives its new row and the right-hand side. A step reads
every kept image once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.solvers.growth import norms
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
        self.residuals = w.new_zeros(count, memory, size)
        self.steps = w.new_zeros(count, memory, size)
        #: The newest difference of residuals, and the residual.
        self.newest = w.new_zeros(count, 2, size)
        self.gram = np.zeros((count, memory, memory))
        self.target = np.zeros((count, memory))
        self.kept = np.zeros((count, memory), dtype=bool)
        self.taken = np.zeros(count)
        self.first = self.length = np.zeros(count)
        self.slot = 0
        self.started = False

    def note(self, w: Tensor, image: Tensor, residual: Tensor, length: Tensor) -> Distances | None:
        last, self._last = self._last, (w, image, length)
        before, self.length = self.length, length.double().cpu().numpy()
        self.started = last is not None
        if last is None:
            self.first = self.length
            self.newest[:, 1].copy_(residual.flatten(1))
            return None
        slot, self.slot = self.slot, (self.slot + 1) % self.scheme.memory
        moved = self._remember(slot, w, image, residual, last)
        self._fit(slot, grown=self.length > self.scheme.restart * before)
        return moved

    def following(self, w: Tensor, image: Tensor, residual: Tensor) -> Tensor:
        relaxation = self.scheme.relaxation
        step = image if relaxation == 1 else torch.add(w, residual, alpha=relaxation)
        if not self.started:
            return step
        weights = torch.from_numpy(self._coefficients()).to(w.device, w.dtype)
        correction = torch.bmm(weights[:, None], self.steps)[:, 0]
        allowed = self.scheme.safeguard * self.first * (self.taken + 1) ** -1.1
        # Also False for a correction that is not finite.
        take = norms(correction).double().cpu().numpy() <= allowed
        self.taken += take
        if not take.all():
            correction[torch.from_numpy(~take).to(w.device)] = 0
        return torch.sub(step.flatten(1), correction, out=correction).view_as(w)

    def _remember(
        self, slot: int, w: Tensor, image: Tensor, residual: Tensor, last: tuple[Tensor, ...]
    ) -> Distances:
        """Put the last differences in the place of the oldest."""
        change, step, now = self.newest[:, 0], self.steps[:, slot], residual.flatten(1)
        torch.sub(now, self.newest[:, 1], out=change)
        self.newest[:, 1].copy_(now)
        self.residuals[:, slot].copy_(change)
        if self.scheme.relaxation == 1:
            torch.sub(image.flatten(1), last[1].flatten(1), out=step)
            return _distances(step, change)
        torch.sub(w.flatten(1), last[0].flatten(1), out=step)
        apart, moved = norms(step), norms(image - last[1])
        step.add_(change, alpha=self.scheme.relaxation)
        return moved, apart

    def _fit(self, slot: int, grown: NDArray[np.bool_]) -> None:
        """The new row of the Gram matrix, and the right-hand side."""
        products = torch.bmm(self.newest, self.residuals.transpose(1, 2)).double().cpu().numpy()
        self.gram[:, slot, :] = self.gram[:, :, slot] = products[:, 0]
        self.target = products[:, 1]
        self.kept[grown] = False
        self.kept[:, slot] = ~grown

    def _coefficients(self) -> NDArray[np.float64]:
        """``c`` of every image ``[B, memory]``, from the normal equations with unit diagonal."""
        diagonal = np.diagonal(self.gram, axis1=1, axis2=2) * self.kept
        scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1)), 0)
        matrix = self.gram * scale[:, :, None] * scale[:, None, :]
        index = np.arange(self.scheme.memory)
        matrix[:, index, index] = 1 + 1e-10
        try:
            solution = np.linalg.solve(matrix, (self.target * scale)[..., None])[..., 0]
        except np.linalg.LinAlgError:
            solution = np.zeros_like(scale)
        return np.asarray(solution * scale)


def _distances(step: Tensor, change: Tensor) -> Distances:
    r""":math:`|\Delta s|` and :math:`|\Delta s - \Delta g|`, the change of ``T(w)`` and that of ``w``.

    From :math:`|\Delta s|^2 - 2\langle\Delta s, \Delta g\rangle + |\Delta g|^2` in float64: the rounding
    of the products is below that which a suspicion of growth allows for.
    """
    rows = torch.stack([step, change], dim=1)
    products = torch.bmm(rows, rows.transpose(1, 2)).double()
    moved, mixed, size = products[:, 0, 0], products[:, 0, 1], products[:, 1, 1]
    apart = (moved - 2 * mixed + size).clamp(min=0)
    return moved.sqrt().to(step.dtype), apart.sqrt().to(step.dtype)
