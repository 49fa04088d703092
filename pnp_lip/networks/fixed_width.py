r"""Networks of bounded width: gradient steps beside a maximum, a minimum and an identity.

The state is :math:`z = (z_1, z_2, z_3, z_{4:})` with the mixed norm
:math:`\|z\| = \max(|z_1|, |z_2|, |z_3|, \|z_{4:}\|_2)`, and

.. math:: f = V \circ R_L \circ A_{L-1} \circ R_{L-1} \circ \dots \circ A_1 \circ R_1 \circ Q, \qquad
          R_\ell(z) = (\max(z_1, z_2), \min(z_1, z_2), z_3, \Phi_\ell(z_{4:}))

with gradient steps :math:`\Phi_\ell`. Every output is 1-Lipschitz from the Euclidean norm if

* the lift :math:`Q` has top rows :math:`\|q_i\|_2 \le 1` and a lower block of norm at most 1,
* top rows of :math:`A_\ell` have :math:`|a_1| + |a_2| + |a_3| + \|a_{4:}\|_2 \le 1`, and the lower block
  is :math:`(0, S)` with :math:`\|S\| \le 1`,
* rows of :math:`V` have :math:`|v_1| + |v_2| + |v_3| + \|v_{4:}\|_2 \le 1`,
* :math:`\tau_\ell\|W_\ell\|^2 \le 2`,

because each of these maps is nonexpansive from one of these norms to the next; no layer is
nonexpansive in the Euclidean norm alone. With ``features + 3`` state coordinates the set is dense in
the scalar 1-Lipschitz functions on a compact set (Murari, Furuya, Schönlieb, *Approximation theory
for 1-Lipschitz ResNets*, NeurIPS 2025, Theorem 4.1).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pnp_lip.layers import Constrained, GradientStep, Held
from pnp_lip.networks.free_width import orthogonal_linear

__all__ = ["TOP", "BlockMap", "FixedWidthNetwork", "MaxMinStep"]

#: Coordinates of the state above the block of the gradient steps.
TOP = 3


class BlockMap(nn.Module):
    r""":math:`z \mapsto (Tz + t, S z_{k:} + s)`: rows that see all of ``z``, and a block that sees its end.

    Parameters
    ----------
    inputs
        dimension of ``z``.
    seen
        how many last entries of ``z`` the lower block sees; all of them in a lift.
    outputs
        dimension of the image; its last ``outputs - 3`` entries are the lower block's.
    """

    def __init__(self, inputs: int, seen: int, outputs: int) -> None:
        super().__init__()
        self.top = orthogonal_linear(inputs, TOP)
        self.low = orthogonal_linear(seen, outputs - TOP)

    def forward(self, z: Tensor) -> Tensor:
        seen = z[..., z.shape[-1] - self.low.in_features :]
        return torch.cat([self.top(z), self.low(seen)], dim=-1)


class MaxMinStep(nn.Module):
    r""":math:`R(z) = (\max(z_1, z_2), \min(z_1, z_2), z_3, \Phi(z_{4:}))`.

    Parameters
    ----------
    width
        dimension of ``z``.
    hidden
        rows of the weight of :math:`\Phi`.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.step = GradientStep(width - TOP, hidden, tau=2.0)

    def forward(self, z: Tensor) -> Tensor:
        first, second = z[..., 0:1], z[..., 1:2]
        ordered = [torch.maximum(first, second), torch.minimum(first, second)]
        return torch.cat([*ordered, z[..., 2:TOP], self.step(z[..., TOP:])], dim=-1)


class FixedWidthNetwork(nn.Module, Constrained):
    r"""The network of the module's formula; it maps ``[B, features]`` to ``[B, outputs]``.

    Lower blocks and gradient steps start orthogonal with :math:`\tau = 2`; the top rows of the maps
    start halfway between keeping their coordinate and reading the lower block.

    Parameters
    ----------
    features
        dimension ``d`` of the input.
    width
        dimension of the state, at least 4; the theorem needs ``d + 3``.
    depth
        number ``L`` of residual layers.
    outputs
        number of outputs.
    hidden
        rows of each ``W``, ``width - 3`` by default.
    learn_tau
        whether the step lengths are trained.

    Raises
    ------
    ValueError
        a size out of range.
    """

    def __init__(
        self,
        features: int,
        width: int,
        depth: int,
        outputs: int = 1,
        *,
        hidden: int | None = None,
        learn_tau: bool = False,
    ) -> None:
        super().__init__()
        hidden = width - TOP if hidden is None else hidden
        if min(features, outputs, hidden, width - TOP) < 1 or depth < 0:
            raise ValueError(
                f"expected sizes of at least 1, a width of at least 4 and a depth of at least 0, got "
                f"features={features}, width={width}, outputs={outputs}, hidden={hidden}, depth={depth}"
            )
        self.lift = BlockMap(features, features, width)
        self.steps = nn.ModuleList(MaxMinStep(width, hidden) for _ in range(depth))
        self.maps = nn.ModuleList(
            BlockMap(width, width - TOP, width) for _ in range(max(depth - 1, 0))
        )
        self.readout = orthogonal_linear(width, outputs)
        for step in self.gradient_steps:
            step.tau.requires_grad_(learn_tau)
        self._start_top_rows()

    @property
    def gradient_steps(self) -> list[GradientStep]:
        r"""The steps :math:`\Phi_\ell` inside the residual layers, the first applied first."""
        return [cast(MaxMinStep, step).step for step in self.steps]

    @property
    def affine_maps(self) -> list[BlockMap]:
        r"""The maps :math:`A_\ell` between the residual layers, the first applied first."""
        return [cast(BlockMap, one) for one in self.maps]

    @property
    def features(self) -> int:
        """Dimension of the input."""
        return self.lift.low.in_features

    @property
    def held(self) -> list[Held]:
        blocks = [(self.lift, 0), *((one, TOP) for one in self.affine_maps)]
        tops = [Held(block.top.weight, "rows", split=split) for block, split in blocks]
        lows = [Held(block.low.weight, "matrix") for block, _ in blocks]
        return [*tops, *lows, Held(self.readout.weight, "rows", split=TOP)]

    @torch.no_grad()
    def _start_top_rows(self) -> None:
        lift = nn.init.normal_(self.lift.top.weight)
        lift.div_(torch.linalg.vector_norm(lift, dim=1, keepdim=True))
        for layer in [*(one.top for one in self.affine_maps), self.readout]:
            rows = torch.randn(layer.weight[:, TOP:].shape)
            rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            kept = torch.eye(TOP).repeat(-(-len(rows) // TOP), 1)[: len(rows)]
            layer.weight.copy_(torch.cat([0.5 * kept, 0.5 * rows], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.lift(x)
        for index, step in enumerate(self.steps):
            z = step(z)
            if index < len(self.maps):
                z = self.maps[index](z)
        return self.readout(z)
