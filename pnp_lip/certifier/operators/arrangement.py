r"""Operators that move, select, repeat or join entries.

An entry that is given at most ``k`` times costs :math:`\sqrt k`.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.operators.affine import deferred_padding
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, Known, is_equal, named
from pnp_lip.norms import padding_factor
from pnp_lip.rounding import multiply_up, sqrt_up

__all__ = ["FILLED", "filled"]

#: Operators whose result is one number everywhere, also where its size is not known.
FILLED = named("zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full")

#: Nonexpansive operators of one tensor. Most give every entry at most once. Sorted values, and with them
#: every order statistic, are nonexpansive because sorted sequences are the closest of all orders
#: (rearrangement inequality); the gradient of log-sum-exp is a vector of probabilities.
_ONCE = {
    "permutation of entries": (
        "view reshape _unsafe_view unflatten.int flatten.using_ints permute transpose.int t mT numpy_T "
        "squeeze squeeze.dim squeeze.dims unsqueeze movedim.int movedim.intlist swapaxes flip roll "
        "rot90 pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle fft_fftshift "
        "fft_ifftshift view_as_real view_as_complex _conj conj resolve_conj"
    ),
    "selection of entries": "select.int narrow diagonal tril triu real imag",
    "constant padding": "constant_pad_nd",
    "largest or smallest of disjoint sets of entries": "amax amin",
    "largest or smallest along an axis": "max.dim min.dim",
    "order statistics": "sort sort.stable topk median median.dim kthvalue",
    "log-sum-exp": "logsumexp",
    "entries on a diagonal": "diag_embed",
}
#: Operators whose results consist of entries of several tensors.
_BESIDE = {
    "concatenation": "cat stack hstack vstack dstack",
    "entries of two tensors": "slice_scatter select_scatter diagonal_scatter",
}


def _once(op: Operation, x: Any, rule: str, **given: Any) -> Dependent:
    return op.bounded(x, 1.0, rule)


def _beside(op: Operation, rule: str, **everything: Any) -> Dependent:
    return op.beside(everything.get("tensors", [everything.get("x"), everything.get("src")]), rule)


for _table, _function in ((_ONCE, _once), (_BESIDE, _beside)):
    for _rule, _names in _table.items():
        register_operator(_names)(partial(_function, rule=_rule))


@register_operator(
    "alias detach clone contiguous lift_fresh_copy dropout feature_dropout alpha_dropout "
    "feature_alpha_dropout"
)
def _same(op: Operation, x: Any, train: bool = False, **given: Any) -> Dependent:
    if train:
        op.refuse("drops entries at random: call eval() first")
    return op.image(x)


@register_operator("slice.Tensor")
def _slice(op: Operation, x: Any, **given: Any) -> Dependent:
    """All entries where the shape stays."""
    image = op.image(x)
    kept = all(is_equal(a, b) for a, b in zip(image.size, op.size, strict=True))
    return image if kept else op.bounded(image, 1.0, "selection of entries")


@register_operator(
    "chunk split.Tensor split.sizes split_with_sizes unbind.int tensor_split.sections unsafe_chunk"
)
def _split(op: Operation, x: Any, **given: Any) -> tuple[Dependent, ...]:
    """Every part is a selection of entries."""
    whole, found = op.bounded(x, 1.0, "selection of entries"), []
    ((whole_name, one),) = whole.terms.items()
    for index, part in enumerate(op.node.meta["val"]):
        name = f"{whole_name} {index}"
        op.walk.atoms[name] = op.walk.atoms[whole_name]
        found.append(Dependent({name: one}, tuple(part.shape), whole.exact))
    return tuple(found)


@register_operator("copy")
def _copied(op: Operation, x: Any, src: Any, **given: Any) -> Dependent | Known:
    """All entries are those of ``src``."""
    return op.broadcast(src) if isinstance(src, Dependent) else Known(None, op.size)


@register_operator(
    "zeros_like ones_like full_like new_zeros new_ones new_full fill.Scalar fill.Tensor zero"
)
def filled(op: Operation, fill_value: Any = None, value: Any = None, **everything: Any) -> Known:
    """One number everywhere, which must not depend on the image."""
    name, found = str(op.node.target), fill_value if value is None else value
    if isinstance(found, Dependent):
        op.refuse("fills with a number that depends on the input")
    found = 0.0 if "zero" in name else 1.0 if "ones" in name else found
    number = found.number() if isinstance(found, Known) else Known(found).number()
    return Known(None if number is None else float(number), op.size)


@register_operator("expand expand_as repeat tile repeat_interleave.self_int")
def _expanded(op: Operation, x: Any, other: Any = None, **given: Any) -> Dependent:
    return op.broadcast(x)


@register_operator(
    "pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d"
)
def _pad(op: Operation, x: Any, mode: str = "", value: Any = None, **given: Any) -> Dependent:
    """Counted for the larger of two sides: more padding never means fewer copies."""
    if mode == "constant":
        return _once(op, x, "constant padding", value=value)
    if deferred_padding(op.node) is not None:
        return op.image(x)
    mode = mode or ("reflect" if "reflection" in str(op.node.target) else "replicate")
    sides = [*given.get("pad", ()), *given.get("padding", ())]
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        op.refuse(f"crops, or pads by a side of the image, for which mode {mode!r} has no rule")
    factor = 1.0
    for larger in map(max, sides[0::2], sides[1::2]):
        factor = multiply_up(factor, padding_factor(mode, (1,), (larger,)))
    return op.bounded(x, factor, f"{mode} padding")


@register_operator("index.Tensor index_select")
def _given(op: Operation, x: Any, indices: Any = (), dim: int = 0, index: Any = None) -> Dependent:
    """How often each entry is given; a negative place counts from the end of a known side."""
    read = []
    places = [(axis, one) for axis, one in enumerate(indices) if one is not None]
    for axis, one in places or [(dim, index)]:
        side, place = op.image(x).size[axis], op.fixed(one, "an index")
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
