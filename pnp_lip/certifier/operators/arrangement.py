"""Operators that move, select, repeat or join entries."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from pnp_lip.certifier.operators.affine import deferred_padding
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, Known, is_equal, size_of
from pnp_lip.norms import padding_factor
from pnp_lip.rounding import multiply_up, sqrt_up

__all__: list[str] = []

aten = torch.ops.aten


@register_operator(
    aten.alias.default, aten.detach.default, aten.clone.default, aten.contiguous.default,
    aten.lift_fresh_copy.default,
)  # fmt: skip
def _same(op: Operation, x: Any, memory_format: Any = None) -> Dependent:
    return op.image(x)


#: Operators that give every entry at most once, and nothing else that depends on the input.
_ONCE = {
    "permutation of entries": (
        *(aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.unflatten.int),
        *(aten.flatten.using_ints, aten.permute.default, aten.transpose.int, aten.t.default),
        *(aten.mT.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims),
        *(aten.unsqueeze.default, aten.movedim.int, aten.movedim.intlist, aten.swapaxes.default),
        *(aten.flip.default, aten.roll.default, aten.rot90.default, aten.pixel_shuffle.default),
        *(aten.pixel_unshuffle.default, aten.channel_shuffle.default, aten.numpy_T.default),
        *(aten.native_channel_shuffle.default, aten.fft_fftshift.default),
        *(aten.fft_ifftshift.default, aten.view_as_real.default, aten.view_as_complex.default),
        *(aten._conj.default, aten.conj.default, aten.resolve_conj.default),
    ),
    "selection of entries": (
        *(aten.select.int, aten.narrow.default, aten.diagonal.default, aten.tril.default),
        *(aten.triu.default, aten.real.default, aten.imag.default),
    ),
    "constant padding": (aten.constant_pad_nd.default,),
    "largest or smallest of disjoint sets of entries": (aten.amax.default, aten.amin.default),
}


def _once(rule: str) -> Callable[..., Dependent]:
    def bounded(op: Operation, x: Any, **given: Any) -> Dependent:
        if any(isinstance(value, Dependent) for value in given.values()):
            op.refuse("has an argument that depends on the input")
        return op.bounded(x, 1.0, rule)

    return bounded


for _rule, _operators in _ONCE.items():
    register_operator(*_operators)(_once(_rule))


@register_operator(aten.slice.Tensor)
def _slice(op: Operation, x: Any, **given: Any) -> Dependent:
    """All entries where the shape stays."""
    image, wanted = op.image(x), size_of(op.node)
    if all(is_equal(a, b) for a, b in zip(image.size, wanted, strict=True)):
        return image
    return op.bounded(image, 1.0, "selection of entries")


@register_operator(
    *(aten.chunk.default, aten.split.Tensor, aten.split.sizes, aten.split_with_sizes.default),
    *(aten.unbind.int, aten.tensor_split.sections, aten.unsafe_chunk.default),
)
def _split(op: Operation, x: Any, **given: Any) -> tuple[Dependent, ...]:
    """Every part is a selection of entries."""
    found: list[Dependent] = []
    whole = op.bounded(x, 1.0, "selection of entries")
    for part in op.node.meta["val"]:
        name = f"{op.node.name}_{len(found)}"
        op.walk.atoms[name] = op.walk.atoms[op.node.name]
        terms = {name: next(iter(whole.terms.values()))}
        found.append(Dependent(terms, tuple(part.shape), whole.exact))
    return tuple(found)


@register_operator(
    *(aten.cat.default, aten.stack.default, aten.hstack.default, aten.vstack.default),
    aten.dstack.default,
)
def _joined(op: Operation, tensors: Any, dim: int = 0) -> Dependent:
    r""":math:`\|(T_1x, T_2x)\|^2 = \|T_1x\|^2 + \|T_2x\|^2`."""
    return op.walk.gathered(
        op.node, [one for one in tensors if isinstance(one, Dependent)], "concatenation"
    )


@register_operator(aten.slice_scatter.default, aten.select_scatter.default, aten.copy.default)
def _scattered(op: Operation, x: Any, src: Any, **given: Any) -> Dependent:
    """Some entries of one tensor are replaced by those of another, all of them by ``copy``."""
    if op.node.target is aten.copy.default:
        if not isinstance(src, Dependent):
            return _constant(op)
        return op.walk.repeated(op.node, src, size_of(op.node))
    parts = [one for one in (x, src) if isinstance(one, Dependent)]
    return op.walk.gathered(op.node, parts, "entries of two tensors")


@register_operator(
    *(aten.zeros_like.default, aten.ones_like.default, aten.full_like.default),
    *(aten.new_zeros.default, aten.new_ones.default, aten.new_full.default),
)
def _constant(op: Operation, x: Any = None, **given: Any) -> Known:
    """A tensor that takes no more than its shape from ``x``."""
    name = str(op.node.target)
    value: Any = given.get(
        "fill_value", 0.0 if "zeros" in name else 1.0 if "ones" in name else None
    )
    number = value.number() if isinstance(value, Known) else value
    return Known(None if number is None else float(number), size_of(op.node))


@register_operator(aten.fill.Scalar, aten.fill.Tensor, aten.zero.default)
def _filled(op: Operation, x: Any, value: Any = 0.0) -> Known:
    """One number everywhere, which must not depend on the image."""
    if isinstance(value, Dependent):
        op.refuse("fills with a number that depends on the input")
    number = value.number() if isinstance(value, Known) else value
    return Known(None if number is None else float(number), size_of(op.node))


@register_operator(aten.expand.default, aten.expand_as.default)
def _expanded(op: Operation, x: Any, **given: Any) -> Dependent:
    return op.walk.repeated(op.node, op.image(x), size_of(op.node))


@register_operator(aten.repeat.default, aten.tile.default, aten.repeat_interleave.self_int)
def _repeated(op: Operation, x: Any, **given: Any) -> Dependent:
    count: Any = given.get("repeats", given.get("dims"))
    numbers: list[Any] = list(count) if isinstance(count, (list, tuple)) else [count]
    if not all(isinstance(number, int) for number in numbers):
        op.refuse("repeats by a number that depends on the size of the image")
    copies = math.prod(numbers)
    return op.bounded(x, sqrt_up(Fraction(copies)), f"{copies} copies")


@register_operator(aten.pad.default)
def _pad(op: Operation, x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Dependent:
    """Counted for the larger of two sides: more padding never means fewer copies."""
    if mode == "constant":
        return _once("constant padding")(op, x, value=value)
    if deferred_padding(op.node) is not None:
        image = op.image(x)
        return Dependent(image.terms, image.size, image.exact)
    if not all(isinstance(side, int) and side >= 0 for side in pad):
        sides = [
            side if isinstance(side, int) else "a side that depends on the image" for side in pad
        ]
        op.refuse(f"pads by {sides}: only whole numbers from 0 on have a rule in mode {mode!r}")
    factor = 1.0
    for left, right in zip(pad[0::2], pad[1::2], strict=True):
        factor = multiply_up(factor, padding_factor(mode, (1,), (max(left, right),)))
    return op.bounded(x, factor, f"{mode} padding")


@register_operator(
    *(aten.reflection_pad1d.default, aten.reflection_pad2d.default, aten.reflection_pad3d.default),
    *(aten.replication_pad1d.default, aten.replication_pad2d.default),
    aten.replication_pad3d.default,
)
def _named_pad(op: Operation, x: Any, padding: Any) -> Dependent:
    mode = "reflect" if "reflection" in str(op.node.target) else "replicate"
    return _pad(op, x, padding, mode)
