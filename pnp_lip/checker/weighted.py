r"""Operators with a weight, whose norm is proved again from its cells; adjoints around a nonlinearity.

A transposed operator of the same weight and arguments is the adjoint, so :math:`W^\top\sigma(Wx+b)` has the
symmetric mean matrix :math:`W^\top DW`, with ``D`` in the interval of the slopes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.checker.composition import of_linear
from pnp_lip.checker.execution import of_affine
from pnp_lip.checker.padding import copies_of
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Value, equal_sizes

__all__: list[str] = []

aten = torch.ops.aten
_UNPADDED = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)


@rule("conv1d.default conv2d.default conv3d.default conv1d.padding conv2d.padding conv3d.padding")
def _convolution(
    op: Op, x: Any, weight: Any, bias: Any = None, stride: Any = (1,), padding: Any = (0,),
    dilation: Any = (1,), groups: Any = 1,
) -> Value:  # fmt: skip
    kernel = _weight(op, weight)
    size = tuple(kernel.shape[2:])
    steps, spacings = _each(stride, len(size)), _each(dilation, len(size))
    reach = [d * (k - 1) for d, k in zip(spacings, size, strict=True)]
    added = _padded_before(op)
    total = [sum(pair) for pair in added[1]] if added else _total(padding, reach)
    layer = op.layer()
    norm = op.walk.ledger.norm(layer, kernel, stride=steps, dilation=spacings, groups=groups)
    factor = Fraction(1) if added is None else copies_of(*added, reach, steps)
    fits = all(p <= r for p, r in zip(total, reach, strict=True))
    error = of_affine(kernel, _bias(op, bias), norm, factor) if fits else None
    claim = of_linear(norm * factor)
    op.walk.ledger.confirm(layer, claim, error, weighted=True)
    key = (
        None
        if added or isinstance(padding, str)
        else (steps, _each(padding, len(size)), spacings, groups)
    )
    origin = ("linear", key, kernel, _single(x), norm)
    return op.walk.atom(op.node, op.image(x), claim, error=error, origin=origin)


@rule("conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input")
def _transposed(
    op: Op, x: Any, weight: Any, bias: Any = None, stride: Any = (1,), padding: Any = (0,),
    output_padding: Any = (0,), groups: Any = 1, dilation: Any = (1,),
) -> Value:  # fmt: skip
    kernel = _weight(op, weight)
    _bias(op, bias)
    axes = kernel.ndim - 2
    steps, spacings = _each(stride, axes), _each(dilation, axes)
    layer = op.layer()
    norm = op.walk.ledger.norm(layer, kernel, stride=steps, dilation=spacings, groups=groups)
    op.walk.ledger.confirm(layer, of_linear(norm), None, weighted=True)
    key = steps, _each(padding, axes), spacings, groups
    return _with_adjoint(op, x, norm, key, kernel)


@rule("linear.default")
def _dense(op: Op, x: Any, weight: Any, bias: Any = None) -> Value:
    return _matrix(op, x, _weight(op, weight), _bias(op, bias))


@rule("matmul.default mm.default bmm.default")
def _product(op: Op, x: Any, mat2: Any = None, other: Any = None) -> Value:
    right = mat2 if other is None else other
    if isinstance(x, Value):
        matrix = _weight(op, right)
        return _matrix(op, x, matrix.T, None) if matrix.ndim == 2 else _stacked(op, x, matrix)
    return _stacked(op, right, _weight(op, x))


@rule("addmm.default")
def _addmm(op: Op, x: Any, mat1: Any, mat2: Any) -> Value:
    return _matrix(op, mat1, _weight(op, mat2).T, _bias(op, x))


def _matrix(op: Op, x: Any, matrix: Tensor, bias: Tensor | None) -> Value:
    """``x W^T`` along the last axis."""
    if matrix.ndim != 2:
        raise NotRecomputed("its weight is no matrix")
    layer = op.layer()
    norm = op.walk.ledger.norm(layer, matrix)
    error = of_affine(matrix, bias, norm, Fraction(1)) if len(op.image(x).shape) == 2 else None
    op.walk.ledger.confirm(layer, of_linear(norm), error, weighted=True)
    own = ("linear", "matrix", matrix, _single(x), norm)
    return _with_adjoint(op, x, norm, "matrix", matrix.T, own, error)


def _stacked(op: Op, x: Any, stack: Tensor) -> Value:
    """Several matrices, each for a part of the image, are one convolution of ``1`` tap in groups."""
    image, layer = op.image(x), op.layer()
    if stack.ndim > 2:
        sides = image.shape[-stack.ndim : -2]
        fits = len(image.shape) >= stack.ndim
        pairs = zip(stack.shape[:-2], sides, strict=False)
        if not fits or not all(n == 1 or equal_sizes(n, side) for n, side in pairs):
            raise NotRecomputed("it repeats the image for several matrices")
        blocks = stack.flatten(0, -3)
        kernel = blocks.reshape(-1, stack.shape[-1], 1)
        norm = op.walk.ledger.norm(layer, kernel, stride=(1,), dilation=(1,), groups=len(blocks))
    else:
        norm = op.walk.ledger.norm(layer, stack if stack.ndim == 2 else stack[None])
    op.walk.ledger.confirm(layer, of_linear(norm), None, weighted=True)
    return op.walk.atom(op.node, image, of_linear(norm))


def _with_adjoint(
    op: Op, x: Any, norm: Fraction, key: Any, kernel: Tensor, own: Any = None, error: Any = None
) -> Value:
    """With its spectrum, if it is the adjoint of what came before the nonlinearity."""
    image, walk = op.image(x), op.walk
    before = op.origin(image)
    spectrum = None
    if before is not None and before[0] == "slopes" and before[1] is not None:
        linear, low, high = before[1:]
        if linear[0] == "linear" and _adjoint(op, linear, key, kernel):
            square = min(norm, linear[4]) ** 2
            spectrum = min(low, Fraction(0)) * square, max(high, Fraction(0)) * square
    return walk.atom(
        op.node, image, of_linear(norm), spectrum=spectrum, error=error,
        origin=None if spectrum else own,
    )  # fmt: skip


def _adjoint(op: Op, linear: Any, key: Any, kernel: Tensor) -> bool:
    _, own_key, weight, source, _ = linear
    sides = op.walk.sizes.get(op.walk.start, ())
    return (
        own_key is not None
        and own_key == key
        and source == op.walk.start
        and weight.dtype == kernel.dtype
        and torch.equal(weight, kernel)
        and len(sides) == len(op.shape)
        and all(equal_sizes(a, b) for a, b in zip(sides, op.shape, strict=True))
    )


def _padded_before(op: Op) -> tuple[str, list[tuple[int, int]]] | None:
    """Mode and amounts of a padding that this convolution alone reads."""
    source: Any = op.node.args[0]
    return padding_left_to_convolutions(source)


def padding_left_to_convolutions(node: fx.Node) -> tuple[str, list[tuple[int, int]]] | None:
    """Of a padding by copies that only unpadded convolutions read, so that they carry its cost."""
    if node.target is not aten.pad.default or len(node.args) < 3:
        return None
    sides: Any = node.args[1]
    mode: Any = node.args[2]
    pairs = list(zip(sides[0::2], sides[1::2], strict=True))[::-1]
    if mode == "constant" or any(not isinstance(s, int) or s < 0 for s in sides):
        return None
    if any(left != right for left, right in pairs):
        return None
    for user in node.users:
        pad: Any = user.args[4] if len(user.args) > 4 else [0]
        if user.target not in _UNPADDED or user.args[0] is not node or any(pad):
            return None
    return (mode, pairs) if node.meta["val"].ndim - len(pairs) <= 2 else None


def _single(x: Any) -> str:
    """The atom that ``x`` is, empty for a combination."""
    one = isinstance(x, Value) and list(x.terms.values()) == [1]
    return next(iter(x.terms)) if one else ""


def _weight(op: Op, weight: Any) -> Tensor:
    found = op.fixed(weight)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise NotRecomputed("its weight is no tensor of real numbers")
    if not bool(torch.isfinite(found).all()):
        raise NotRecomputed("its weight contains NaN or infinity")
    return found.detach()


def _bias(op: Op, bias: Any) -> Tensor | None:
    found = None if bias is None else op.fixed(bias)
    return found if isinstance(found, Tensor) else None


def _each(value: Any, axes: int) -> tuple[int, ...]:
    entries = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return entries * axes if len(entries) == 1 else entries


def _total(padding: Any, reach: list[int]) -> list[int]:
    """Zeros added to every axis."""
    if isinstance(padding, str):
        return reach if padding == "same" else [0] * len(reach)
    return [2 * one for one in _each(padding, len(reach))]
