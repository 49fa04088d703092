r"""The one loop: apply a nonexpansive ``T`` until its residual is small, whatever the scheme of steps.

Every image of a batch runs by itself. One that has converged keeps the result of that step, whatever the
others need, so that its result does not depend on its companions; one that became infinite or NaN keeps its
last finite iterate, and the others go on, without it where the map can be made for them alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from pnp_lip.errors import PnpLipError
from pnp_lip.solvers.growth import Numbers, Watch, norms, numbers
from pnp_lip.solvers.part import MakePart, Part, agreeing
from pnp_lip.solvers.schemes import KrasnoselskiiMann, Scheme
from pnp_lip.solvers.stopping import Iteration, Status, StoppingRule
from pnp_lip.solvers.trace import Trace

__all__ = ["Iteration", "MapError", "Status", "StoppingRule", "iterate"]


class MapError(PnpLipError, RuntimeError):
    """The map changes its argument, or returns another shape: it is no map of one variable."""


def iterate(
    fixed_point_map: Callable[[Tensor], Tensor],
    w: Tensor,
    rule: StoppingRule,
    *,
    scheme: Scheme | None = None,
    exact: Callable[[], Callable[[Tensor], Tensor]] | None = None,
    measure: Callable[[Tensor], Tensor] | None = None,
    part: MakePart | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
    progress: str | None = None,
) -> Iteration:
    """Iterate the map from ``w`` (``[B, ...]``, real).

    Parameters
    ----------
    fixed_point_map
        ``T``, acting on every image of the batch by itself.
    w
        start.
    rule
        when to stop.
    scheme
        how steps are made; those of Picard, ``w = T(w)``, without it.
    exact
        makes the map for float64, to decide whether a growth is a proof. A map on float64
        is its own.
    measure
        the norm ``[B]`` in which ``T`` is nonexpansive; the Euclidean one without it.
    part
        makes the map for some images of the batch, so that those that have ended cost nothing; what
        it makes is used only if it agrees with the map.
    callback
        called with the iteration (from 1) and ``T`` of the iterate.
    progress
        label of a progress bar on a terminal; none without it.

    Raises
    ------
    MapError
        the map changed its argument in place, or returned another shape.
    """
    if exact is None and w.dtype == torch.float64:
        exact = lambda: fixed_point_map  # noqa: E731
    watch = Watch(exact, measure or norms)
    steps = (scheme or KrasnoselskiiMann()).start(w)
    trace = Trace(rule, w)
    now = Part(fixed_point_map, measure)
    last: tuple[Tensor, Tensor] | None = None
    bar = tqdm(total=rule.max_iter, desc=progress, disable=None if progress else True, leave=False)
    with bar:
        for iteration in range(1, rule.max_iter + 1):
            image = _apply(now.step, w)
            residual = image - w
            if not trace.add(w, image, residual):
                break
            distances = steps.note(w, image, residual, trace.length())
            if last is not None:
                if now.measure is not None:
                    distances = _measured(now.measure, image - last[1], w - last[0])
                if distances is not None:
                    pair = partial(_pair, trace, last[0], w)
                    watch.look(iteration, pair, *map(trace.spread, distances))
            if callback is not None:
                callback(iteration, trace.image)
            bar.update()
            if not bar.disable:
                bar.set_postfix_str(f"residual {trace.worst:.1e}")
            if trace.ends(watch.growth):
                break
            last, w = (w, image), steps.following(w, image, residual)
            going = trace.going()
            if part is not None and len(going) < len(w):
                smaller = agreeing(part, trace.indices(going), last[0][going], image[going])
                if smaller is None:
                    part = None
                else:
                    now, last, w = smaller, (last[0][going], image[going]), w[going]
                    steps.keep(going)
                    trace.keep(going)
            w = trace.held(w)
    return trace.result(watch.growth)


def _measured(
    measure: Callable[[Tensor], Tensor], moved: Tensor, apart: Tensor
) -> tuple[Numbers, Numbers]:
    return numbers(measure(moved)), numbers(measure(apart))


def _pair(trace: Trace, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return trace.whole(first), trace.whole(second)


def _apply(fixed_point_map: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    version = w._version
    image = fixed_point_map(w)
    if w._version != version:
        raise MapError(
            "the map changed its argument in place, so nothing that was computed with it is valid: "
            "write the denoiser and the physics without in-place operations on their inputs"
        )
    if image.shape != w.shape:
        raise MapError(
            f"expected a map that keeps the shape {tuple(w.shape)}, got {tuple(image.shape)}: check "
            f"that A_adjoint gives images of the shape that A takes"
        )
    return image
