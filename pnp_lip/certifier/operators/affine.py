r"""Operators with a weight: convolutions, their transposes, matrices; and :math:`W^\top\sigma(Wx+b)`.

A transposed operator with the *same* weight and arguments as the one before the nonlinearity is its
adjoint. Then :math:`W^\top\sigma(W\cdot+b)` has a symmetric mean matrix :math:`W^\top DW` with
:math:`low\,\|W\|^2 \le W^\top DW \le high\,\|W\|^2` (or zero), which is what makes a gradient step
:math:`x - \tau W^\top\sigma(Wx+b)` nonexpansive, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.certifier.digest import tensor_bytes
from pnp_lip.certifier.execution import absolute_norm, affine_execution, bias_norm, taps_of
from pnp_lip.certifier.operators.registry import Operation, per_axis, register_operator
from pnp_lip.certifier.statement import lipschitz
from pnp_lip.certifier.values import JUMPING, Dependent, Linear, Sigma, is_equal
from pnp_lip.norms import NormBound, convolution_norm, matrix_norm, padding_factor
from pnp_lip.rounding import multiply_up

__all__ = ["PADDED_CONVOLUTIONS", "deferred_padding"]

aten = torch.ops.aten

#: Convolutions that a padding before them is bounded together with.
PADDED_CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
_TRANSPOSED = (
    aten.conv_transpose1d.default,
    aten.conv_transpose2d.input,
    aten.conv_transpose3d.input,
)


def deferred_padding(node: fx.Node) -> tuple[str, tuple[int, ...]] | None:
    """Mode and amounts of a padding that is only read by unpadded convolutions, else ``None``."""
    if node.target is not aten.pad.default or len(node.args) < 3:
        return None
    sides, mode = list(node.args[1]), str(node.args[2])  # type: ignore[arg-type]
    amounts = tuple(sides[0::2])
    known = all(isinstance(side, int) and side >= 0 for side in sides)
    if mode == "constant" or not known or amounts != tuple(sides[1::2]):
        return None
    for user in node.users:
        padding = list(user.args[4]) if len(user.args) > 4 else [0]  # type: ignore[arg-type]
        if user.target not in PADDED_CONVOLUTIONS or user.args[0] is not node or any(padding):
            return None
        if node.meta["val"].ndim - len(amounts) > 2:
            return None
    return mode, amounts[::-1]


@register_operator(
    *PADDED_CONVOLUTIONS, aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding
)
def _convolution(
    op: Operation,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1,),
    padding: Any = (0,),
    dilation: Any = (1,),
    groups: int = 1,
) -> Dependent:
    kernel, offset = _weight(op, weight), _bias(op, bias)
    size = tuple(kernel.shape[2:])
    axes = len(size)
    steps, spacings = per_axis(stride, axes), per_axis(dilation, axes)
    amounts = padding if isinstance(padding, str) else per_axis(padding, axes)
    source: Any = op.node.args[0]
    deferred = deferred_padding(source)
    mode = "zeros"
    if deferred is not None:
        mode, amounts = deferred
    arguments = {"stride": steps, "dilation": spacings, "groups": groups}
    bound = _norm(op, kernel, arguments)
    factor = padding_factor(mode, size, amounts, spacings, stride=steps)
    statement = lipschitz(bound.rule, multiply_up(bound.upper, factor), bound=bound)
    sums = zip(_total(amounts, size, spacings), spacings, size, strict=True)
    if kernel.dtype == torch.float32 and all(p <= d * (k - 1) for p, d, k in sums):
        execution = _execution(kernel, offset, statement.upper, factor)
        statement = replace(statement, execution=execution)
    if deferred is not None or isinstance(amounts, str):
        return op.walk.add(op.node, op.image(x), statement)
    key = ("convolution", steps, amounts, spacings, groups)
    origin = Linear(key, kernel, _terms(x), bound.upper)
    return op.walk.add(op.node, op.image(x), statement, origin=origin)


@register_operator(*_TRANSPOSED)
def _transposed(
    op: Operation,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1,),
    padding: Any = (0,),
    output_padding: Any = (0,),
    groups: int = 1,
    dilation: Any = (1,),
) -> Dependent:
    kernel = _weight(op, weight)
    _bias(op, bias)
    axes = kernel.ndim - 2
    steps, spacings = per_axis(stride, axes), per_axis(dilation, axes)
    arguments = {"stride": steps, "dilation": spacings, "groups": groups}
    bound = _norm(op, kernel, arguments, transposed=True)
    key = ("convolution", steps, per_axis(padding, axes), spacings, groups)
    statement = lipschitz(bound.rule, bound.upper, bound=bound)
    return _adjoint_atom(op, x, statement, Linear(key, kernel, "", bound.upper))


@register_operator(aten.linear.default)
def _dense(op: Operation, x: Any, weight: Any, bias: Any = None) -> Dependent:
    return _matrix(op, x, _weight(op, weight), _bias(op, bias))


@register_operator(aten.matmul.default, aten.mm.default, aten.bmm.default)
def _matmul(op: Operation, x: Any, mat2: Any = None, other: Any = None) -> Dependent:
    right = mat2 if other is None else other
    image, constant = (x, right) if isinstance(x, Dependent) else (right, x)
    matrix = _weight(op, constant)
    if matrix.ndim == 2 and image is x:
        return _matrix(op, x, matrix.T, None)
    bound = _norm_of_matrices(op, matrix, op.image(image).size)
    return op.walk.add(op.node, image, lipschitz(bound.rule, bound.upper, bound=bound))


def _norm_of_matrices(op: Operation, stack: Tensor, size: tuple[Any, ...]) -> NormBound:
    """The largest norm of a stack of matrices, one for each of so many parts of the image."""
    if stack.ndim < 3:
        return _norm(op, stack if stack.ndim == 2 else stack[None], {})
    beside = zip(stack.shape[:-2], size[-stack.ndim : -2], strict=False)
    if len(size) < stack.ndim or not all(n == 1 or is_equal(n, side) for n, side in beside):
        op.refuse(f"multiplies with {list(stack.shape)}, which repeats a tensor of shape {size}")
    blocks = stack.flatten(0, -3)
    return _norm(op, blocks.reshape(-1, stack.shape[-1], 1), {"groups": len(blocks)})


@register_operator(aten.convolution_backward.default)
def _convolution_backward(
    op: Operation, grad_output: Any, x: Any, weight: Any, bias_sizes: Any, stride: Any,
    padding: Any, dilation: Any, transposed: Any, output_padding: Any, groups: Any, output_mask: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """The adjoint of a convolution with a constant weight; derivatives by weights are products."""
    kernel, image = _weight(op, weight), op.image(grad_output)
    axes = kernel.ndim - 2
    arguments = {"stride": per_axis(stride, axes), "dilation": per_axis(dilation, axes)}
    bound = _norm(op, kernel, {**arguments, "groups": groups}, transposed=transposed)
    leaf = lipschitz(bound.rule, bound.upper, bound=bound)
    sides = tuple(op.node.meta["val"][0].shape)
    return op.walk.add(op.node, image, leaf, size=sides), JUMPING, JUMPING


@register_operator(aten.addmm.default)
def _addmm(op: Operation, x: Any, mat1: Any, mat2: Any) -> Dependent:
    return _matrix(op, mat1, _weight(op, mat2).T, _bias(op, x))


def _matrix(op: Operation, x: Any, matrix: Tensor, bias: Tensor | None) -> Dependent:
    """``x W^T`` along the last axis."""
    if matrix.ndim != 2:
        op.refuse(f"has a weight of {matrix.ndim} axes: expected a matrix")
    bound = _norm(op, matrix, {})
    statement = lipschitz(bound.rule, bound.upper, bound=bound)
    if matrix.dtype == torch.float32 and op.image(x).size and len(op.image(x).size) == 2:
        statement = replace(statement, execution=_execution(matrix, bias, bound.upper, 1.0))
    own = Linear(("matrix",), matrix, _terms(x), bound.upper)
    adjoint = _adjoint_atom(op, x, statement, replace(own, weight=matrix.T))
    atom = op.walk.atoms[op.node.name]
    if atom.spectrum is None:
        op.walk.atoms[op.node.name] = replace(atom, origin=own)
    return adjoint


def _adjoint_atom(op: Operation, x: Any, statement: Any, linear: Linear) -> Dependent:
    """With its spectrum, if it is the adjoint of what came before the nonlinearity."""
    source = op.image(x)
    sigma = op.walk.origin(source)
    added = op.walk.add(op.node, source, statement)
    if not isinstance(sigma, Sigma):
        return added
    before, start = sigma.linear, next(iter(op.walk.atoms))
    same = before.key == linear.key and before.weight.dtype == linear.weight.dtype
    if not (same and before.source == start and torch.equal(before.weight, linear.weight)):
        return added
    sizes = zip(op.walk.sizes[start], added.size, strict=False)
    if len(op.walk.sizes[start]) != len(added.size) or not all(is_equal(a, b) for a, b in sizes):
        return added
    square = Fraction(min(before.norm, linear.norm)) ** 2
    spectrum = min(sigma.low, Fraction(0)) * square, max(sigma.high, Fraction(0)) * square
    atom = op.walk.atoms[op.node.name]
    op.walk.atoms[op.node.name] = replace(atom, spectrum=spectrum)
    return added


def _terms(x: Any) -> str:
    """The one atom that ``x`` is, empty for a combination."""
    if isinstance(x, Dependent) and len(x.terms) == 1 and next(iter(x.terms.values())) == 1:
        return next(iter(x.terms))
    return ""


def _norm(
    op: Operation, weight: Tensor, arguments: dict[str, Any], *, transposed: bool = False
) -> NormBound:
    gap = op.walk.settings.gap
    if not torch.isfinite(weight).all():
        op.refuse("has a weight with NaN or infinity")
    key = (tensor_bytes(weight), transposed, tuple(sorted(arguments.items())))
    if not arguments:
        return op.walk.settings.norm(key, lambda: matrix_norm(weight, gap=gap))
    return op.walk.settings.norm(
        key, lambda: convolution_norm(weight, transposed=transposed, gap=gap, **arguments)
    )


def _execution(weight: Tensor, bias: Tensor | None, norm: float, factor: float) -> Any:
    taps = taps_of(weight)
    return affine_execution(
        norm=norm,
        absolute_norm=multiply_up(factor, absolute_norm(taps)),
        bias=bias_norm(bias),
        terms=taps.shape[1] * taps.shape[2],
    )


def _weight(op: Operation, weight: Any) -> Tensor:
    found = op.fixed(weight, "a weight")
    if not isinstance(found, Tensor) or not found.is_floating_point():
        op.refuse("has a weight that is no tensor of real numbers")
    return found.detach()


def _bias(op: Operation, bias: Any) -> Tensor | None:
    if bias is None:
        return None
    found = op.fixed(bias, "a bias")
    return found if isinstance(found, Tensor) else None


def _total(amounts: Any, size: Sequence[int], spacings: Sequence[int]) -> list[int]:
    """Pixels that are added to each axis."""
    if isinstance(amounts, str):
        full = [d * (k - 1) for k, d in zip(size, spacings, strict=True)]
        return full if amounts == "same" else [0 for _ in full]
    return [2 * amount for amount in amounts]
