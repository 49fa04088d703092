r"""A denoiser that is watched while it runs.

Between two inputs in succession, of the same shape and noise level, a map with
:math:`\mathrm{Lip}(D) \le L` satisfies :math:`|D(x)-D(y)| \le L|x-y|`. An excess of the size of
float32 rounding is looked at again in float64, where the stated execution error is :math:`2^{-29}` of
what it is in float32; only an excess beyond that is a violation, and then the pair is its proof.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from deepinv.models import Denoiser
from torch import Tensor, nn

from pnp_lip.data.images import write_pair
from pnp_lip.errors import PnpLipError

__all__ = ["Guard", "GuardViolation", "Violation"]

#: Excess over ``L |x - y|``, relative to the outputs, from which a pair is looked at in float64.
_SUSPICIOUS = 64 * 2.0**-24
#: Roundings of float64 relative to those of float32.
_DOUBLE = 2.0**-29


@dataclass(frozen=True)
class Violation:
    """Two images between which a denoiser expands more than was claimed.

    Attributes:
        x, y: inputs ``[1, C, H, W]``, as the denoiser saw them.
        ratio: ``|D(x) - D(y)| / |x - y|``, computed in float64.
        bound: what was claimed.
        sigma: the noise level.
    """

    x: Tensor = field(repr=False)
    y: Tensor = field(repr=False)
    ratio: float
    bound: float
    sigma: float | None

    def save(self, folder: str | Path) -> list[Path]:
        """Write the two images, see :func:`pnp_lip.data.images.write_pair`."""
        return write_pair(self.x, self.y, folder)


class GuardViolation(PnpLipError, RuntimeError):
    """A denoiser that is not what was claimed; ``violation`` holds the pair."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(
            f"expected |D(x) - D(y)| <= {violation.bound:.9g} |x - y|, got the ratio "
            f"{violation.ratio:.9g} between two iterates (noise level {violation.sigma}): the denoiser "
            f"is not what was claimed; violation.save(folder) writes the two images"
        )
        self.violation = violation


class Guard(Denoiser):
    """``denoiser``, with its claimed Lipschitz constant checked on the iterates it sees.

    Args:
        denoiser: any denoiser ``D(x, sigma)``.
        bound: the claimed constant ``L``.
        on_violation: ``"raise"`` a :class:`GuardViolation`, or ``"record"`` it in ``violations``.
        execution: the relative float32 execution error of the denoiser, as in a certificate; it
            sets the tolerance of the decision in float64.

    Attributes:
        violations: what was recorded.
        checked: number of pairs of images compared so far.
        explained: how many of them exceeded the bound in float32 but not in float64.

    Raises:
        ValueError: a bound that is not positive, or an unknown ``on_violation``.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        bound: float = 1.0,
        on_violation: Literal["raise", "record"] = "raise",
        *,
        execution: float = 1.0,
    ) -> None:
        super().__init__()
        if not (bound > 0 and math.isfinite(bound)):
            raise ValueError(f"bound must be a positive number, got {bound}")
        if on_violation not in ("raise", "record"):
            raise ValueError(f"on_violation must be 'raise' or 'record', got {on_violation!r}")
        self.denoiser = denoiser
        self.in_channels = getattr(denoiser, "in_channels", None)
        self.bound, self.on_violation, self.execution = float(bound), on_violation, execution
        self.violations: list[Violation] = []
        self.checked = self.explained = 0
        self._last: tuple[Tensor, Tensor, Any] | None = None

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """``denoiser(x, sigma)``, checked against the call before."""
        out: Tensor = self.denoiser(x, sigma, **kwargs)
        with torch.no_grad():
            self._check(x.detach(), out.detach(), sigma, kwargs)
        return out

    def reset(self) -> None:
        """Forget the last call, for instance before another image."""
        self._last = None

    def _check(self, x: Tensor, out: Tensor, sigma: Any, kwargs: dict[str, Any]) -> None:
        last, self._last = self._last, (x.clone(), out.clone(), _level(sigma))
        if last is None or last[0].shape != x.shape or last[0].device != x.device:
            return
        if last[2] != self._last[2] or last[0].dtype != x.dtype:
            return
        self.checked += len(x)
        moved, apart = _norms(out - last[1]), _norms(x - last[0])
        excess = moved - self.bound * apart
        for index in (excess > _SUSPICIOUS * _norms(out)).nonzero().flatten().tolist():
            self._decide(x[index, None], last[0][index, None], _at(sigma, index, len(x)), kwargs)

    def _decide(self, x: Tensor, y: Tensor, sigma: Any, kwargs: dict[str, Any]) -> None:
        """Compute the pair again in float64."""
        exact = copy.deepcopy(self.denoiser).double()
        level = sigma.double() if isinstance(sigma, Tensor) else sigma
        images = [exact(image.double(), level, **kwargs) for image in (x, y)]
        apart = float(torch.linalg.vector_norm(x.double() - y.double()))
        moved = float(torch.linalg.vector_norm(images[0] - images[1]))
        rounding = _DOUBLE * self.execution * float(_norms(x.double()) + _norms(y.double()))
        if moved <= self.bound * apart + rounding:
            self.explained += 1
            return
        ratio = moved / apart if apart > 0 else math.inf
        violation = Violation(x.clone(), y.clone(), ratio, self.bound, _number(sigma))
        if self.on_violation == "raise":
            raise GuardViolation(violation)
        self.violations.append(violation)


def _norms(images: Tensor) -> Tensor:
    """The norm of every image of a batch."""
    return torch.linalg.vector_norm(images.flatten(1), dim=1)


def _level(sigma: Any) -> Any:
    """The noise level as a value that can be compared."""
    return tuple(sigma.detach().flatten().tolist()) if isinstance(sigma, Tensor) else sigma


def _number(sigma: Any) -> float | None:
    """The noise level of one image, for the record."""
    if isinstance(sigma, Tensor):
        return float(sigma.flatten()[0]) if sigma.numel() else None
    return None if sigma is None else float(sigma)


def _at(sigma: Any, index: int, count: int) -> Any:
    """The noise level of one image of a batch."""
    if isinstance(sigma, Tensor) and sigma.numel() == count:
        return sigma.detach().flatten()[index : index + 1]
    return sigma
