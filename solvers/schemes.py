r"""How the next iterate is made from :math:`w_k` and :math:`T(w_k)`, for a nonexpansive ``T``.

Krasnosel'skii-Mann
    :math:`w_{k+1} = (1-\lambda)w_k + \lambda T(w_k)`. If ``T`` is :math:`\alpha`-averaged and
    :math:`\lambda = 1`, then :math:`\|w_k - Tw_k\| \le \sqrt{\alpha/(1-\alpha)}\,d_0/\sqrt{k+1}` with
    :math:`d_0` the distance from the start to the fixed points (Bauschke and Combettes 2017,
    theorem 5.15; :math:`\|w_{k+1}-z\|^2 \le \|w_k-z\|^2 - \frac{1-\alpha}{\alpha}\|w_k-Tw_k\|^2` summed).
Halpern
    :math:`w_{k+1} = w_0/(k+2) + (k+1)/(k+2)\,T(w_k)`: :math:`\|w_k - Tw_k\| \le 2d_0/(k+1)` (Lieder 2021).
Anderson, safeguarded
    A step of Krasnosel'skii-Mann plus a correction :math:`e_k` fitted to the last differences of
    residuals. The correction is taken only if :math:`\|e_k\| \le D\,\|g_0\|\,(n+1)^{-1.1}`, with ``n``
    the number of corrections taken before and :math:`g_0` the first residual. The corrections are
    therefore summable, and a Krasnosel'skii-Mann iteration with summable errors converges as the
    exact one does (Combettes 2001, theorem 5.5). This is the safeguard of Zhang, O'Donoghue and
    Boyd 2020 and of Fu, Zhang and Boyd 2020, put on the correction itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["SCHEMES", "Anderson", "Halpern", "KrasnoselskiiMann", "Scheme", "Steps", "scheme_named"]


class Steps(ABC):
    """The steps of one run."""

    @abstractmethod
    def __call__(self, w: Tensor, image: Tensor, change: tuple[Tensor, Tensor] | None) -> Tensor:
        """The next iterate.

        Parameters
        ----------
        w
            the iterate ``[B, ...]``.
        image
            ``T(w)``.
        change
            ``w`` and ``T(w)`` minus those of the step before; ``None`` in the first.
        """


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
        _require_share(self.relaxation)

    def start(self, w: Tensor) -> Steps:
        return _Relaxed(self.relaxation)

    def limited(self, most: float) -> KrasnoselskiiMann:
        return replace(self, relaxation=min(self.relaxation, most))


class _Relaxed(Steps):
    def __init__(self, relaxation: float) -> None:
        self.relaxation = relaxation

    def __call__(self, w: Tensor, image: Tensor, change: tuple[Tensor, Tensor] | None) -> Tensor:
        return image if self.relaxation == 1 else torch.lerp(w, image, self.relaxation)


@dataclass(frozen=True)
class Halpern(Scheme):
    """``w_0 / (k + 2) + (k + 1) / (k + 2) T(w_k)``."""

    name = "Halpern"
    stored = 1

    def start(self, w: Tensor) -> Steps:
        return _Anchored(w)


class _Anchored(Steps):
    def __init__(self, anchor: Tensor) -> None:
        self.anchor, self.step = anchor, 0

    def __call__(self, w: Tensor, image: Tensor, change: tuple[Tensor, Tensor] | None) -> Tensor:
        self.step += 1
        return torch.lerp(self.anchor, image, self.step / (self.step + 1))


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
        _require_share(self.relaxation)
        if self.memory < 1 or not self.safeguard > 0 or not self.restart > 1:
            raise ValueError(
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
        count, size = len(w), w[0].numel()
        self.scheme = scheme
        self.residuals = w.new_zeros(scheme.memory, count, size)
        self.steps = w.new_zeros(scheme.memory, count, size)
        self.gram = w.new_zeros(count, scheme.memory, scheme.memory, dtype=torch.float64)
        self.kept = torch.zeros(count, scheme.memory, dtype=torch.bool, device=w.device)
        self.taken = w.new_zeros(count)
        self.slot = 0
        self.first: Tensor | None = None
        self.last: Tensor | None = None

    def __call__(self, w: Tensor, image: Tensor, change: tuple[Tensor, Tensor] | None) -> Tensor:
        residual = (image - w).flatten(1)
        length = torch.linalg.vector_norm(residual, dim=1)
        step = _Relaxed(self.scheme.relaxation)(w, image, None)
        if self.first is None or self.last is None or change is None:
            self.first = self.last = length
            return step.clone()
        self._remember(change, grown=length > self.scheme.restart * self.last)
        self.last = length
        correction = torch.einsum("bm,mbn->bn", self._coefficients(residual), self.steps)
        allowed = self.scheme.safeguard * self.first * (self.taken + 1) ** -1.1
        # Also False for a correction that is not finite.
        take = torch.linalg.vector_norm(correction, dim=1) <= allowed
        self.taken += take
        corrected = step.flatten(1) - torch.where(take[:, None], correction, 0)
        return corrected.view_as(w)

    def _remember(self, change: tuple[Tensor, Tensor], grown: Tensor) -> None:
        """Put the last difference in the place of the oldest, with its row of the Gram matrix."""
        moved, mapped = (part.flatten(1) for part in change)
        slot, self.slot = self.slot, (self.slot + 1) % self.scheme.memory
        torch.sub(mapped, moved, out=self.residuals[slot])
        if self.scheme.relaxation == 1:
            self.steps[slot].copy_(mapped)
        else:
            torch.lerp(moved, mapped, self.scheme.relaxation, out=self.steps[slot])
        row = torch.einsum("mbn,bn->bm", self.residuals, self.residuals[slot]).double()
        self.gram[:, slot, :] = self.gram[:, :, slot] = row
        self.kept[grown] = False
        self.kept[:, slot] = ~grown

    def _coefficients(self, residual: Tensor) -> Tensor:
        """``c`` of every image ``[B, memory]``, from the normal equations with unit diagonal."""
        target = torch.einsum("mbn,bn->bm", self.residuals, residual).double()
        diagonal = self.gram.diagonal(dim1=1, dim2=2) * self.kept
        scale = torch.where(diagonal > 0, diagonal, 1).rsqrt() * (diagonal > 0)
        matrix = self.gram * scale[:, :, None] * scale[:, None, :]
        matrix.diagonal(dim1=1, dim2=2).copy_(torch.full_like(scale, 1 + 1e-10))
        solution, _ = torch.linalg.solve_ex(matrix, target * scale)
        return (solution * scale).to(residual.dtype)


#: The schemes by the names under which solvers take them.
SCHEMES: dict[str, type[Scheme]] = {
    "anderson": Anderson,
    "halpern": Halpern,
    "krasnoselskii-mann": KrasnoselskiiMann,
}


def scheme_named(scheme: str | Scheme) -> Scheme:
    """A scheme by its name, or the one given.

    Raises
    ------
    ValueError
        an unknown name.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if scheme not in SCHEMES:
        raise ValueError(f"expected a scheme among {', '.join(SCHEMES)}, got {scheme!r}")
    return SCHEMES[scheme]()


def _require_share(relaxation: float) -> None:
    if not 0 < relaxation <= 1:
        raise ValueError(f"expected a relaxation in (0, 1], got {relaxation}")
