r"""Keeping whole networks 1-Lipschitz while an ordinary optimiser trains, in one of two ways.

*Projection*: every matrix is divided by its norm where that exceeds its bound. *Orthogonal*: every
matrix takes one step towards the nearest one with orthonormal rows or columns,
:math:`W \leftarrow 1.5\,W - 0.5\,WW^\top W`, which moves each singular value *s* to
:math:`1.5s - 0.5s^3`, at most 1 in absolute value for :math:`0 \le s \le 2` (Björck and Bowie 1971).
Rows bounded one by one are divided by their norm in both.

Both act on the stored weights after each step of the optimiser: nothing is normalised in the
forward pass and nothing is kept beside the weights, so no norm can go stale. What is computed
here is not trusted: :func:`pnp_lip.certifier.prove` bounds the stored weights again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from pnp_lip.layers import GradientStep
from pnp_lip.networks.fixed_width import TOP, BlockMap, FixedWidthNetwork
from pnp_lip.networks.free_width import FreeWidthNetwork

__all__ = ["Constraint", "hold_network", "project_network", "retract"]

#: How matrices are kept; see the module.
Constraint = Literal["orthogonal", "projection"]

#: Relative room for the rounding of float32, of the norms here and of the weights written.
_ROOM = 4e-6


def hold_network(
    model: nn.Module, optimizer: Optimizer, *, constraint: Constraint = "orthogonal"
) -> RemovableHandle:
    """Apply :func:`project_network` to ``model`` now and after every step of ``optimizer``.

    Returns:
        A handle whose ``remove()`` ends the constraint.
    """
    project_network(model, constraint=constraint)
    return optimizer.register_step_post_hook(
        lambda *_: project_network(model, constraint=constraint)
    )


@torch.no_grad()
def project_network(model: nn.Module, *, constraint: Constraint = "orthogonal") -> None:
    """Bring the networks inside ``model`` into their set, in place.

    Args:
        model: any module; the networks of this package and dense gradient steps by themselves are
            projected.
        constraint: see the module.

    Raises:
        ValueError: an unknown constraint, or a model that holds no network of this package.
    """
    if constraint not in ("orthogonal", "projection"):
        raise ValueError(f"constraint must be 'orthogonal' or 'projection', got {constraint!r}")
    networks = [m for m in model.modules() if isinstance(m, (FreeWidthNetwork, FixedWidthNetwork))]
    inside = {step for network in networks for step in network.gradient_steps}
    single = [m for m in model.modules() if isinstance(m, GradientStep) and m not in inside]
    if not networks and not single:
        raise ValueError(
            f"expected a FreeWidthNetwork, FixedWidthNetwork or GradientStep, {type(model).__name__} "
            f"holds none: use pnp_lip.layers.hold for convolutions"
        )
    held = _Held(constraint)
    for step in single:
        _bound_step(step, held)
    for network in networks:
        if isinstance(network, FreeWidthNetwork):
            _project_free(network, held)
        else:
            _project_fixed(network, held)
    held.retract()


@dataclass
class _Held:
    """Matrices of norm at most 1, retracted together: one product for all of one shape."""

    constraint: Constraint
    matrices: dict[torch.Size, list[Tensor]] = field(default_factory=dict)

    def retract(self) -> None:
        """Write the retracted matrices back."""
        for weights in self.matrices.values():
            retracted = (1 - _ROOM) * retract(torch.stack(weights))
            for weight, new in zip(weights, retracted, strict=True):
                weight.copy_(new)


def retract(weight: Tensor) -> Tensor:
    r""":math:`1.5\,W - 0.5\,WW^\top W`, of norm at most 1 for every ``W``, alone or in a stack.

    Where some norm is not seen to be at most 2, every matrix above 1 is divided by its norm before.
    """
    gram = _gram(weight)
    if not _at_most_four(gram):
        norms = torch.linalg.matrix_norm(weight, ord=2, keepdim=True)
        weight = torch.where(norms > 1, weight / norms, weight)
        gram = _gram(weight)
    cube = (gram, weight) if weight.shape[-2] <= weight.shape[-1] else (weight, gram)
    combine = torch.addmm if weight.ndim == 2 else torch.baddbmm
    return combine(weight, *cube, beta=1.5, alpha=-0.5)


def _at_most_four(gram: Tensor) -> bool:
    r"""Whether :math:`\|G\| \le 4` is seen, for symmetric ``G``: by :math:`\|G\| \le \|G\|_\infty`,
    which costs no product of matrices and suffices near orthonormal rows, or by
    :math:`\|G\|^4 \le \|G^4\|_F`. What is not finite is not seen to be."""
    if bool(gram.abs().sum(-1).max() <= 4.0):
        return True
    return bool(torch.linalg.matrix_norm(torch.linalg.matrix_power(gram, 4)).max() <= 2.0**8)


def _gram(weight: Tensor) -> Tensor:
    """The smaller of the two Gram matrices."""
    wide = weight.shape[-2] <= weight.shape[-1]
    return weight @ weight.mT if wide else weight.mT @ weight


def _project_free(network: FreeWidthNetwork, held: _Held) -> None:
    _bound_matrix(network.lift.weight, held)
    for step in network.gradient_steps:
        _bound_step(step, held)
    if network.held_readout == "whole":
        _bound_matrix(network.readout.weight, held)
    else:
        _shrink_rows(network.readout.weight, split=0)


def _project_fixed(network: FixedWidthNetwork, held: _Held) -> None:
    _bound_block(network.lift, held, split=0)
    for one in network.affine_maps:
        _bound_block(one, held, split=TOP)
    for step in network.gradient_steps:
        _bound_step(step, held)
    _shrink_rows(network.readout.weight, split=TOP)


def _bound_block(block: BlockMap, held: _Held, *, split: int) -> None:
    _shrink_rows(block.top.weight, split=split)
    _bound_matrix(block.low.weight, held)


def _bound_step(step: GradientStep, held: _Held) -> None:
    r""":math:`\tau\|W\|^2 \le 2` with :math:`\tau \ge 0`; orthogonal weights need no norm for it."""
    if held.constraint == "orthogonal":
        step.tau.clamp_(0.0, 2.0)
        _bound_matrix(step.weight, held)
        return
    step.tau.clamp_(min=0.0)
    _shrink(step.weight, torch.sqrt(2 / step.tau))


def _bound_matrix(weight: Tensor, held: _Held) -> None:
    if held.constraint == "orthogonal":
        held.matrices.setdefault(weight.shape, []).append(weight)
    else:
        _shrink(weight, torch.ones((), dtype=weight.dtype, device=weight.device))


def _shrink(weight: Tensor, limit: Tensor) -> None:
    """Scale ``weight`` to a norm of at most ``limit``."""
    norm = torch.linalg.matrix_norm(weight, ord=2)
    weight.mul_(((1 - _ROOM) * limit / norm).clamp(max=1.0))


def _shrink_rows(weight: Tensor, *, split: int) -> None:
    r"""Scale each row *a* to :math:`\sum_{i \le k}|a_i| + \|a_{k+1:}\|_2 \le 1`, ``k = split``."""
    norms = weight[:, :split].abs().sum(1) + torch.linalg.vector_norm(weight[:, split:], dim=1)
    weight.mul_(((1 - _ROOM) / norms).clamp(max=1.0)[:, None])
