r"""Keeping :math:`\tau\|W\|^2 \le 2\alpha` true while an ordinary optimiser trains.

``hold`` registers a hook that runs after every ``optimizer.step()`` and scales each ``W`` back into
the ball :math:`\|W\| \le \sqrt{2\alpha/\tau}`. The stored weights are the weights that act: nothing
is normalised in the forward pass, so a model is sound whenever it is evaluated, saved or exported,
and no norm can go stale. What the hook computes is not trusted by anybody: the certifier bounds
the stored weights again, with proof.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from pnp_lip.layers.gradient_step import ConvGradientStep, GradientStep
from pnp_lip.norms import grid_norm

__all__ = ["hold", "project"]

#: Relative room left for the rounding of the bound and of the scaled weights in float32.
_ROOM = 1e-6


@torch.no_grad()
def project(model: nn.Module, *, averagedness: float = 1.0, points: int = 64) -> None:
    r"""Scale every gradient step of ``model`` so that :math:`\tau\|W\|^2 \le 2\alpha`, in place.

    Args:
        model: any module; its :class:`GradientStep` and :class:`ConvGradientStep` are projected.
        averagedness: :math:`\alpha` in (0, 1]; 1 asks for nonexpansive, 1/2 for firmly nonexpansive.
        points: grid points per axis for the norm of a convolution.

    Raises:
        ValueError: ``averagedness`` outside (0, 1].
    """
    if not 0 < averagedness <= 1:
        raise ValueError(f"averagedness must lie in (0, 1], got {averagedness}")
    for layer in model.modules():
        if isinstance(layer, (GradientStep, ConvGradientStep)):
            layer.tau.clamp_(min=0.0)
            limit = (1 - _ROOM) * torch.sqrt(2 * averagedness / layer.tau)
            layer.weight.mul_((limit / _norm(layer, points)).clamp(max=1.0))


def hold(
    model: nn.Module, optimizer: Optimizer, *, averagedness: float = 1.0, points: int = 64
) -> RemovableHandle:
    """Project ``model`` now and after every step of ``optimizer``; see :func:`project`.

    Returns:
        A handle whose ``remove()`` ends the constraint.
    """
    project(model, averagedness=averagedness, points=points)
    return optimizer.register_step_post_hook(
        lambda *_: project(model, averagedness=averagedness, points=points)
    )


def _norm(layer: GradientStep | ConvGradientStep, points: int) -> Tensor:
    """The norm of ``W``, an upper bound up to rounding."""
    if isinstance(layer, GradientStep):
        return torch.linalg.matrix_norm(layer.weight, ord=2)
    return grid_norm(layer.weight, points=points)
