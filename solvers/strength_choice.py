"""What the discrepancy principle chose, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pnp_lip.solvers.root_search import Try
from pnp_lip.solvers.solution import Solution

__all__ = ["StrengthChoice"]


@dataclass(frozen=True)
class StrengthChoice:
    r"""A solve at the strength that the discrepancy principle chose.

    Attributes
    ----------
    solution
        the last solve, to the solver's own tolerance.
    sigma
        the noise level of its denoiser, a number or one per image.
    strength
        ``sigma`` over the noise.
    noise
        standard deviation of the noise, a number or one per image.
    target
        :math:`\tau`.
    discrepancy
        :math:`\|Ax - y\|^2/(m s^2)` of the solution.
    met
        whether the search found a root; without one it took the nearer end of its range.
    tries
        the solves of the search.
    """

    solution: Solution
    sigma: float | Tensor
    strength: float
    noise: float | Tensor
    target: float
    discrepancy: float
    met: bool
    tries: tuple[Try, ...]

    @property
    def message(self) -> str:
        """What was chosen, in a sentence."""
        found = f"the misfit is {self.discrepancy:.3g} times that of the noise"
        if self.met:
            return (
                f"strength {self.strength:.3g} of the noise, by the discrepancy principle: {found}"
            )
        return (
            f"strength {self.strength:.3g} of the noise, an end of the range of the discrepancy principle: "
            f"{found}, not {self.target:.3g}; is the noise level right?"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for a report."""
        return {
            "noise": torch.as_tensor(self.noise).tolist(),
            "sigma": torch.as_tensor(self.sigma).tolist(),
            "strength": self.strength,
            "target": self.target,
            "discrepancy": self.discrepancy,
            "met": self.met,
            "tries": [[one.strength, one.discrepancy, one.iterations] for one in self.tries],
        }
