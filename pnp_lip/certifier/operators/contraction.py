r"""Contractions of the image with one constant: matrices, stacks of them, ``einsum``.

In ``einsum`` let ``b`` be the letters of both tensors and of the result, ``c`` those of both that are
summed over and ``f`` those of the constant and of the result alone. It applies, for every index of
``b``, a matrix :math:`W_b` of ``f`` rows and ``c`` columns to every other index of the image: its norm
is :math:`\max_b\|W_b\|`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.operators.affine import added, bias_of, executed, leaf_of, weight_of
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.values import Dependent, is_equal

__all__: list[str] = []


@register_operator("linear")
def _dense(op: Operation, x: Any, weight: Any, bias: Any) -> Dependent:
    return _matrix(op, x, weight_of(op, weight), bias_of(op, bias))


@register_operator("addmm")
def _addmm(op: Operation, x: Any, mat1: Any, mat2: Any) -> Dependent:
    return _matrix(op, mat1, weight_of(op, mat2).T, bias_of(op, x))


@register_operator("matmul mm bmm")
def _matmul(op: Operation, x: Any, mat2: Any = None, other: Any = None) -> Dependent:
    right = mat2 if other is None else other
    image, constant = (x, right) if isinstance(x, Dependent) else (right, x)
    matrix = weight_of(op, constant)
    if matrix.ndim == 2 and image is x:
        return _matrix(op, x, matrix.T, None)
    return added(op, image, _leaf_of_stack(op, matrix, op.image(image).size))


def _leaf_of_stack(op: Operation, stack: Tensor, size: tuple[Any, ...]) -> Statement:
    """The largest norm of a stack of matrices, one for each of so many parts of the image."""
    if stack.ndim < 3:
        return leaf_of(op, stack if stack.ndim == 2 else stack[None])
    beside = zip(stack.shape[:-2], size[-stack.ndim : -2], strict=False)
    if len(size) < stack.ndim or not all(n == 1 or is_equal(n, side) for n, side in beside):
        op.refuse(f"multiplies with {list(stack.shape)}, which repeats a tensor of shape {size}")
    return _leaf_of_blocks(op, stack.flatten(0, -3))


def _leaf_of_blocks(op: Operation, blocks: Tensor) -> Statement:
    """As a convolution of one tap in groups."""
    return leaf_of(op, blocks.reshape(-1, blocks.shape[-1], 1), groups=len(blocks))


def _matrix(op: Operation, x: Any, matrix: Tensor, bias: Tensor | None) -> Dependent:
    """``x W^T`` along the last axis."""
    if matrix.ndim != 2:
        op.refuse(f"has a weight of {matrix.ndim} axes: expected a matrix")
    leaf = leaf_of(op, matrix)
    if len(op.image(x).size) == 2:
        leaf = executed(leaf, matrix, bias)
    return added(op, x, leaf, own=((), {}, matrix), of=((), {}, matrix.T))


@register_operator("einsum")
def _contraction(op: Operation, equation: str, tensors: Any) -> Dependent:
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if not arrow or "." in equation or any(len(set(t)) < len(t) for t in (*letters, output)):
        op.refuse(
            f"has the equation {equation!r}: expected a different letter for every axis, and ->"
        )
    read = list(zip(letters, tensors, strict=True))
    images = [(text, one) for text, one in read if isinstance(one, Dependent)]
    others = [(text, one) for text, one in read if not isinstance(one, Dependent)]
    if len(images) > 1:
        op.refuse("multiplies tensors that depend on the input, which has no finite constant")
    if len(others) > 1:
        op.refuse("multiplies with several constants: multiply them before")
    ((own, image),) = images
    if not others and sorted(own) == sorted(output):
        return op.bounded(image, 1.0, "permutation of entries")
    text, constant = others[0] if others else ("", torch.ones(()))
    counts = {one: (own + text + output).count(one) for one in own + text + output}
    if 1 in counts.values():
        op.refuse("sums over an axis of one tensor alone: sum it before")
    sides = dict(zip(own, image.size, strict=True))
    blocks = _blocks(op, weight_of(op, constant), text, sides, output)
    if len(blocks) == 1:
        return added(op, image, leaf_of(op, blocks[0]))
    return added(op, image, _leaf_of_blocks(op, blocks))


def _blocks(op: Operation, weight: Tensor, text: str, sides: dict[str, Any], output: str) -> Tensor:
    """``[b, f, c]``."""
    shape = dict(zip(text, weight.shape, strict=True))
    if not all(is_equal(sides[one], shape[one]) for one in text if one in sides):
        op.refuse(f"repeats a constant of shape {list(weight.shape)} along an axis of the image")
    shared = [one for one in text if one in sides and one in output]
    free = [one for one in text if one not in sides]
    summed = [one for one in text if one in sides and one not in output]
    order = [text.index(one) for one in (*shared, *free, *summed)]
    counts = [math.prod(shape[one] for one in group) for group in (shared, free, summed)]
    return weight.permute(order).reshape(counts)
