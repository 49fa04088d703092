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
#: A rounding of float64 relative to one of float32.
_DOUBLE = 2.0**-29
#: How many kinds of calls (shape, type, device, noise level) are remembered, the last of each.
_KINDS = 4


@dataclass(frozen=True)
class Violation:
    """Two images between which a denoiser expands more than was claimed.

    Attributes
    ----------
    x, y
        inputs ``[1, C, H, W]``, as the denoiser saw them.
    ratio
        ``|D(x) - D(y)| / |x - y|``, computed in float64.
    bound
        what was claimed.
    sigma
        the noise level.
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

    An output that is not finite, for an input that is, is a violation, too.

    Parameters
    ----------
    denoiser
        any denoiser ``D(x, sigma)``.
    bound
        the claimed constant ``L``.
    on_violation
        ``"raise"`` a :class:`GuardViolation`, or ``"record"`` it in ``violations``.
    execution
        the relative float32 execution error of the denoiser, as in a certificate; it
        sets the tolerance of the decision in float64.

    Attributes
    ----------
    violations
        what was recorded.
    checked
        number of pairs of images compared so far.
    explained
        how many of them exceeded the bound in float32 but not in float64.

    Raises
    ------
    ValueError
        a bound that is not positive, an ``execution`` that is no error, or an unknown
        ``on_violation``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from pnp_lip import Guard
    >>> class Doubles(nn.Module):
    ...     def forward(self, x, sigma):
    ...         return 2 * x
    >>> D = Guard(Doubles(), bound=1.0, on_violation="record")
    >>> for scale in (1.0, 0.5):
    ...     _ = D(scale * torch.ones(1, 1, 4, 4), 0.1)
    >>> f"{D.violations[0].ratio:.1f}"
    '2.0'
    """

    #: What it notes down, which no output depends on.
    outside_digest = ("_last", "violations", "checked", "explained")

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
        if isinstance(execution, (bool, str)) or not (0 <= execution < math.inf):
            raise ValueError(
                f"execution must be a relative error, a finite number >= 0 such as the one in a "
                f"certificate, got {execution!r}"
            )
        self.denoiser = denoiser
        self.in_channels = getattr(denoiser, "in_channels", None)
        self.bound, self.on_violation, self.execution = float(bound), on_violation, execution
        self.violations: list[Violation] = []
        self.checked = self.explained = 0
        self._last: dict[Any, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """``denoiser(x, sigma)``, checked against the call before.

        The denoiser gets a copy of ``x``, so that one that works in place changes nothing here.
        """
        out: Tensor = self.denoiser(x.clone(), sigma, **kwargs)
        with torch.no_grad():
            self._check(x.detach(), out.detach(), sigma, kwargs)
        return out

    def reset(self) -> None:
        """Forget the last calls, for instance before another image."""
        self._last = {}

    def _check(self, x: Tensor, out: Tensor, sigma: Any, kwargs: dict[str, Any]) -> None:
        """Compare with the last call of the same kind; of a few kinds the last call is kept."""
        kind = (x.shape, x.dtype, x.device, _level(sigma))
        last = self._last.pop(kind, None)
        self._last[kind] = (x.clone(), out.clone())
        if len(self._last) > _KINDS:
            del self._last[next(iter(self._last))]
        if last is None:
            return
        self.checked += len(x)
        moved, apart = _norms(out, last[1]), _norms(x, last[0])
        allowed = self.bound * apart + _SUSPICIOUS * _norms(out)
        # A comparison with NaN is false: what is not finite is suspicious, too.
        for index in (~(moved <= allowed)).nonzero().flatten().tolist():
            pair = x[index, None], last[0][index, None]
            if all(bool(image.isfinite().all()) for image in pair):
                self._decide(*pair, _at(sigma, index, len(x)), kwargs)

    def _decide(self, x: Tensor, y: Tensor, sigma: Any, kwargs: dict[str, Any]) -> None:
        """Compute the pair again in float64, or in its own type where the denoiser has no other."""
        try:
            exact = copy.deepcopy(self.denoiser).double()
            level = sigma.double() if isinstance(sigma, Tensor) else sigma
            images = [exact(image.double(), level, **kwargs).double() for image in (x, y)]
            unit = _DOUBLE
        except RuntimeError:  # weights that are no parameters stay what they are
            images = [self.denoiser(image.clone(), sigma, **kwargs).double() for image in (x, y)]
            unit = 1.0
        apart = float(_norms(x, y))
        moved = float(_norms(images[0], images[1]))
        rounding = unit * self.execution * float(_norms(x) + _norms(y))
        if moved <= self.bound * apart + rounding:
            self.explained += 1
            return
        ratio = moved / apart if apart > 0 else math.inf
        violation = Violation(
            x.clone(),
            y.clone(),
            math.inf if math.isnan(ratio) else ratio,
            self.bound,
            _number(sigma),
        )
        if self.on_violation == "raise":
            raise GuardViolation(violation)
        self.violations.append(violation)


def _norms(images: Tensor, others: Tensor | None = None) -> Tensor:
    """The norm of every image of a batch, or of its difference from another, in float64.

    Squares of float32 numbers neither overflow nor vanish there.
    """
    exact = images.double() if others is None else images.double() - others.double()
    return torch.linalg.vector_norm(exact.flatten(1), dim=1)


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
