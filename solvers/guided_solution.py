"""What a guided solve returns: every stage with its plan and its guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pnp_lip.rounding import format_up
from pnp_lip.solvers.solution import Solution

__all__ = ["GuidedSolution", "Stage"]

_THROUGH_THE_GUIDE = (
    "each stage converges by the theorem of its plan, for its fixed guide; nothing is claimed about how "
    "the result depends on the observation through the guide"
)
_FOLLOWING = (
    "the plain stage and the loop with a moving guide converge by the theorems of their plans; nothing is "
    "claimed about how the result depends on the observation through the guide"
)


@dataclass(frozen=True)
class Stage:
    """One solve.

    Attributes
    ----------
    solution
        what it returned.
    guide
        hash of its guide, of the last one where it moved; ``None`` of the plain solve.
    moved
        whether the guide moved.
    """

    solution: Solution
    guide: str | None = None
    moved: bool = False

    @property
    def title(self) -> str:
        """How the stage is called in a summary."""
        if self.guide is None:
            return "plain"
        return f"guided by {'a moving guide, at last ' if self.moved else ''}{self.guide[:12]}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "guide_sha256": self.guide,
            "guide_moved": self.moved,
            "iterations": self.solution.iterations,
            "status": self.solution.status.name,
            "residual": self.solution.residual,
            "plan": self.solution.plan.to_dict(),
        }


@dataclass(frozen=True)
class GuidedSolution(Solution):
    """A reconstruction in stages: what a solution says of the last one, and all of them.

    ``iterations`` and ``residuals`` are those of all stages, one after the other.

    Attributes
    ----------
    run
        the plain solve, then one guided solve for each guide, or one in which the guide moved.
    stability
        a bound of the change of the result by a change of ``y``, through the guide as well,
        for a fixed first image; ``None`` unless every stage contracts.
    """

    run: tuple[Stage, ...] = ()
    stability: float | None = None

    @classmethod
    def of(cls, run: tuple[Stage, ...], stability: float | None = None) -> GuidedSolution:
        """All stages together."""
        solutions = [stage.solution for stage in run]
        own = vars(solutions[-1]) | {
            "iterations": sum(solution.iterations for solution in solutions),
            "residuals": torch.cat([solution.residuals for solution in solutions]),
        }
        return cls(**own, run=run, stability=stability)

    @property
    def stages(self) -> tuple[Solution, ...]:
        """The solutions of the stages."""
        return tuple(stage.solution for stage in self.run)

    @property
    def guides(self) -> tuple[str, ...]:
        """Hashes of the guides, one for each guided solve."""
        return tuple(stage.guide for stage in self.run if stage.guide is not None)

    @property
    def guaranteed(self) -> bool:
        """Whether the theorem of every stage covers what was run."""
        return all(solution.guaranteed for solution in self.stages)

    @property
    def remark(self) -> str:
        """What is known of the way from the observation through the guide to the result."""
        if self.stability is not None:
            return (
                f"through the guide as well, a change of y moves the result by at most "
                f"{format_up(self.stability, 3)} times as much, for a fixed first image"
            )
        return _FOLLOWING if any(stage.moved for stage in self.run) else _THROUGH_THE_GUIDE

    def summary(self) -> str:
        """Every stage in a few lines, and what no theorem covers."""
        lines = []
        for index, stage in enumerate(self.run):
            solution = stage.solution
            head = f"stage {index + 1}, {stage.title}, {solution.iterations} iterations"
            lines.append(f"{head}: {solution.message}")
            lines += ["  " + line for line in solution.plan.summary().splitlines()]
        return "\n".join([*lines, self.remark])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for a report."""
        return {
            "stages": [stage.to_dict() for stage in self.run],
            "stability": self.stability,
            "remark": self.remark,
        }
