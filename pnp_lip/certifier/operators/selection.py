r"""Operators that give entries several times or add them up, and norms.

A sample that is given at most ``k`` times costs :math:`\sqrt k`; so does the adjoint, which adds up at most
``k``. Euclidean and largest norms are nonexpansive (triangle inequality).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.operators.operation import per_axis
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.operators.resampling import over_windows
from pnp_lip.certifier.values import Dependent
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []


@register_operator("index.Tensor")
def _indexed(op: Operation, x: Any, indices: Any) -> Dependent:
    return _given(op, x, [(axis, one) for axis, one in enumerate(indices) if one is not None])


@register_operator("index_select")
def _selected(op: Operation, x: Any, dim: int, index: Any) -> Dependent:
    return _given(op, x, [(dim, index)])


def _given(op: Operation, x: Any, places: list[tuple[int, Any]]) -> Dependent:
    """How often each entry is given; a negative place counts from the end of a known side."""
    read = []
    for axis, index in places:
        side, place = op.image(x).size[axis], op.fixed(index, "an index")
        if not isinstance(place, Tensor) or place.is_floating_point() or place.dtype == torch.bool:
            op.refuse("indexes with something else than whole numbers")
        if bool((place < 0).any()):
            if not isinstance(side, int):
                op.refuse("counts places from the end of a side of unknown length")
            place = place % side
        read.append(place)
    together = torch.stack([one.reshape(-1) for one in torch.broadcast_tensors(*read)], 1)
    most = max(together.unique(dim=0, return_counts=True)[1].tolist(), default=0)
    return op.bounded(x, sqrt_up(Fraction(most)), f"each entry at most {most} times")


@register_operator("im2col col2im")
def _patches(op: Operation, x: Any, **given: Any) -> Dependent:
    """Of patches that are taken; putting them together is the adjoint."""
    windows = (per_axis(given[key], 2) for key in ("kernel_size", "stride", "dilation"))
    return over_windows(op, x, "", *windows)


@register_operator("unfold")
def _unfolded(op: Operation, x: Any, dimension: int, size: int, step: int) -> Dependent:
    return over_windows(op, x, "", (size,), (step,), (1,))


@register_operator("linalg_vector_norm")
def _norm(op: Operation, x: Any, ord: Any, dim: Any, keepdim: bool) -> Dependent:
    if ord not in (2, math.inf):
        op.refuse(f"is a norm of order {ord}: only 2 and inf have a rule")
    return op.bounded(x, 1.0, f"norm of order {ord}")
