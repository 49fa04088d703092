"""What a theorem needs, whether it holds here, and what it then promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pnp_lip.certifier import Statement
from pnp_lip.errors import PnpLipError
from pnp_lip.solvers.operator_norm import OperatorNorm

__all__ = ["HypothesisViolated", "Plan", "Theorem"]


class HypothesisViolated(PnpLipError, ValueError):
    """A hypothesis of the convergence theorem fails; the message names it and what to change."""


@dataclass(frozen=True)
class Theorem:
    """A convergence theorem.

    Attributes:
        name: how the field calls it.
        conclusion: what it promises, as a sentence.
        reference: where it is proved.
    """

    name: str
    conclusion: str
    reference: str


@dataclass(frozen=True)
class Plan:
    """How a solver is going to run, and what is guaranteed of it.

    Attributes:
        method: name of the iteration.
        theorem: the theorem whose hypotheses were checked, ``None`` if one of them fails.
        stepsize: the step or penalty parameter used.
        relaxation: the weight of the map in each iteration.
        denoiser: what is proved of the denoiser as the method applies it.
        norm: bounds of the singular values of the physics.
        violations: hypotheses that fail, each with its remedy; empty if the theorem applies.
        remarks: what a reader should know besides.
        contraction: a proved rate ``q < 1``, if there is one.
    """

    method: str
    theorem: Theorem | None
    stepsize: float
    relaxation: float
    denoiser: Statement | None
    norm: OperatorNorm
    violations: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    contraction: float | None = None

    @property
    def guaranteed(self) -> bool:
        """Whether every hypothesis of ``theorem`` is proved."""
        return self.theorem is not None and not self.violations

    def require_guarantee(self) -> None:
        """Raise :class:`HypothesisViolated` unless the theorem applies."""
        if self.violations:
            raise HypothesisViolated(
                f"{self.method}: "
                + "; ".join(self.violations)
                + ". To run without any guarantee, pass unproved=True"
            )

    def summary(self) -> str:
        """The plan in a few lines."""
        lines = [f"{self.method}, stepsize {self.stepsize:.4g}"]
        if self.relaxation != 1:
            lines.append(f"relaxation {self.relaxation:.4g}")
        if self.theorem is not None and self.guaranteed:
            lines += [f"theorem: {self.theorem.name}", self.theorem.conclusion]
        else:
            lines += ["NO GUARANTEE: " + "; ".join(self.violations)]
        return "\n".join(
            [*lines, f"|A| <= {self.norm.upper:.6g}: {self.norm.source.value}", *self.remarks]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for a report."""
        return {
            "method": self.method,
            "theorem": self.theorem.name if self.theorem and self.guaranteed else None,
            "conclusion": self.theorem.conclusion if self.theorem and self.guaranteed else None,
            "stepsize": self.stepsize,
            "relaxation": self.relaxation,
            "operator_norm_upper": self.norm.upper,
            "operator_norm_source": self.norm.source.value,
            "violations": list(self.violations),
            "remarks": list(self.remarks),
            "contraction": self.contraction,
        }
