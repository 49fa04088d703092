"""The plan of one loop whose guide follows the image: its theorem, and what the theorem needs."""

from __future__ import annotations

from dataclasses import replace

from pnp_lip.rounding import format_up
from pnp_lip.solvers.guide import Adaptive
from pnp_lip.solvers.plan import HypothesisViolated, Plan
from pnp_lip.solvers.schemes import Halpern, Scheme
from pnp_lip.solvers.theorems import Theorem

__all__ = ["FOLLOWING", "following_plan", "require_followed"]

FOLLOWING = Theorem(
    "Krasnosel'skii-Mann theorem with summable errors, for a guide that converges",
    "the guides converge, and the iterates converge to a fixed point of the map with the guide's limit, "
    "which exists, because the images are kept in a box",
    "Combettes 2001, Theorem 5.5",
)


def require_followed(box: tuple[float, float] | None, scheme: Scheme) -> tuple[float, float]:
    """The box, in which a guide may follow the images.

    Raises
    ------
    HypothesisViolated
        no box, or a scheme that the theorem does not cover.
    """
    if box is None:
        raise HypothesisViolated(
            "a guide that follows the image needs images that are kept in a box: use "
            "ForwardBackward(..., box=(0, 1)), or guide='stages'"
        )
    if isinstance(scheme, Halpern):
        raise HypothesisViolated(
            "Halpern's iteration is not covered with a guide that follows the image: use another scheme, "
            "or guide='stages'"
        )
    return box


def following_plan(plan: Plan, rule: Adaptive, box: tuple[float, float], iterations: int) -> Plan:
    """``plan``, which was checked for one guide, for a guide that followed ``rule``.

    What was proved of the map with one guide besides its convergence is dropped.
    """
    left = (box[1] - box[0]) * rule.left(iterations)
    remarks = (
        f"the sum of k theta_k is at most {format_up(rule.total, 4)}, so the errors of the moving guide "
        f"are summable; after {iterations} iterations the guide can still move by at most "
        f"{format_up(left, 3)} in root mean square",
    )
    return replace(
        plan,
        theorem=FOLLOWING if plan.guaranteed else None,
        contraction=None,
        stability=None,
        rate=None,
        remarks=plan.remarks + remarks,
    )
