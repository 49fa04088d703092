r"""Exact networks: :math:`f(x) = \max_i \min_{j \in S_i}(\langle a_j, x\rangle + b_j)`, weight by weight.

*Fixed width.* The input stays in the lower block. Each residual layer takes the minimum of one more
piece with the running minimum, or the maximum of a finished group with the running maximum, which
waits in the third coordinate. Width ``d + 3`` and depth :math:`\sum_i |S_i| - 1`, for every such ``f``.

*Free width.* The step :math:`y - w\,\mathrm{relu}(\langle w, y\rangle)` with :math:`w = e_i - e_j`, for
which :math:`\tau\|w\|^2 = 2`, replaces :math:`(y_i, y_j)` by :math:`(\min, \max)`. With
:math:`C = (1-c)I + c\,\mathbf 1\mathbf 1^\top` the functionals :math:`v_i = C^{1/2}e_i` are unit
vectors that swap when the coordinates do, so they can be sorted in place. The lift needs
:math:`C^{1/2}Q = A` with :math:`\|Q\| \le 1`, which exists exactly if :math:`AA^\top \preceq C`: then
:math:`Q = C^{-1/2}A`, made an isometry by further coordinates that nothing reads. So this
compiles every ``f`` of two pieces (:math:`c = \langle a_1, a_2\rangle`), all with :math:`\|A\| \le 1`
(:math:`c = 0`), and those in between; others need the fixed width. Width ``N + d``, depth
:math:`\lceil\log_2 \max_i|S_i|\rceil + \lceil\log_2 \#S\rceil`.

The sets are those of Murari, Furuya, Schönlieb, *Approximation theory for 1-Lipschitz ResNets*, NeurIPS
2025, Theorems 4.1 and 3.1; the compilation into the second is narrower than its density.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pnp_lip.layers import GradientStep
from pnp_lip.networks.fixed_width import TOP, BlockMap, FixedWidthNetwork
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.max_min import MaxMin

__all__ = ["fixed_width_network", "free_width_network", "from_max_min"]

#: Relative room for roundings of a lift that is an isometry up to them, per dimension.
_ULPS = 2.0**-51
#: How far below 1 the correlation of the functionals stays, so that offsets of pieces fit.
_APART = 1e-9
#: A root of the other eigenvalue of C below this is taken for 0.
_FLAT = 1e-6
#: What a lift may fail its equations by, and be taken for rounding.
_TOLERANCE = 1e-11

#: A top row of a block map: index of a piece (>= 0), ~index of a kept coordinate, or nothing.
_Row = int | None
_Stage = tuple[_Row, _Row, _Row]


def from_max_min(
    a: Tensor, b: Tensor, groups: Sequence[Sequence[int]], *, theorem: str = "4.1"
) -> FreeWidthNetwork | FixedWidthNetwork:
    """The network that equals the max-min form of ``a``, ``b``, ``groups``; see :class:`MaxMin`.

    Args:
        a: gradients ``[N, d]`` of norm at most 1.
        b: offsets ``[N]``.
        groups: sets of pieces whose minima are taken.
        theorem: ``"4.1"`` for the fixed width, ``"3.1"`` for the free width.

    Raises:
        ValueError: an invalid form, or one that the free width cannot take; another theorem.
    """
    form = MaxMin(a, b, tuple(tuple(group) for group in groups))
    if theorem == "4.1":
        return fixed_width_network(form)
    if theorem == "3.1":
        return free_width_network(form)
    raise ValueError(f"theorem must be '3.1' or '4.1', got {theorem!r}")


@torch.no_grad()
def fixed_width_network(form: MaxMin) -> FixedWidthNetwork:
    """``form`` as a float64 network of width ``d + 3``, see the module."""
    stages, result = _schedule(form.groups)
    d = form.features
    network = FixedWidthNetwork(d, d + TOP, len(stages), hidden=1).double()
    first = stages[0] if stages else (None, None, None)
    for block, stage in zip(
        [network.lift, *network.affine_maps], [first, *stages[1:]], strict=True
    ):
        _write_block(block, form, stage)
    for step in network.gradient_steps:
        step.weight.zero_()
    _write_row(network.readout.weight[0], network.readout.bias[0:1], form, result)
    return network


def _schedule(groups: tuple[tuple[int, ...], ...]) -> tuple[list[_Stage], _Row]:
    """Top rows before each residual layer, and where the value is after the last."""
    stages: list[_Stage] = []
    best: _Row = None
    for group in groups:
        least: _Row = group[0]
        for piece in group[1:]:
            stages.append((least, piece, best))
            least = ~1
            best = None if best is None else ~2
        if best is None:
            best = least
        else:
            stages.append((least, best, None))
            best = ~0
    return stages, best


def _write_block(block: BlockMap, form: MaxMin, stage: _Stage) -> None:
    block.low.weight.copy_(torch.eye(form.features))
    block.low.bias.zero_()
    for index, row in enumerate(stage):
        _write_row(block.top.weight[index], block.top.bias[index : index + 1], form, row)


def _write_row(weight: Tensor, bias: Tensor, form: MaxMin, row: _Row) -> None:
    weight.zero_()
    bias.zero_()
    if row is None:
        return
    if row < 0:
        weight[~row] = 1.0
        return
    weight[len(weight) - form.features :] = form.a[row]
    bias.copy_(form.b[row])


@torch.no_grad()
def free_width_network(form: MaxMin) -> FreeWidthNetwork:
    """``form`` as a float64 network of gradient steps, see the module.

    Raises:
        ValueError: no ``c`` with :math:`AA^T` below ``C`` exists, as for a piece in two groups.
    """
    form = _used_pieces(form)
    pieces, d = form.a.shape
    layers, result = _tournaments(form.groups)
    root, inverse = _powers(pieces, _correlation(form.a @ form.a.T))
    seen = _feasible(root, inverse @ form.a, form.a)
    shrink = 1 - (pieces + d) * _ULPS
    mean = form.b.mean()
    network = FreeWidthNetwork(d, pieces + d, len(layers), hidden=1).double()
    network.lift.weight.copy_(shrink * torch.cat([seen, _completion(seen)]))
    network.lift.bias[:pieces] = inverse @ (form.b - mean)
    for step, pairs in zip(network.gradient_steps, layers, strict=True):
        _write_swaps(step, pairs)
    network.readout.weight.zero_()
    network.readout.weight[0, :pieces] = shrink * root[result]
    network.readout.bias.fill_(mean)
    return network


def _feasible(root: Tensor, seen: Tensor, a: Tensor) -> Tensor:
    """``seen`` with a norm of at most 1, if that needs no more than rounding."""
    norm = float(torch.linalg.matrix_norm(seen, ord=2))
    missed = float((root @ seen - a).abs().max())
    if norm > 1 + _TOLERANCE or missed > _TOLERANCE:
        size = float(torch.linalg.matrix_norm(a, ord=2))
        raise ValueError(
            f"these pieces do not fit the free width: expected a lift of norm at most 1, got "
            f"{max(norm, 1 + missed):.9g}; use theorem='4.1', or divide the pieces by {size:.6g}"
        )
    return seen / max(norm, 1.0)


def _completion(seen: Tensor) -> Tensor:
    """``R`` such that ``Q`` above ``R`` is an isometry."""
    values, vectors = torch.linalg.eigh(torch.eye(seen.shape[1], dtype=seen.dtype) - seen.T @ seen)
    return values.clamp(min=0).sqrt()[:, None] * vectors.T


def _write_swaps(step: GradientStep, pairs: list[tuple[int, int]]) -> None:
    rows = torch.zeros(len(pairs), step.weight.shape[1], dtype=torch.float64)
    for row, (low, high) in zip(rows, pairs, strict=True):
        row[low], row[high] = 1.0, -1.0
    step.weight = torch.nn.Parameter(rows)
    step.bias = torch.nn.Parameter(torch.zeros(len(pairs), dtype=torch.float64))
    step.tau.fill_(1.0)


def _used_pieces(form: MaxMin) -> MaxMin:
    """One piece for every mention in a group, in order."""
    order = [j for group in form.groups for j in group]
    places = iter(range(len(order)))
    groups = tuple(tuple(next(places) for _ in group) for group in form.groups)
    return replace(form, a=form.a[order], b=form.b[order], groups=groups)


def _correlation(gram: Tensor) -> float:
    r"""The ``c`` with the largest least eigenvalue of :math:`C - AA^\top`, which is concave in ``c``."""
    pieces = len(gram)
    if pieces == 1:
        return 0.0
    identity, ones = torch.eye(pieces, dtype=gram.dtype), torch.ones_like(gram)

    def room(c: float) -> float:
        return float(torch.linalg.eigvalsh((1 - c) * identity + c * ones - gram)[0])

    low, high = -1 / (pieces - 1), 1 - _APART
    for _ in range(90):
        left, right = low + 0.382 * (high - low), high - 0.382 * (high - low)
        low, high = (left, high) if room(left) < room(right) else (low, right)
    return (low + high) / 2


def _powers(pieces: int, c: float) -> tuple[Tensor, Tensor]:
    r""":math:`C^{1/2}` and its pseudo-inverse, from the eigenvalues :math:`1-c` and :math:`1+(N-1)c`."""
    identity = torch.eye(pieces, dtype=torch.float64)
    mean = torch.full_like(identity, 1 / pieces)
    small, large = (1 - c) ** 0.5, max(1 + (pieces - 1) * c, 0.0) ** 0.5
    large = large if large > _FLAT else 0.0
    inverse = mean / large if large else torch.zeros_like(mean)
    return small * (identity - mean) + large * mean, (identity - mean) / small + inverse


def _tournaments(
    groups: tuple[tuple[int, ...], ...],
) -> tuple[list[list[tuple[int, int]]], int]:
    """Pairs to put into order (smaller first), layer by layer, and where the value is at the end."""
    layers: list[list[tuple[int, int]]] = []
    open_groups = [list(group) for group in groups]
    while any(len(group) > 1 for group in open_groups):
        layers.append([pair for group in open_groups for pair in _pairs(group)])
        open_groups = [group[::2] for group in open_groups]
    winners = [group[0] for group in open_groups]
    while len(winners) > 1:
        layers.append([(high, low) for low, high in _pairs(winners)])
        winners = winners[::2]
    return layers, winners[0]


def _pairs(places: list[int]) -> list[tuple[int, int]]:
    return list(zip(places[::2], places[1::2], strict=False))
