r"""The other side of a certified accuracy: projected gradient descent in a Euclidean ball.

From a random point of the ball, steps of fixed length climb :math:`\max_{j \ne y} f_j - f_y` and are
projected back (Madry et al., ICLR 2018). What it finds is a counter-example; what it does not find
proves nothing. Points are not kept in [0, 1], because certified radii hold in the whole space.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["attacked_accuracy", "worst_points"]


Classifier = Callable[[Tensor], Tensor]


def worst_points(
    model: Classifier, x: Tensor, labels: Tensor, radius: float, *, steps: int = 20, seed: int = 0
) -> Tensor:
    """Points within ``radius`` of ``x``, each the worst that was visited.

    Parameters
    ----------
    model
        maps ``x`` to logits ``[B, K]`` with ``K >= 2``, or to other scores that are largest
        for the same class.
    x
        inputs ``[B, ...]``.
    labels
        their classes ``[B]``.
    radius
        Euclidean, in the units of ``x``.
    steps
        of length ``2.5 radius / steps``.
    seed
        of the starting points.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    start = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    move = _scaled(start, torch.rand(len(x), generator=generator, device=x.device) * radius)
    worst, found = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
    for step in range(steps + 1):
        point = (x + move).requires_grad_(step < steps)
        gain = _wrongness(model(point), labels)
        better = gain.detach() > found
        worst[better], found[better] = point.detach()[better], gain.detach()[better]
        if step < steps:
            (slope,) = torch.autograd.grad(gain.sum(), point)
            move = move + _scaled(slope, torch.full_like(found, 2.5 * radius / steps))
            length = torch.linalg.vector_norm(move.flatten(1), dim=1)
            move = _scaled(move, length.clamp(max=radius))
    return worst


def attacked_accuracy(
    model: Classifier,
    x: Tensor,
    labels: Tensor,
    radius: float,
    *,
    steps: int = 20,
    seed: int = 0,
    guide: Classifier | None = None,
) -> float:
    """Share of inputs still classified correctly after :func:`worst_points`; arguments as there.

    ``guide`` finds the points instead of ``model``, where that is too slow or too flat to climb.
    """
    with torch.no_grad():
        clean = _wrongness(model(x), labels) < 0
    worst = worst_points(guide or model, x, labels, radius, steps=steps, seed=seed)
    with torch.no_grad():
        attacked = _wrongness(model(worst), labels) < 0
    return float((clean & attacked).double().mean())


def _wrongness(logits: Tensor, labels: Tensor) -> Tensor:
    r""":math:`\max_{j \ne y} f_j - f_y`, negative where the class is right."""
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).amax(1) - logits.masked_fill(~own, -torch.inf).amax(
        1
    )


def _scaled(vectors: Tensor, lengths: Tensor) -> Tensor:
    """``vectors`` ``[B, ...]`` brought to ``lengths`` ``[B]``."""
    shape = (-1,) + (1,) * (vectors.ndim - 1)
    flat = functional.normalize(vectors.flatten(1), dim=1).view_as(vectors)
    return flat * lengths.view(shape)
