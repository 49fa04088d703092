"""Operators that move, select, repeat or join entries."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from pnp_lip.certifier.operators.affine import deferred_padding
from pnp_lip.certifier.operators.operation import Operation
from pnp_lip.certifier.operators.registry import named, register_operator
from pnp_lip.certifier.values import Dependent, Known, is_equal
from pnp_lip.norms import padding_factor
from pnp_lip.rounding import multiply_up, sqrt_up

__all__ = ["FILLED", "filled"]

#: Operators whose result is one number everywhere, also where its size is not known.
FILLED = named("zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full")

#: Operators that give every entry at most once, and nothing else that depends on the input.
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
}


def _once(rule: str) -> Callable[..., Dependent]:
    def bounded(op: Operation, x: Any, **given: Any) -> Dependent:
        if any(isinstance(value, Dependent) for value in given.values()):
            op.refuse("has an argument that depends on the input")
        return op.bounded(x, 1.0, rule)

    return bounded


for _rule, _names in _ONCE.items():
    register_operator(_names)(_once(_rule))


@register_operator("alias detach clone contiguous lift_fresh_copy")
def _same(op: Operation, x: Any, memory_format: Any = None) -> Dependent:
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
    for index, part in enumerate(op.node.meta["val"]):
        name = f"{op.node.name}_{index}"
        op.walk.atoms[name] = op.walk.atoms[op.node.name]
        found.append(Dependent({name: Fraction(1)}, tuple(part.shape), whole.exact))
    return tuple(found)


@register_operator("cat stack hstack vstack dstack")
def _joined(op: Operation, tensors: Any, dim: int = 0) -> Dependent:
    return op.beside(tensors, "concatenation")


@register_operator("slice_scatter select_scatter")
def _scattered(op: Operation, x: Any, src: Any, **given: Any) -> Dependent:
    """Some entries of one tensor are replaced by those of another."""
    return op.beside((x, src), "entries of two tensors")


@register_operator("copy")
def _copied(op: Operation, x: Any, src: Any, **given: Any) -> Dependent | Known:
    """All of them."""
    return op.broadcast(src) if isinstance(src, Dependent) else Known(None, op.size)


@register_operator(
    "zeros_like ones_like full_like new_zeros new_ones new_full fill.Scalar fill.Tensor zero"
)
def filled(op: Operation, fill_value: Any = None, value: Any = None, **given: Any) -> Known:
    """One number everywhere, which must not depend on the image."""
    name, found = str(op.node.target), fill_value if value is None else value
    if isinstance(found, Dependent):
        op.refuse("fills with a number that depends on the input")
    found = 0.0 if "zero" in name else 1.0 if "ones" in name else found
    number = found.number() if isinstance(found, Known) else Known(found).number()
    return Known(None if number is None else float(number), op.size)


@register_operator("expand expand_as")
def _expanded(op: Operation, x: Any, **given: Any) -> Dependent:
    return op.broadcast(x)


@register_operator("repeat tile repeat_interleave.self_int")
def _repeated(
    op: Operation, x: Any, repeats: Any = None, dims: Any = None, **given: Any
) -> Dependent:
    count = dims if repeats is None else repeats
    numbers = count if isinstance(count, (list, tuple)) else [count]
    if not all(isinstance(number, int) for number in numbers):
        op.refuse("repeats by a number that depends on the size of the image")
    copies = math.prod(numbers)
    return op.bounded(x, sqrt_up(Fraction(copies)), f"{copies} copies")


@register_operator("pad")
def _pad(op: Operation, x: Any, pad: Any, mode: str, value: Any) -> Dependent:
    """Counted for the larger of two sides: more padding never means fewer copies."""
    if mode == "constant":
        return _once("constant padding")(op, x, value=value)
    if deferred_padding(op.node) is not None:
        return op.image(x)
    if not all(isinstance(side, int) and side >= 0 for side in pad):
        unknown = "a side that depends on the image"
        sides = [side if isinstance(side, int) else unknown for side in pad]
        op.refuse(f"pads by {sides}: only whole numbers from 0 on have a rule in mode {mode!r}")
    factor = 1.0
    for larger in map(max, pad[0::2], pad[1::2]):
        factor = multiply_up(factor, padding_factor(mode, (1,), (larger,)))
    return op.bounded(x, factor, f"{mode} padding")


@register_operator(
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d"
)
def _named_pad(op: Operation, x: Any, padding: Any) -> Dependent:
    mode = "reflect" if "reflection" in str(op.node.target) else "replicate"
    return _pad(op, x, padding, mode, None)
