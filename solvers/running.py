"""One run of a plan: iterate its map, certify the distance, and report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pnp_lip.solvers.data_term import DataTerm, ObservationError
from pnp_lip.solvers.distance import certified_distance
from pnp_lip.solvers.iteration import Iteration, Status, StoppingRule, iterate
from pnp_lip.solvers.part import MakePart
from pnp_lip.solvers.plan import Plan
from pnp_lip.solvers.solution import FixedPointMap, Solution

__all__ = ["Callback", "Denoise", "continued", "run"]

#: Relative rounding of a residual that is compared with a rate.
_ROUNDING = 1e-5

Callback = Callable[[int, Tensor], None]
Denoise = Callable[[Tensor], Tensor]


def continued(fixed_point: FixedPointMap, init: Any) -> FixedPointMap:
    """The map from where a solution ended, if ``init`` is one.

    Raises
    ------
    ObservationError
        the solution is one of another problem or method.
    """
    if not isinstance(init, Solution):
        return fixed_point
    if init.variable.shape != fixed_point.start.shape:
        raise ObservationError(
            f"expected a solution of the same problem by the same method, whose variable has the shape "
            f"{tuple(fixed_point.start.shape)}, got {tuple(init.variable.shape)}: pass init=solution.x"
        )
    return replace(fixed_point, start=init.variable.to(fixed_point.start))


def run(
    fixed_point: FixedPointMap,
    data: DataTerm,
    plan: Plan,
    rule: StoppingRule,
    *,
    start: Tensor,
    exact: Callable[[], Denoise],
    part: MakePart | None = None,
    callback: Callback | None = None,
    progress: str | None = None,
) -> Solution:
    """Iterate until the rule is met.

    Parameters
    ----------
    fixed_point
        the map, and the variable to begin with.
    data
        the data term in it.
    plan
        its parameters and theorem.
    rule
        when to stop.
    start
        the first image, as a real variable.
    exact
        makes the map for float64.
    part
        makes the map for some images of the batch.
    callback
        called with the iteration and the current image.
    progress
        label of a progress bar.
    """
    end = iterate(
        fixed_point.step,
        fixed_point.start,
        replace(rule, scale=plan.scale, exists=plan.exists),
        scheme=plan.scheme,
        exact=exact,
        measure=fixed_point.measure,
        part=part,
        callback=_on_images(callback, fixed_point, data),
        progress=progress,
    )
    x = data.native(fixed_point.image(end.w))
    finite = bool(torch.isfinite(x).all())
    return Solution(
        x=x,
        status=end.status if finite else Status.NON_FINITE,
        iterations=end.iterations,
        residuals=end.residuals,
        plan=plan,
        variable=end.w,
        start=start,
        statuses=end.statuses,
        steps=end.steps,
        tol=rule.tol,
        growth=end.growth,
        distance=certified_distance(end.w, plan, exact),
        inexact=data.missed,
        slower=_slower(end, plan),
    )


def _slower(end: Iteration, plan: Plan) -> bool:
    """Whether the last residual of an image exceeds the rate of the plan by more than rounding."""
    if plan.rate is None or end.iterations == 0:
        return False
    bound = plan.rate.after(end.iterations - 1) + _ROUNDING * plan.rate.distance
    return bool((end.lengths > bound).any())


def _on_images(
    callback: Callback | None, fixed_point: FixedPointMap, data: DataTerm
) -> Callback | None:
    if callback is None:
        return None
    image, latest = fixed_point.image, fixed_point.latest
    return lambda iteration, w: callback(
        iteration, data.native(image(w) if latest is None else latest())
    )
