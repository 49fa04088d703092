r"""Keeping the bounds that modules declare true while an ordinary optimiser trains.

``hold`` registers a hook that runs after every ``optimizer.step()`` and brings each weight back into
its set, in one of two ways. *Projection* scales a weight whose norm exceeds its bound:
:math:`\|W\| \le \sqrt{2\alpha/\tau}` in a gradient step, :math:`\|W\| \le 1` elsewhere. *Orthogonal*
retracts every matrix towards the nearest one with orthonormal rows or columns
(:func:`~pnp_lip.constraints.retraction.retract`); convolutions are scaled in both.

The stored weights are the weights that act: nothing is normalised in the forward pass, so a model is
sound whenever it is evaluated, saved or exported, and no norm can go stale. What the hook computes
is not trusted by anybody: the certifier bounds the stored weights again, with proof.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from pnp_lip.constraints.retraction import retract
from pnp_lip.layers.held import Constrained, Held
from pnp_lip.norms import grid_norm

__all__ = ["Constraint", "hold", "project"]

#: How matrices are kept; see the module.
Constraint = Literal["projection", "orthogonal"]

#: Relative room for the rounding of float32: of the norms here and of the weights written.
_MATRIX_ROOM, _CONVOLUTION_ROOM = 4e-6, 1e-6


def hold(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    constraint: Constraint = "projection",
    averagedness: float = 1.0,
    points: int = 64,
) -> RemovableHandle:
    """Apply :func:`project` to ``model`` now and after every step of ``optimizer``.

    Returns
    -------
    RemovableHandle
        A handle whose ``remove()`` ends the constraint.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip.certifier import prove
    >>> from pnp_lip.layers import GradientStep
    >>> layer = GradientStep(5, 8)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=10.0)
    >>> handle = hold(layer, optimizer, averagedness=0.99)
    >>> layer(torch.randn(2, 5)).square().sum().backward()
    >>> _ = optimizer.step()
    >>> prove(layer).upper
    1.0
    """

    def bring_back(*_: object) -> None:
        project(model, constraint=constraint, averagedness=averagedness, points=points)

    bring_back()
    return optimizer.register_step_post_hook(bring_back)


@torch.no_grad()
def project(
    model: nn.Module,
    *,
    constraint: Constraint = "projection",
    averagedness: float = 1.0,
    points: int = 64,
) -> None:
    r"""Bring every weight that a module inside ``model`` declares into its set, in place.

    Parameters
    ----------
    model
        any module; what its :class:`~pnp_lip.layers.held.Constrained` modules declare is held.
    constraint
        see the module.
    averagedness
        :math:`\alpha` in (0, 1] of every gradient step, :math:`\tau\|W\|^2 \le 2\alpha`;
        1 asks for nonexpansive, 1/2 for firmly nonexpansive. A certificate proves the norm up to
        its gap of 1e-3, so hold at 0.99 what shall be proved nonexpansive.
    points
        grid points per axis for the norm of a convolution.

    Raises
    ------
    ValueError
        ``averagedness`` outside (0, 1], an unknown constraint, or a model in which no
        module declares anything.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip.certifier import prove
    >>> from pnp_lip.layers import GradientStep
    >>> layer = GradientStep(5, 8)
    >>> with torch.no_grad():
    ...     _ = layer.weight.mul_(10)
    >>> project(layer, averagedness=0.99)  # with room for rounding and the gap of the proof
    >>> prove(layer).upper
    1.0
    """
    if not 0 < averagedness <= 1:
        raise ValueError(f"averagedness must lie in (0, 1], got {averagedness}")
    if constraint not in ("projection", "orthogonal"):
        raise ValueError(f"constraint must be 'projection' or 'orthogonal', got {constraint!r}")
    declared = [
        one for part in model.modules() if isinstance(part, Constrained) for one in part.held
    ]
    if not declared:
        raise ValueError(
            f"expected gradient steps or networks of pnp_lip, {type(model).__name__} holds none: "
            f"nothing in it declares a bound"
        )
    together: dict[torch.Size, list[Tensor]] = {}
    for one in declared:
        if constraint == "orthogonal" and one.kind == "matrix":
            if one.tau is not None:
                one.tau.clamp_(0.0, 2 * averagedness)
            together.setdefault(one.weight.shape, []).append(one.weight)
        else:
            _scale(one, averagedness, points)
    for weights in together.values():
        _retract(weights)


def _retract(weights: list[Tensor]) -> None:
    """Matrices of one shape, in one product."""
    retracted = (1 - _MATRIX_ROOM) * retract(torch.stack(weights))
    for weight, new in zip(weights, retracted, strict=True):
        weight.copy_(new)


def _scale(one: Held, averagedness: float, points: int) -> None:
    """Divide by the norm, as far as it exceeds the bound."""
    if one.kind == "rows":
        norms = _row_norms(one.weight, one.split)
        one.weight.mul_(((1 - _MATRIX_ROOM) / norms).clamp(max=1.0)[:, None])
        return
    limit = torch.ones((), dtype=one.weight.dtype, device=one.weight.device)
    if one.tau is not None:
        one.tau.clamp_(min=0.0)
        limit = torch.sqrt(2 * averagedness / one.tau)
    if one.kind == "matrix":
        norm, room = torch.linalg.matrix_norm(one.weight, ord=2), _MATRIX_ROOM
    else:
        norm, room = grid_norm(one.weight, points=points), _CONVOLUTION_ROOM
    one.weight.mul_(((1 - room) * limit / norm).clamp(max=1.0))


def _row_norms(weight: Tensor, split: int) -> Tensor:
    return weight[:, :split].abs().sum(1) + torch.linalg.vector_norm(weight[:, split:], dim=1)
