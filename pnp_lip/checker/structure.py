"""Operators that move, join, repeat and add up entries."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from pnp_lip.checker.composition import root_up
from pnp_lip.checker.found import UNKNOWN
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Constant, Value, equal_sizes

__all__: list[str] = []


@rule(
    "view.default reshape.default _unsafe_view.default unflatten.int flatten.using_ints "
    "permute.default transpose.int t.default mT.default squeeze.default squeeze.dim squeeze.dims "
    "unsqueeze.default movedim.int movedim.intlist swapaxes.default flip.default roll.default "
    "rot90.default pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default "
    "native_channel_shuffle.default numpy_T.default"
)
def _moved(op: Op, x: Any, **rest: Any) -> Value:
    """Every entry once."""
    return op.gain(x, Fraction(1))


@rule("constant_pad_nd.default")
def _constant_pad(op: Op, x: Any, pad: Any, value: Any = 0) -> Value:
    return op.gain(x, Fraction(1))


@rule("slice.Tensor select.int narrow.default diagonal.default tril.default triu.default")
def _selected(op: Op, x: Any, **rest: Any) -> Value:
    """Every entry at most once; where a slice keeps the shape, it keeps all."""
    image = op.image(x)
    slices = str(op.node.target) == "aten.slice.Tensor"
    if slices and all(equal_sizes(a, b) for a, b in zip(image.shape, op.shape, strict=True)):
        return image
    return op.gain(image, Fraction(1))


@rule(
    "chunk.default split.Tensor split.sizes split_with_sizes.default unbind.int "
    "tensor_split.sections unsafe_chunk.default"
)
def _split(op: Op, x: Any, **rest: Any) -> tuple[Value, ...]:
    whole = op.gain(x, Fraction(1))
    found = []
    for index, part in enumerate(op.node.meta["val"]):
        name = f"{op.node.name} {index}"
        op.walk.atoms[name] = op.walk.atoms[op.node.name]
        found.append(Value({name: Fraction(1)}, tuple(part.shape), whole.exact))
    return tuple(found)


@rule("cat.default stack.default hstack.default vstack.default dstack.default")
def _joined(op: Op, x: Any, dim: Any = 0) -> Value:
    return op.together([one for one in x if isinstance(one, Value)])


@rule("maximum.default minimum.default max.other min.other")
def _extreme(op: Op, x: Any, other: Any) -> Value:
    """``|max(a, b) - max(a', b')|^2 <= |a - a'|^2 + |b - b'|^2``, entry by entry."""
    if isinstance(x, Value) and isinstance(other, Value):
        return op.together([op.fit(x), op.fit(other)])
    return op.entrywise(x if isinstance(x, Value) else other, Fraction(0), Fraction(1))


@rule("where.self where.ScalarOther where.ScalarSelf")
def _where(op: Op, x: Any, other: Any, self: Any = None, **rest: Any) -> Value:
    """Every entry is one of one of the two; ``x`` is the mask."""
    if isinstance(x, Value):
        raise NotRecomputed("its mask depends on the image")
    parts = [op.fit(one) for one in (self, other) if isinstance(one, Value)]
    if len(parts) == 2 and parts[0].terms == parts[1].terms:
        return parts[0]
    return op.together(parts)


@rule("slice_scatter.default select_scatter.default diagonal_scatter.default")
def _scattered(op: Op, x: Any, src: Any, **rest: Any) -> Value:
    return op.together([one for one in (x, src) if isinstance(one, Value)])


@rule("copy.default")
def _copied(op: Op, x: Any, src: Any, **rest: Any) -> Any:
    return op.fit(src) if isinstance(src, Value) else Constant(UNKNOWN, op.shape)


@rule(
    "zeros_like.default ones_like.default full_like.default new_zeros.default new_ones.default "
    "new_full.default"
)
def _filled(op: Op, x: Any, fill_value: Any = None, **rest: Any) -> Constant:
    """It takes no more than the shape from ``x``."""
    name = str(op.node.target)
    value = fill_value.value if isinstance(fill_value, Constant) else fill_value
    value = 0.0 if "zeros" in name else 1.0 if "ones" in name else value
    return Constant(UNKNOWN if value is None else value, op.shape)


@rule("expand.default expand_as.default")
def _expanded(op: Op, x: Any, **rest: Any) -> Value:
    return op.fit(op.image(x))


@rule("repeat.default tile.default repeat_interleave.self_int")
def _repeated(op: Op, x: Any, repeats: Any = None, dims: Any = None, **rest: Any) -> Value:
    count = repeats if repeats is not None else dims
    numbers = count if isinstance(count, list) else [count]
    if not all(isinstance(number, int) for number in numbers):
        raise NotRecomputed("it repeats by a number that depends on a size")
    return op.gain(x, root_up(Fraction(math.prod(numbers))))


@rule("sum.default sum.dim_IntList mean.default mean.dim")
def _total(op: Op, x: Any, dim: Any = None, keepdim: Any = False, **rest: Any) -> Value:
    r"""Sums of ``k`` entries: :math:`\sqrt k`; means: :math:`1/\sqrt k`, with the sides that are known."""
    sides = op.image(x).shape
    axes = [dim] if isinstance(dim, int) else dim or range(len(sides))
    counts = [sides[axis % len(sides)] for axis in axes]
    known = math.prod(side for side in counts if isinstance(side, int))
    if "mean" in str(op.node.target):
        return op.gain(x, root_up(Fraction(1, known)))
    if not all(isinstance(side, int) for side in counts):
        raise NotRecomputed("it sums over a side of unknown length")
    return op.gain(x, root_up(Fraction(known)))
