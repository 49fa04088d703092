"""One problem at several strengths of the denoiser, on one sheet: the eye chooses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.quality import psnr
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, Restoration, restore
from pnp_lip.recipes.sheet import save_sheet
from pnp_lip.solvers.discrepancy import default_target
from pnp_lip.solvers.misfit import discrepancy

__all__ = ["Sweep", "sweep"]


@dataclass(frozen=True)
class Sweep:
    """Restorations of one problem.

    Attributes
    ----------
    tries
        one for every strength.
    unit
        the strength of the denoiser that counts as 1.
    """

    tries: tuple[Restoration, ...]
    unit: float

    @property
    def chosen(self) -> int:
        """Index of the best in PSNR where the truth is known.

        Elsewhere of the try whose misfit is nearest to the target of the discrepancy principle, or of the
        middle one where there is no noise.
        """
        problem = self.tries[0].problem
        if problem.truth is not None:
            scores = [psnr(one.image, problem.truth) for one in self.tries]
            return max(range(len(scores)), key=scores.__getitem__)
        if problem.noise == 0:
            return len(self.tries) // 2
        target = default_target(problem.noise)
        misfits = [abs(math.log(max(misfit(one), 1e-12) / target)) for one in self.tries]
        return min(range(len(misfits)), key=misfits.__getitem__)

    @property
    def image(self) -> Tensor:
        """The chosen restoration."""
        return self.tries[self.chosen].image

    def to_dict(self) -> dict[str, Any]:
        """The report of the chosen one, and a line about each."""
        return {**self.tries[self.chosen].to_dict(), "sweep": [self._line(t) for t in self.tries]}

    def summary(self) -> str:
        """The sweep as a table, then the chosen one."""
        rows = [
            f"  {line['strength']:8.3g} {line['sigma']:8.4f} {_db(line['psnr']):>8} "
            f"{_share(line['discrepancy']):>10} {line['iterations']:10d}"
            for line in map(self._line, self.tries)
        ]
        head = "  strength    sigma     PSNR  misfit/noise iterations"
        return "\n".join([self.tries[self.chosen].summary(), head, *rows])

    def draw(self, path: Path) -> None:
        """Write the contact sheet; the chosen one is marked."""
        panels = []
        for index, one in enumerate(self.tries):
            line = self._line(one)
            label = f"strength {line['strength']:.3g}"
            label += "" if line["psnr"] is None else f", {line['psnr']:.2f} dB"
            panels.append((label + (" (written)" if index == self.chosen else ""), one.image))
        save_sheet([("observation", self.tries[0].problem.observation), *panels], path)

    def _line(self, one: Restoration) -> dict[str, Any]:
        truth = one.problem.truth
        return {
            "strength": one.options.sigma / self.unit,
            "sigma": one.options.sigma,
            "psnr": None if truth is None else psnr(one.image, truth),
            "discrepancy": misfit(one) if one.problem.noise else None,
            "iterations": one.solution.iterations,
            "status": one.solution.status.name,
        }


@torch.no_grad()
def misfit(restoration: Restoration) -> float:
    r""":math:`|Ax - y|^2/(m s^2)` for ``m`` measurements with noise of standard deviation ``s``."""
    problem = restoration.problem
    return discrepancy(problem.physics, restoration.solution.x, problem.y, problem.noise)


def sweep(problem: Problem, options: Options, strengths: Sequence[float], unit: float) -> Sweep:
    """Solve ``problem`` at each strength, from weak to strong; each solve starts where the last one ended.

    Network, proof and norm of the physics are kept from the first solve.

    Parameters
    ----------
    problem
        what is to be restored.
    options
        how; its ``sigma`` is replaced.
    strengths
        multiples of ``unit``, each once.
    unit
        the strength of the denoiser, in [0, 1), that counts as 1.

    Returns
    -------
    Sweep
        in increasing order of the strengths.

    Raises
    ------
    InputError
        no strength, one that is not positive, or one that is too large.
    """
    if not strengths or not all(math.isfinite(s) and s > 0 for s in strengths):
        raise InputError(f"expected one or more positive strengths, got {list(strengths)}")
    tries: list[Restoration] = []
    for strength in sorted(set(strengths)):
        start = tries[-1].solution.x if tries else None
        how = replace(options, sigma=strength * unit)
        tries.append(restore(problem, how, start=start))
    return Sweep(tuple(tries), unit)


def _db(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
