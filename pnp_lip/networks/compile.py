r"""Exact networks: :math:`f(x) = \max_i \min_{j \in S_i}(\langle a_j, x\rangle + b_j)`, weight by weight.

*Fixed width.* The input stays in the lower block. Each residual layer takes the minimum of one more
piece with the running minimum, or the maximum of a finished group with the running maximum, which
waits in the third coordinate. Width ``d + 3`` and depth :math:`\sum_i |S_i| - 1`, for every such ``f``.

*Free width.* See :mod:`pnp_lip.networks.sorting`: every ``f``, by gradient steps that sort the pieces in
place. The lift has a norm of at most 1 for two pieces with different gradients and where the matrix of
gradients has such a norm; for other forms it is the rows of the lift that have one, and the network is
1-Lipschitz by the maximum norm of its state instead of the Euclidean one.

The sets are those of Murari, Furuya, Schönlieb, *Approximation theory for 1-Lipschitz ResNets*, NeurIPS
2025, Theorems 4.1 and 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnp_lip.networks.fixed_width import TOP, BlockMap, FixedWidthNetwork
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.max_min import MaxMin
from pnp_lip.networks.sorting import free_width_network

__all__ = ["fixed_width_network", "from_max_min"]

#: A top row of a block map: index of a piece (>= 0), ~index of a kept coordinate, or nothing.
_Row = int | None
_Stage = tuple[_Row, _Row, _Row]


def from_max_min(
    a: Tensor, b: Tensor, groups: Sequence[Sequence[int]], *, theorem: str = "4.1"
) -> FreeWidthNetwork | FixedWidthNetwork:
    """The network that equals the max-min form of ``a``, ``b``, ``groups``; see :class:`MaxMin`.

    Parameters
    ----------
    a
        gradients ``[N, d]`` of norm at most 1.
    b
        offsets ``[N]``.
    groups
        sets of pieces whose minima are taken.
    theorem
        ``"4.1"`` for the fixed width, ``"3.1"`` for the free width.

    Raises
    ------
    ValueError
        an invalid form, or another theorem.

    Examples
    --------
    >>> import torch
    >>> a, b = torch.tensor([[1.0], [-1.0]]).double(), torch.zeros(2).double()
    >>> absolute = from_max_min(a, b, [[0], [1]])  # max(x, -x)
    >>> x = torch.tensor([[-2.0], [0.5]]).double()
    >>> bool(torch.allclose(absolute(x).flatten(), x.abs().flatten()))
    True
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
