r"""Gradients through a fixed point, with a memory that does not depend on the number of iterations.

At :math:`w^* = T_\theta(w^*)` the chain rule gives, for an incoming gradient ``v``,

.. math:: \nabla_\theta = (\partial_\theta T)^\top u, \qquad u = v + J^\top u, \quad J = \partial_w T(w^*)

(Bai, Kolter and Koltun 2019). ``T`` nonexpansive makes :math:`u \mapsto v + J^\top u` nonexpansive, so the
same loop solves for ``u``; the solution is unique if ``T`` contracts.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnp_lip.solvers.iteration import StoppingRule, iterate
from pnp_lip.solvers.schemes import Anderson
from pnp_lip.solvers.solution import FixedPointMap

__all__ = ["attach_gradient"]


def attach_gradient(fixed_point: FixedPointMap, w: Tensor, rule: StoppingRule) -> Tensor:
    """The image of the fixed point ``w``, with the gradient of the fixed point.

    Parameters
    ----------
    fixed_point
        the map, whose parameters are to receive gradients.
    w
        its fixed point.
    rule
        for the linear system of the backward pass.
    """
    image = fixed_point.step(w.detach())
    if not image.requires_grad:
        return fixed_point.image(image)
    point = w.detach().requires_grad_()
    local = fixed_point.step(point)

    def solve(v: Tensor) -> Tensor:
        def step(u: Tensor) -> Tensor:
            (pulled,) = torch.autograd.grad(local, point, u, retain_graph=True)
            return v + pulled

        end = iterate(step, v, replace(rule, scale=1.0, stop_on_growth=False), scheme=Anderson())
        return end.w

    image.register_hook(solve)
    return fixed_point.image(image)
