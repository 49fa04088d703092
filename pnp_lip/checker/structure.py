"""Operators that move, join, add and multiply entries."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.checker.composition import root_up
from pnp_lip.checker.export import UNKNOWN
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


@rule("slice_scatter.default select_scatter.default")
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


@rule("add.Tensor add.Scalar")
def _add(op: Op, x: Any, other: Any, alpha: Any = 1) -> Value:
    return _sum(op, x, other, op.number(alpha))


@rule("sub.Tensor sub.Scalar")
def _subtract(op: Op, x: Any, other: Any, alpha: Any = 1) -> Value:
    return _sum(op, x, other, -op.number(alpha))


@rule("rsub.Scalar rsub.Tensor")
def _subtract_from(op: Op, x: Any, other: Any, alpha: Any = 1) -> Value:
    return _sum(op, other, x, -op.number(alpha))


def _sum(op: Op, a: Any, b: Any, weight: Fraction) -> Value:
    """``a + weight b``. A constant changes nothing but what is rounded."""
    if not isinstance(a, Value):
        return _rounded(op.fit(b).times(weight))
    first = op.fit(a)
    if not isinstance(b, Value):
        return first if _is_zero(b) else _rounded(first)
    second = op.fit(b).times(weight)
    return _plus(first, second)


def _plus(a: Value, b: Value) -> Value:
    terms = dict(a.terms)
    for name, c in b.terms.items():
        terms[name] = terms.get(name, Fraction(0)) + c
    kept = {name: c for name, c in terms.items() if c} or {next(iter(terms)): Fraction(0)}
    return Value(kept, a.shape, a.exact and b.exact)


def _rounded(value: Value) -> Value:
    return Value(value.terms, value.shape, exact=False)


def _is_zero(value: Any) -> bool:
    found = value.value if isinstance(value, Constant) else value
    if isinstance(found, Tensor):
        return not bool(found.any())
    return isinstance(found, (int, float)) and found == 0


@rule("neg.default")
def _negative(op: Op, x: Any) -> Value:
    return op.image(x).times(Fraction(-1))


@rule("mul.Tensor mul.Scalar")
def _multiply(op: Op, x: Any, other: Any) -> Value:
    image, factor = (x, other) if isinstance(x, Value) else (other, x)
    low, high = _ends(op, factor)
    if low is not None:
        return op.entrywise(image, low, high)
    return op.fit(op.image(image)).times(op.number(factor))


@rule("div.Tensor div.Scalar")
def _divide(op: Op, x: Any, other: Any) -> Value:
    if isinstance(other, Value):
        return op.entrywise(x, Fraction(0), 1 / _offset_of_softsign(op))
    low, high = _ends(op, other)
    if low is not None:
        if low <= 0 <= high:
            raise NotRecomputed("it divides by zero, or by both signs")
        return op.entrywise(x, 1 / high, 1 / low)
    number = op.number(other)
    if number == 0:
        raise NotRecomputed("it divides by zero")
    return op.fit(op.image(x)).times(1 / number)


def _offset_of_softsign(op: Op) -> Fraction:
    """``c`` of ``x / (|x| + c)``: the slopes are ``c / (|x| + c)^2``, from 0 to ``1 / c``."""
    x, below = op.node.args
    if isinstance(below, fx.Node) and str(below.target) == "aten.add.Tensor" and not below.kwargs:
        size, c = below.args[:2]
        of_x = isinstance(size, fx.Node) and str(size.target) == "aten.abs.default"
        if of_x and size.args[0] is x and isinstance(c, (int, float)) and c > 0:  # type: ignore[union-attr]
            return Fraction(c)
    raise NotRecomputed("two of its arguments depend on the image")


def _ends(op: Op, factor: Any) -> tuple[Any, Any]:
    """The least and the largest entry of a tensor with several."""
    value = op.fixed(factor)
    if not isinstance(value, Tensor) or value.numel() == 1:
        return None, None
    if value.is_complex() or not bool(torch.isfinite(value).all()):
        raise NotRecomputed("it scales by what is not finite")
    exact = value.detach().double()
    return Fraction(float(exact.min())), Fraction(float(exact.max()))


@rule("lerp.Scalar lerp.Tensor")
def _interpolate(op: Op, x: Any, end: Any, weight: Any) -> Value:
    share = op.number(weight)
    parts = [op.fit(v).times(c) for v, c in ((x, 1 - share), (end, share)) if isinstance(v, Value)]
    return _plus(*parts) if len(parts) == 2 else _rounded(parts[0])


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
