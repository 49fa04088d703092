"""Run a solver on a problem, and report what came out: numbers, a figure, a file to repeat it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from torch import Tensor

from pnp_lip.formats.raster import Storage
from pnp_lip.quality import psnr, quality
from pnp_lip.recipes.claims import claims_of
from pnp_lip.recipes.figure import before_and_after, curve, residual_curve, save_figure, words
from pnp_lip.recipes.options import SOLVERS, Options, network_of, solver_for
from pnp_lip.recipes.outputs import Outputs
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers import (
    GuidedSolution,
    Solution,
    StrengthChoice,
)
from pnp_lip.versions import versions

__all__ = ["SOLVERS", "Options", "Restoration", "finished", "restore"]


@dataclass(frozen=True)
class Restoration:
    """A solved problem.

    Attributes
    ----------
    problem, options, solution
        what was asked, how, and the answer.
    image
        the restored image ``[1, C, H, W]`` or volume ``[1, C, D, H, W]``, in the frame of the observation.
    psnr_curve
        PSNR after every iteration, in dB; empty where the truth is unknown.
    plain
        of a guided solve, the result that its guide is, in the frame of the observation.
    weights_sha256
        hash of the denoiser's weights.
    choice
        how the discrepancy principle chose the strength, where it did.
    """

    problem: Problem
    options: Options
    solution: Solution | GuidedSolution
    image: Tensor
    psnr_curve: tuple[float, ...]
    weights_sha256: str
    plain: Tensor | None = None
    choice: StrengthChoice | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report: results, guarantee, and everything needed to repeat the run."""
        plan, statement = self.solution.plan, self.solution.plan.denoiser
        return {
            "task": self.problem.name,
            **quality(self.problem.observation, self.image, self.problem.truth),
            "lipschitz_upper": None if statement is None else statement.upper,
            "averagedness": None if statement is None else statement.averagedness,
            "theorem": plan.theorem.name if plan.theorem else None,
            "solver": self.options.solver,
            "stepsize": plan.stepsize,
            "sigma": self.options.sigma,
            "choice": None if self.choice is None else self.choice.to_dict(),
            "iterations": self.solution.iterations,
            "residual": self.solution.residual,
            "status": self.solution.status.name,
            "message": self.solution.message,
            "seed": self.options.seed,
            "noise": self.problem.noise,
            "plan": plan.to_dict(),
            "guided": self._stages(),
            "options": asdict(self.options),
            "settings": self.problem.settings,
            "remarks": self.problem.remarks,
            "certificate": claims_of(statement, self.weights_sha256),
            "weights_sha256": self.weights_sha256,
            "versions": versions(),
        }

    def _stages(self) -> dict[str, Any] | None:
        """Every stage of a guided solve, and the quality of the plain one."""
        if self.plain is None or not isinstance(self.solution, GuidedSolution):
            return None
        truth = self.problem.truth
        return self.solution.to_dict() | {
            "psnr_plain": None if truth is None else psnr(self.plain, truth)
        }

    def summary(self) -> str:
        """The report for a person."""
        report = self.to_dict()
        solution = self.solution
        stated = solution if isinstance(solution, GuidedSolution) else solution.plan
        return "\n".join(
            [
                f"{self.problem.name}: {self.solution.status.value}",
                *_gain("PSNR", report, " dB", 2),
                *_gain("SSIM", report, "", 4),
                *_plain(report),
                *([] if self.choice is None else [f"  {self.choice.message}"]),
                _guarantee(report),
                *("  " + line for line in stated.summary().splitlines()),
                f"  iterations  {report['iterations']}, fixed-point residual {report['residual']:.2e}",
            ]
        )

    def draw(self, path: Path) -> None:
        """Write the figure: images with kernel or mask, the residuals, and PSNR or the report."""
        problem = self.problem
        panels = before_and_after(problem.observation, self.image, problem.truth, self.plain)
        second = curve(self.psnr_curve, "PSNR in dB") if self.psnr_curve else words(self.summary())
        first = residual_curve(self.solution.residuals, self.options.tol)
        save_figure(panels, path, (first, second), self.problem.inset)

    def save(
        self, path: str | Path, stored: Storage | DTypeLike = np.uint8, *, force: bool = False
    ) -> tuple[Path, ...]:
        """Write the image to ``path``, the figure to ``NAME.figure.png``, the report to ``NAME.json``.

        Parameters
        ----------
        path
            where to write the image; its suffix chooses the format.
        stored
            how to store the pixels: a type, or the storage of the image they came from.
        force
            overwrite files that no earlier run wrote.

        Returns
        -------
        tuple[Path, ...]
            The three paths.

        Raises
        ------
        InputError
            a place that cannot be written, or a file of the user's there.
        """
        return Outputs(Path(path), force).write(self.image, stored, self.draw, self.to_dict())


def _gain(name: str, report: dict[str, Any], unit: str, digits: int) -> list[str]:
    """A measure before and after, where there is one."""
    before, after = (report[f"{name.lower()}_{image}"] for image in ("observation", "restoration"))
    if before is None or after is None:
        return []
    return [f"  {name}  {before:.{digits}f} -> {after:.{digits}f}{unit}"]


def _plain(report: dict[str, Any]) -> list[str]:
    """The plain result that a guided one starts from."""
    stages = report["guided"]
    if stages is None or stages["psnr_plain"] is None:
        return []
    return [f"  plain {stages['psnr_plain']:.2f} dB, guided {report['psnr_restoration']:.2f} dB"]


def _guarantee(report: dict[str, Any]) -> str:
    upper, averagedness = report["lipschitz_upper"], report["averagedness"]
    if upper is None:
        return f"  denoiser    nothing is proved of it, sigma {report['sigma']:.4g}"
    averaged = "" if averagedness is None else f", averagedness {averagedness:.4f}"
    return f"  denoiser    Lip(D) <= {upper:.6g} (proved){averaged}, sigma {report['sigma']:.4g}"


def restore(problem: Problem, options: Options, *, start: Tensor | None = None) -> Restoration:
    """Solve ``problem`` with the shipped (or given) denoiser.

    Parameters
    ----------
    problem
        what is to be restored.
    options
        how.
    start
        the first image, if it is not to be the observation: for instance the solution for other options.

    Raises
    ------
    HypothesisViolated
        the convergence theorem does not apply with these options.
    InputError
        a volume and a guided solve.
    """
    solver = solver_for(problem, options)
    first = problem.start if start is None else start
    curve: list[float] = []

    def record(iteration: int, x: Tensor) -> None:
        if problem.truth is not None:
            curve.append(psnr(problem.in_frame(x), problem.truth))

    solution = solver.solve(problem.y, problem.physics, init=first, callback=record)
    return finished(problem, options, solution, curve)


def finished(
    problem: Problem,
    options: Options,
    solution: Solution | GuidedSolution,
    curve: Sequence[float] = (),
) -> Restoration:
    """The restoration that a solution is.

    Parameters
    ----------
    problem, options
        what was asked, and how.
    solution
        the answer.
    curve
        PSNR after every iteration.
    """
    plain = solution.stages[0].x if isinstance(solution, GuidedSolution) else None
    return Restoration(
        problem,
        options,
        solution,
        problem.in_frame(solution.x).clamp(0, 1),
        tuple(curve),
        network_of(problem, options).sha256,
        None if plain is None else problem.in_frame(plain).clamp(0, 1),
    )
