r"""Calls that a traced network may make on tensors without a rule: sums, multiples, joins, slices."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from pnp_lip.certifier.graph_values import Constant, Moving, Terms, Walk
from pnp_lip.certifier.shapes import Shape, beside, rearranged
from pnp_lip.certifier.statement import compose, lipschitz
from pnp_lip.rounding import divide_up, sqrt_up

__all__ = ["operation_of"]

Operation = Callable[[Walk, fx.Node], Moving]


def _negative(walk: Walk, node: fx.Node) -> Moving:
    walk.require_plain_call(node, set())
    return walk.multiple(walk.moving(node.args[0]), Fraction(-1))


def _sum(walk: Walk, node: fx.Node, *, sign: int) -> Moving:
    """``a + sign * alpha * b``; a constant that repeats nothing does not count."""
    walk.require_plain_call(node, {"alpha"})
    a, b = walk.operand(node.args[0]), walk.operand(node.args[1])
    weight = sign * Fraction(walk.number(node, node.kwargs.get("alpha", 1)))
    if isinstance(a, Constant):
        assert isinstance(b, Moving)
        walk.require_fit(node, a, b)
        return walk.multiple(b, weight)
    if isinstance(b, Constant):
        walk.require_fit(node, b, a)
        return a
    walk.require_same_shape(node, a, b)
    terms = dict(a.terms)
    for atom, c in b.terms.items():
        terms[atom] = terms.get(atom, Fraction(0)) + weight * c
    return Moving({atom: c for atom, c in terms.items() if c} or _zero(terms), a.shape)


def _product(walk: Walk, node: fx.Node, *, divide: bool) -> Moving:
    """A tensor times, or divided by, a constant."""
    walk.require_plain_call(node, set())
    a, b = walk.operand(node.args[0]), walk.operand(node.args[1])
    if isinstance(b, Moving) and (divide or isinstance(a, Moving)):
        raise walk.refusal(
            node,
            "multiplies with or divides by a tensor that depends on the input, which has no finite "
            "constant",
        )
    tensor, factor = (a, b) if isinstance(a, Moving) else (b, a)
    assert isinstance(tensor, Moving)
    assert isinstance(factor, Constant)
    if isinstance(factor.value, Tensor):
        walk.require_fit(node, factor, tensor)
        if factor.value.numel() > 1:
            return _entrywise_product(walk, node, tensor, factor.value, divide)
    number = Fraction(walk.number(node, factor.value))
    if divide and number == 0:
        raise walk.refusal(node, "divides by zero")
    return walk.multiple(tensor, 1 / number if divide else number)


def _entrywise_product(
    walk: Walk, node: fx.Node, tensor: Moving, factor: Tensor, divide: bool
) -> Moving:
    sizes = factor.detach().abs().double()
    worst = float(sizes.min() if divide else sizes.max())
    if not math.isfinite(worst) or (divide and worst == 0):
        raise walk.refusal(node, "scales by entries that are not finite")
    upper = divide_up(1.0, worst) if divide else worst
    leaf = lipschitz("entrywise scaling", upper)
    as_map = compose((walk.combined(tensor.terms), leaf))
    return walk.add_atom(node, as_map, leaf, tensor.shape)


def _join(walk: Walk, node: fx.Node) -> Moving:
    r"""Concatenation: :math:`\|(T_1x, T_2x)\|^2 = \|T_1x\|^2 + \|T_2x\|^2`."""
    walk.require_plain_call(node, {"dim", "axis"})
    parts = node.args[0]
    if isinstance(parts, fx.Node):  # what chunk or split returned
        return walk.moving(parts)
    assert isinstance(parts, (list, tuple))
    operands = [walk.operand(part) for part in parts]
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    joined = rearranged(Shape(), node.name)
    shapes = [v.shape for v in operands if isinstance(v, Moving)]
    if axis == 1 and node.target is not torch.stack and len(shapes) == len(operands):
        joined = beside(shapes, walk.source, node.name)
    return _gathered(walk, node, operands, joined, "concatenation")


def _extreme(walk: Walk, node: fx.Node) -> Moving:
    r"""``|max(a, b) - max(a', b')|^2 <= |a - a'|^2 + |b - b'|^2``, entry by entry."""
    walk.require_plain_call(node, set())
    if len(node.args) != 2 or not isinstance(node.args[1], fx.Node):
        raise walk.refusal(node, "has a rule for two tensors only")
    a, b = walk.operand(node.args[0]), walk.operand(node.args[1])
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Constant) and isinstance(other, Moving):
            walk.require_fit(node, one, other)
    if isinstance(a, Moving) and isinstance(b, Moving):
        walk.require_same_shape(node, a, b)
    shape = next(v.shape for v in (a, b) if isinstance(v, Moving))
    return _gathered(walk, node, [a, b], shape, "maximum or minimum of two branches")


def _gathered(
    walk: Walk, node: fx.Node, operands: list[Moving | Constant], shape: Shape, rule: str
) -> Moving:
    branches = [walk.combined(v.terms) for v in operands if isinstance(v, Moving)]
    upper = sqrt_up(sum((Fraction(b.upper) ** 2 for b in branches), Fraction(0)))
    return walk.add_atom(node, lipschitz(rule, upper), lipschitz(rule, 1.0), shape)


def _item(walk: Walk, node: fx.Node) -> Moving:
    """Slices select every entry at most once."""
    tensor, index = node.args
    keys = index if isinstance(index, tuple) else (index,)
    basic = all(key is None or key is ... or isinstance(key, (int, slice)) for key in keys)
    if not basic or not isinstance(tensor, fx.Node):
        raise walk.refusal(node, "indexes with tensors, which may repeat entries")
    value = walk.moving(tensor)
    walk.storage.record(node, nn.Identity())
    leaf = lipschitz("selection of entries", 1.0)
    as_map = compose((walk.combined(value.terms), leaf))
    return walk.add_atom(node, as_map, leaf, rearranged(value.shape, f"[{index}]"))


def _zero(terms: Terms) -> Terms:
    """A combination that is zero, kept with one term of weight zero."""
    return {next(iter(terms)): Fraction(0)}


def operation_of(target: Any) -> Operation | None:
    """What to do with a call of ``target``, if it is one of this module's."""
    return _OPERATIONS.get(target)


_OPERATIONS: dict[Any, Operation] = {
    **dict.fromkeys((operator.add, torch.add, "add"), partial(_sum, sign=1)),
    **dict.fromkeys((operator.sub, torch.sub, torch.subtract, "sub"), partial(_sum, sign=-1)),
    **dict.fromkeys(
        (operator.mul, torch.mul, torch.multiply, "mul"), partial(_product, divide=False)
    ),
    **dict.fromkeys((operator.truediv, torch.div, "div"), partial(_product, divide=True)),
    **dict.fromkeys((operator.neg, torch.neg, "neg"), _negative),
    **dict.fromkeys((torch.cat, torch.concat, torch.stack), _join),
    **dict.fromkeys((torch.maximum, torch.minimum, torch.max, torch.min), _extreme),
    operator.getitem: _item,
}
