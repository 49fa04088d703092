r"""Operators that combine entries of one tensor: sums, means, norms, softmax, Fourier, constant matrices.

In ``einsum`` let ``b`` be the letters of both tensors and of the result, ``c`` those of both that are
summed over and ``f`` those of the constant and of the result alone. It applies, for every index of
``b``, a matrix :math:`W_b` of ``f`` rows and ``c`` columns to every other index of the image: its norm
is :math:`\max_b\|W_b\|`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.operators.affine import added, bias_of, executed, leaf_of, weight_of
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, is_equal
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []


@register_operator("sum sum.dim_IntList mean mean.dim")
def _total(op: Operation, x: Any, dim: Any = None, keepdim: bool = False) -> Dependent:
    r"""Of ``k`` entries each: sums :math:`\sqrt k`, means :math:`1/\sqrt k` for the known sides."""
    size = op.image(x).size
    axes = [dim] if isinstance(dim, int) else list(dim or range(len(size)))
    sides = [size[axis] for axis in axes]
    known = math.prod(side for side in sides if isinstance(side, int))
    if "mean" in str(op.node.target):
        return op.bounded(x, sqrt_up(Fraction(1, max(known, 1))), "mean over axes")
    if not all(isinstance(side, int) for side in sides):
        op.refuse("sums over a side of unknown length: use the mean, or prove it at one size")
    return op.bounded(x, sqrt_up(Fraction(known)), f"sum of {known} entries")


@register_operator("softmax.int _softmax")
def _softmax(op: Operation, x: Any, **given: Any) -> Dependent:
    r"""The Jacobian ``diag(p) - p p^T`` is symmetric.

    By Gershgorin its spectrum lies in :math:`[0, \max_i 2p_i(1-p_i)] \subseteq [0, 1/2]`.
    """
    return op.symmetric(x, "softmax", Fraction(0), Fraction(1, 2))


@register_operator("_native_batch_norm_legit_no_training batch_norm native_batch_norm")
def _batch_norm(
    op: Operation, x: Any, weight: Any, running_var: Any, training: bool = False, **given: Any
) -> Any:
    r"""Entrywise with slopes :math:`g_c/\sqrt{v_c + \epsilon}`."""
    if training or running_var is None:
        op.refuse("normalises by the batch: call eval() and keep running statistics")
    variance = op.fixed(running_var, "a variance").double() + given["eps"]
    if not (variance > 0).all():
        op.refuse("has a running variance that is not positive")
    gains = torch.ones_like(variance) if weight is None else op.fixed(weight, "a scale").double()
    slopes = gains / variance.sqrt()
    # Three correctly rounded operations: each is off by less than one part in 2**52.
    slack = Fraction(1) + Fraction(1, 2**49)
    low, high = Fraction(float(slopes.min())), Fraction(float(slopes.max()))
    low, high = low * (slack if low < 0 else 1 / slack), high * (slack if high > 0 else 1 / slack)
    return op.symmetric(x, "batch norm in eval mode", low, high)


@register_operator(
    "fft_fft fft_fft2 fft_fftn fft_ifft fft_ifft2 fft_ifftn fft_rfft fft_rfft2 fft_rfftn fft_irfft "
    "fft_irfft2 fft_irfftn"
)
def _transform(op: Operation, x: Any, dim: Any, norm: Any, n: Any = None, s: Any = None) -> Any:
    r"""Complex numbers count as pairs of real ones.

    A transform of ``N`` samples with ``norm="ortho"`` is unitary. Without, one direction carries the
    factor :math:`\sqrt N` and the other :math:`1/\sqrt N`. A real transform keeps one half of the
    frequencies; back from it each kept one counts twice at most, a factor :math:`\sqrt2`. Cropping and
    padding to ``s`` cost nothing.
    """
    kind, lengths = str(op.node.target).split("_")[1], s if n is None else [n]
    sides = op.image(x).size if kind.startswith("rfft") else op.size
    axes = [dim] if isinstance(dim, int) else dim or range(-len(lengths or sides), 0)
    counts = lengths if kind.startswith("rfft") and lengths else [sides[axis] for axis in axes]
    known = math.prod(side for side in counts if isinstance(side, int))
    square = Fraction(2 if kind.startswith("irfft") else 1)
    if (norm or "backward") == ("forward" if kind.startswith("i") else "backward"):
        if not all(isinstance(side, int) for side in counts):
            op.refuse("grows with the size of the image: transform with norm='ortho'")
        square *= known
    elif norm != "ortho":
        square /= known
    return op.bounded(x, sqrt_up(square), f"Fourier transform, norm {norm or 'backward'}")


@register_operator("linalg_vector_norm")
def _norm(op: Operation, x: Any, ord: Any, dim: Any, keepdim: bool) -> Dependent:
    """Euclidean and largest norms are nonexpansive (triangle inequality)."""
    if ord not in (2, math.inf):
        op.refuse(f"is a norm of order {ord}: only 2 and inf have a rule")
    return op.bounded(x, 1.0, f"norm of order {ord}")


@register_operator("linear")
def _dense(op: Operation, x: Any, weight: Any, bias: Any) -> Dependent:
    return _matrix(op, x, weight_of(op, weight), bias_of(op, bias))


@register_operator("addmm")
def _addmm(op: Operation, x: Any, mat1: Any, mat2: Any) -> Dependent:
    return _matrix(op, mat1, weight_of(op, mat2).T, bias_of(op, x))


@register_operator("matmul mm bmm")
def _matmul(op: Operation, x: Any, mat2: Any = None, other: Any = None) -> Dependent:
    """A stack has one matrix for each of so many parts of the image."""
    right = mat2 if other is None else other
    image, constant = (x, right) if isinstance(x, Dependent) else (right, x)
    stack, size = weight_of(op, constant), op.image(image).size
    if stack.ndim == 2 and image is x:
        return _matrix(op, x, stack.T, None)
    beside = zip(stack.shape[:-2], size[-stack.ndim : -2], strict=False)
    if len(size) < stack.ndim or not all(n == 1 or is_equal(n, side) for n, side in beside):
        op.refuse(f"multiplies with {list(stack.shape)}, which repeats a tensor of shape {size}")
    return _blocks(op, image, torch.atleast_2d(stack) if stack.ndim < 3 else stack.flatten(0, -3))


def _blocks(op: Operation, x: Any, blocks: Tensor) -> Dependent:
    """A matrix, or several as a convolution of one tap in groups."""
    if blocks.ndim == 2:
        return added(op, x, leaf_of(op, blocks))
    leaf = leaf_of(op, blocks.reshape(-1, blocks.shape[-1], 1), groups=len(blocks))
    return added(op, x, leaf)


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
        op.refuse(f"has the equation {equation!r}: expected ->, and one letter for every axis")
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
    if any((own + text + output).count(one) == 1 for one in own + text + output):
        op.refuse("sums over an axis of one tensor alone: sum it before")
    weight, sides = weight_of(op, constant), dict(zip(own, image.size, strict=True))
    shape = dict(zip(text, weight.shape, strict=True))
    if not all(is_equal(sides[one], shape[one]) for one in text if one in sides):
        op.refuse(f"repeats a constant of shape {list(weight.shape)} along an axis of the image")
    shared = [one for one in text if one in own and one in output]
    free = [one for one in text if one not in own]
    summed = [one for one in text if one in own and one not in output]
    order = [text.index(one) for one in (*shared, *free, *summed)]
    counts = [math.prod(shape[one] for one in group) for group in (shared, free, summed)]
    blocks = weight.permute(order).reshape(counts)
    return _blocks(op, image, blocks[0] if len(blocks) == 1 else blocks)
