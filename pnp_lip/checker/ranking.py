"""Entries given several times, added up, or chosen by rank; sorting moves no two sequences apart."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.checker.composition import root_up
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Value

__all__: list[str] = []

_ONE = Fraction(1)


@rule("index.Tensor")
def _indexed(op: Op, x: Any, indices: Any) -> Value:
    return _given(op, x, {axis: one for axis, one in enumerate(indices) if one is not None})


@rule("index_select.default")
def _selected(op: Op, x: Any, dim: Any, index: Any) -> Value:
    return _given(op, x, {dim: index})


def _given(op: Op, x: Any, indices: dict[int, Any]) -> Value:
    """The entry that is given most often."""
    columns = []
    for axis, index in indices.items():
        places, side = op.fixed(index), op.image(x).shape[axis]
        if not isinstance(places, Tensor) or places.dtype not in (torch.int64, torch.int32):
            raise NotRecomputed("its index is no tensor of whole numbers")
        if bool((places < 0).any()) and not isinstance(side, int):
            raise NotRecomputed("it counts from the end of a side of unknown length")
        columns.append(
            torch.where(places < 0, places + side, places) if isinstance(side, int) else places
        )
    shape = torch.broadcast_shapes(*(one.shape for one in columns))
    entries = zip(*(one.expand(shape).flatten().tolist() for one in columns), strict=True)
    return op.gain(x, root_up(Fraction(max(Counter(entries).values(), default=0))))


@rule("im2col.default col2im.default")
def _patches(
    op: Op,
    x: Any,
    kernel_size: Any,
    dilation: Any,
    padding: Any,
    stride: Any,
    output_size: Any = None,
) -> Value:
    """Adding patches up is the adjoint of taking them."""
    return op.gain(x, root_up(Fraction(math.prod(map(_over, kernel_size, dilation, stride)))))


@rule("unfold.default")
def _unfolded(op: Op, x: Any, dimension: Any, size: Any, step: Any) -> Value:
    return op.gain(x, root_up(Fraction(_over(size, 1, step))))


def _over(size: int, spacing: int, step: int) -> int:
    """Windows over a sample, counted for every place of it between two windows."""
    return max(
        sum((place - spacing * tap) % step == 0 for tap in range(size)) for place in range(step)
    )


@rule(
    "sort.default sort.stable topk.default median.dim kthvalue.default median.default diag_embed.default"
)
def _nonexpansive(op: Op, x: Any, **rest: Any) -> Value:
    return op.gain(x, _ONE)


@rule("logsumexp.default")
def _log_sum(op: Op, x: Any, dim: Any, keepdim: Any = False) -> Value:
    """Its gradient is a vector of probabilities."""
    return op.gain(x, _ONE)


@rule("linalg_vector_norm.default")
def _norm(op: Op, x: Any, ord: Any = 2, dim: Any = None, keepdim: Any = False) -> Value:
    if ord not in (2, math.inf):
        raise NotRecomputed(f"its order is {ord}")
    return op.gain(x, _ONE)
