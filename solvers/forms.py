"""The map of a plan in its other forms: in float64, and on some images of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from deepinv.optim.data_fidelity import DataFidelity
from torch import Tensor, nn

from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.execution import in_double, unfolded
from pnp_lip.solvers.part import Part
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.solution import FixedPointMap

__all__ = ["Build", "Forms"]


class Build(Protocol):
    """Makes the map of a method."""

    def __call__(
        self, data: DataTerm, plan: Plan, start: Tensor, *, denoiser: nn.Module | None = None
    ) -> FixedPointMap: ...


@dataclass(frozen=True)
class Forms:
    """What the forms are made of.

    Attributes
    ----------
    build
        makes the map.
    data
        the data term.
    fidelity
        what the data term was made of.
    plan
        the parameters.
    start
        the first image, as a real variable.
    """

    build: Build
    data: DataTerm
    fidelity: DataFidelity | None
    plan: Plan
    start: Tensor

    def exact(self, denoiser: nn.Module) -> Callable[[Tensor], Tensor]:
        """For float64, of the denoiser that the certificate is about."""
        physics = in_double(self.data.physics)
        twin = DataTerm(self.data.y, physics, self.fidelity, dtype=torch.float64, prox_error=1e-14)
        own = in_double(unfolded(denoiser))
        return self.build(twin, self.plan, self.start.double(), denoiser=own).step

    def part(self, rows: list[int], denoiser: nn.Module) -> Part | None:
        """For some images of the batch, with the denoiser as it is run."""
        data, plan, sigma = self.data.of(rows), self.plan, self.plan.sigma
        if data is None:
            return None
        if isinstance(sigma, Tensor) and sigma.numel() > 1:
            plan = replace(plan, sigma=sigma[rows])
        some = self.build(data, plan, self.start[rows], denoiser=denoiser)
        return Part(some.step, some.measure)
