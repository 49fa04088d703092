r"""Max-min forms as networks of gradient steps: pieces that are sorted in place.

The step :math:`y - w\,\mathrm{relu}(\langle w, y\rangle)` with :math:`w = e_i - e_j`, for which
:math:`\tau\|w\|^2 = 2`, replaces :math:`(y_i, y_j)` by :math:`(\min, \max)`. With
:math:`C = (1-c)I + c\,\mathbf 1\mathbf 1^\top` the functionals :math:`v_i = C^{1/2}e_i` are unit vectors
that swap when the coordinates do, because every swap commutes with ``C``. A lift with
:math:`C^{1/2}Q = A` and :math:`\|Q\| \le 1` exists exactly if :math:`AA^\top \preceq C` (Douglas 1966):
:math:`Q = C^{-1/2}A`, made an isometry by further coordinates that nothing reads. Offsets go to the
biases of lift and readout.

So a form compiles with a lift of norm at most 1 if some *c* has :math:`AA^\top \preceq C`, with one row
of *A* for every mention of a piece: always for two pieces with different gradients
(:math:`c = \langle a_1, a_2\rangle`), for :math:`\|A\| \le 1` (:math:`c = 0`), for a regular simplex, and
in between; width ``N + d``. No piece of length 1 can then be in two groups.

Every other form compiles with the lift ``A`` itself, whose norm may be larger than 1; width ``N``. With the
*maximum* norm of the state the network is 1-Lipschitz all the same: the rows of ``A`` have length at
most 1, to sort two coordinates is nonexpansive, and one coordinate is read. The certifier proves that.

Depth :math:`\lceil\log_2 \max_i|S_i|\rceil + \lceil\log_2 \#S\rceil` in both cases.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnp_lip.layers import GradientStep
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.max_min import MaxMin

__all__ = ["free_width_network"]

#: Relative room for roundings of a lift that is an isometry up to them, per dimension.
_ULPS = 2.0**-51
#: How far below 1 the correlation of the functionals stays, so that offsets of pieces fit.
_APART = 1e-9
#: A root of the other eigenvalue of C below this is taken for 0.
_FLAT = 1e-6
#: What a lift may fail its equations by, and be taken for rounding.
_TOLERANCE = 1e-11


@torch.no_grad()
def free_width_network(form: MaxMin) -> FreeWidthNetwork:
    """``form`` as a float64 network of gradient steps, see the module."""
    form = _used_pieces(form)
    pieces, d = form.a.shape
    layers, result = _tournaments(form.groups)
    root, inverse = _powers(pieces, _correlation(form.a))
    seen = inverse @ form.a
    if not _fits(root, seen, form.a):
        network = _sorting_network(d, pieces, layers)
        network.lift.weight.copy_(form.a)
        network.lift.bias.copy_(form.b)
        network.readout.weight[0, result] = 1.0
        return network
    shrink = 1 - (pieces + d) * _ULPS
    seen = seen / max(float(torch.linalg.matrix_norm(seen, ord=2)), 1.0)
    mean = form.b.mean()
    network = _sorting_network(d, pieces + d, layers)
    network.lift.weight.copy_(shrink * torch.cat([seen, _completion(seen)]))
    network.lift.bias[:pieces] = inverse @ (form.b - mean)
    network.readout.weight[0, :pieces] = shrink * root[result]
    network.readout.bias.fill_(mean)
    return network


def _fits(root: Tensor, seen: Tensor, a: Tensor) -> bool:
    """Whether ``seen`` has a norm of at most 1 and gives the pieces, up to rounding."""
    norm = float(torch.linalg.matrix_norm(seen, ord=2))
    missed = float((root @ seen - a).abs().max())
    return norm <= 1 + _TOLERANCE and missed <= _TOLERANCE


def _sorting_network(
    features: int, width: int, layers: list[list[tuple[int, int]]]
) -> FreeWidthNetwork:
    """A network whose steps put pairs of coordinates into order; lift biases and readout are 0."""
    network = FreeWidthNetwork(features, width, len(layers), hidden=1).double()
    for step, pairs in zip(network.gradient_steps, layers, strict=True):
        _write_swaps(step, pairs)
    network.readout.weight.zero_()
    return network


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


def _correlation(a: Tensor) -> float:
    r"""The ``c`` for which :math:`\|C^{-1/2}A\|` is least; :math:`A^\top C^{-1}A` is convex in ``c``."""
    pieces = len(a)
    if pieces == 1:
        return 0.0
    mean = a.mean(dim=0)
    along = pieces * torch.outer(mean, mean)
    across = a.T @ a - along

    def size(c: float) -> float:
        large = max(1 + (pieces - 1) * c, torch.finfo(a.dtype).tiny)
        return float(torch.linalg.eigvalsh(across / (1 - c) + along / large)[-1])

    low, high = -1 / (pieces - 1), 1 - _APART
    for _ in range(90):
        left, right = low + 0.382 * (high - low), high - 0.382 * (high - low)
        low, high = (left, high) if size(left) > size(right) else (low, right)
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
