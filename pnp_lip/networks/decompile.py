"""The max-min form of a compiled network of fixed width, read off its weights.

A network qualifies if it is in float64, its lower block keeps the input (identities, and gradient steps
whose weight is zero) and every top row that matters either keeps one coordinate above or is an affine
function of the input. Those are the networks that :func:`pnp_lip.networks.from_max_min` writes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pnp_lip.networks.fixed_width import TOP, FixedWidthNetwork
from pnp_lip.networks.max_min import MaxMin

__all__ = ["read_max_min"]

#: Above this many mentions of pieces a form is not written out.
_LARGEST = 100_000

#: Index of a piece (>= 0), ~index of a kept coordinate, or nothing that can be read.
_Row = int | None
#: The groups of a coordinate.
_Groups = tuple[tuple[int, ...], ...]


@torch.no_grad()
def read_max_min(network: nn.Module) -> MaxMin | None:
    """The form that ``network`` computes, or ``None`` if it does not qualify."""
    if type(network) is not FixedWidthNetwork or not _keeps_input(network):
        return None
    pieces: list[tuple[Tensor, Tensor]] = []
    layers = [
        [_row(block.top, index, pieces, network.features) for index in range(TOP)]
        for block in (network.lift, *network.affine_maps)
    ]
    result = _row(network.readout, 0, pieces, network.features)
    groups = _follow(layers[: len(network.steps)], result) if network.steps else _value(result, {})
    if groups is None:
        return None
    try:
        return MaxMin(
            torch.stack([a for a, _ in pieces]), torch.stack([b for _, b in pieces]), groups
        )
    except ValueError:  # a gradient longer than 1: no member of the set
        return None


def _keeps_input(network: FixedWidthNetwork) -> bool:
    lows = [block.low for block in (network.lift, *network.affine_maps)]
    eye = torch.eye(network.features, dtype=torch.float64, device=lows[0].weight.device)
    return all(not step.weight.any() for step in network.gradient_steps) and all(
        low.weight.dtype == eye.dtype
        and low.weight.shape == eye.shape
        and torch.equal(low.weight, eye)
        and not low.bias.any()
        for low in lows
    )


def _row(layer: nn.Linear, index: int, pieces: list[tuple[Tensor, Tensor]], features: int) -> _Row:
    """What row ``index`` of a map computes; an affine function of the input joins ``pieces``."""
    row, offset = layer.weight[index], layer.bias[index]
    above, low = row[: len(row) - features], row[len(row) - features :]
    if not above.any():
        pieces.append((low, offset))
        return len(pieces) - 1
    kept = above.nonzero()[:, 0].tolist()
    alone = len(kept) == 1 and above[kept[0]] == 1 and not low.any() and not offset.any()
    return ~kept[0] if alone else None


def _follow(layers: list[list[_Row]], result: _Row) -> _Groups | None:
    """The groups of the result: only coordinates that it depends on are followed."""
    top: dict[int, _Groups | None] = {}
    for layer, after in zip(layers, _needed(layers, result), strict=True):
        before = {index: _value(layer[index], top) for index in _sources(after)}
        top = {index: _stepped(index, before) for index in after}
    return _value(result, top)


def _needed(layers: list[list[_Row]], result: _Row) -> list[set[int]]:
    """For each residual layer the coordinates after it that matter."""
    needed, found = _kept([result]), []
    for layer in reversed(layers):
        found.append(needed)
        needed = _kept([layer[index] for index in _sources(needed)])
    return found[::-1]


def _kept(rows: list[_Row]) -> set[int]:
    return {~row for row in rows if row is not None and row < 0}


def _sources(after: set[int]) -> set[int]:
    """Coordinates before a residual layer on which those after it depend."""
    return ({0, 1} if after & {0, 1} else set()) | (after & {2})


def _stepped(index: int, before: dict[int, _Groups | None]) -> _Groups | None:
    """The maximum has the groups of both, the minimum a group for every pair of groups."""
    if index == 2:
        return before[2]
    one, other = before[0], before[1]
    if one is None or other is None:
        return None
    sizes = [sum(map(len, groups)) for groups in (one, other)]
    mentions = sum(sizes) if index == 0 else sizes[0] * len(other) + sizes[1] * len(one)
    if mentions > _LARGEST:
        return None
    return one + other if index == 0 else tuple(f + g for f in one for g in other)


def _value(row: _Row, top: dict[int, _Groups | None]) -> _Groups | None:
    if row is None:
        return None
    return ((row,),) if row >= 0 else top.get(~row)
