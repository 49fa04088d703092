"""The bound of one formula from its graph, of one size or of all, without the questions around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.certifier import Settings, Statement
from pnp_lip.certifier.calls import Call
from pnp_lip.certifier.graph import Bounder
from pnp_lip.certifier.program import exported
from pnp_lip.certifier.ways import bound_graph

__all__ = ["GAP", "Formula", "bounded", "held"]

#: Relative distance between the two bounds of a norm.
GAP = 1e-4


class Formula(nn.Module):
    """A function of images with constants, which it reads by position."""

    def __init__(self, formula: Callable[..., Tensor], *constants: Tensor) -> None:
        super().__init__()
        self.formula = formula
        for index, value in enumerate(constants):
            self.register_buffer(f"constant{index}", value)

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, *self._buffers.values())


def bounded(
    formula: Callable[..., Any], shape: tuple[int, ...], *constants: Tensor, every: bool = False
) -> Statement:
    """What is proved of a formula for images of this shape, or of every size that it takes."""
    call = Call(shape)
    program = exported(Formula(formula, *constants).eval(), call, fixed=not every)
    return Bounder(program, "", Settings(GAP, {}, bound_graph)).run()


def held(*shape: int) -> Tensor:
    """Random numbers, the same for each shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) + len(shape)))
