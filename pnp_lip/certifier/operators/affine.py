r"""Operators with a weight: convolutions, their transposes, matrices; and :math:`W^\top\sigma(Wx+b)`.

A transposed operator with the *same* weight and arguments as the one before the nonlinearity is its
adjoint. Then :math:`W^\top\sigma(W\cdot+b)` has a symmetric mean matrix :math:`W^\top DW` with
:math:`low\,\|W\|^2 \le W^\top DW \le high\,\|W\|^2` (or zero), which is what makes a gradient step
:math:`x - \tau W^\top\sigma(Wx+b)` nonexpansive, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, fx

from pnp_lip.certifier.execution import affine_execution, sizes_of
from pnp_lip.certifier.operators.operation import Operation, per_axis
from pnp_lip.certifier.operators.registry import register_operator
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.certifier.values import Dependent, Linear, Spectrum, is_equal, named
from pnp_lip.norms import padding_factor
from pnp_lip.rounding import multiply_up

__all__ = ["added", "bias_of", "deferred_padding", "executed", "leaf_of", "weight_of"]


def deferred_padding(node: fx.Node) -> tuple[str, tuple[int, ...]] | None:
    """Mode and amounts of a padding that is only read by unpadded convolutions, else ``None``."""
    arguments: Any = node.args
    if node.target not in named("pad") or len(arguments) < 3:
        return None
    sides, mode = list(arguments[1]), str(arguments[2])
    amounts = tuple(sides[0::2])
    known = all(isinstance(side, int) and side >= 0 for side in sides)
    if mode == "constant" or not known or amounts != tuple(sides[1::2]):
        return None
    for user in node.users:
        arguments = user.args
        padded = len(arguments) > 4 and any(arguments[4])
        if user.target not in named("conv1d conv2d conv3d") or arguments[0] is not node or padded:
            return None
    return (mode, amounts[::-1]) if node.meta["val"].ndim - len(amounts) <= 2 else None


@register_operator("conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding")
def _convolution(op: Operation, x: Any, weight: Any, bias: Any, **given: Any) -> Dependent:
    kernel, offset, source = weight_of(op, weight), bias_of(op, bias), op.node.all_input_nodes[0]
    size, kept, padding = tuple(kernel.shape[2:]), _kept(kernel, **given), given["padding"]
    deferred = deferred_padding(source)
    zeros = padding if isinstance(padding, str) else per_axis(padding, len(size))
    mode, amounts = deferred or ("zeros", zeros)
    factor = padding_factor(mode, size, amounts, kept["dilation"], stride=kept["stride"])
    leaf = leaf_of(op, kernel, factor, **kept)
    reach = [d * (k - 1) for k, d in zip(size, kept["dilation"], strict=True)]
    if isinstance(amounts, str) or all(2 * p <= r for p, r in zip(amounts, reach, strict=True)):
        leaf = executed(leaf, kernel, offset, factor)
    written = deferred is None and not isinstance(amounts, str)
    return added(op, x, leaf, own=(amounts, kept, kernel) if written else None)


@register_operator("conv_transpose1d conv_transpose2d.input conv_transpose3d.input")
def _transposed(op: Operation, x: Any, weight: Any, bias: Any, **given: Any) -> Dependent:
    kernel, _ = weight_of(op, weight), bias_of(op, bias)
    kept = _kept(kernel, **given)
    leaf = leaf_of(op, kernel, transposed=True, **kept)
    return added(op, x, leaf, of=(per_axis(given["padding"], kernel.ndim - 2), kept, kernel))


@register_operator("convolution_backward")
def _adjoint(op: Operation, grad_output: Any, weight: Any, x: Any, **given: Any) -> Dependent:
    """The adjoint of a convolution with a constant weight; derivatives by weights are products."""
    kernel = weight_of(op, weight)
    leaf = leaf_of(op, kernel, transposed=given["transposed"], **_kept(kernel, **given))
    return added(op, grad_output, leaf)


def added(op: Operation, x: Any, leaf: Statement, *, own: Any = None, of: Any = None) -> Dependent:
    """The result with its spectrum, if it is the adjoint ``of`` what came before the nonlinearity."""
    source, norm = op.image(x), cast(float, leaf.norm_upper)
    atom = next(iter(source.terms)) if list(source.terms.values()) == [1] else ""
    spectrum = None if of is None else _spectrum(op, source, of, norm)
    origin = None if own is None or spectrum else Linear(own, atom, norm)
    return op.walk.add(op.node, source, leaf, spectrum=spectrum, origin=origin)


def _spectrum(op: Operation, source: Dependent, of: Any, norm: float) -> Spectrum | None:
    before, start = op.walk.origin(source), next(iter(op.walk.atoms))
    if before is None or before.slopes is None or before.source != start:
        return None
    (*others, weight), (*own, other) = before.written, of
    same = others == own and weight.dtype == other.dtype and torch.equal(weight, other)
    image = op.walk.sizes[start]
    if not (same and len(image) == len(op.size) and all(map(is_equal, image, op.size))):
        return None
    square = Fraction(min(before.norm, norm)) ** 2
    return min(before.slopes[0], Fraction(0)) * square, max(before.slopes[1], Fraction(0)) * square


def _kept(kernel: Tensor, *, groups: int = 1, **given: Any) -> dict[str, Any]:
    """The arguments that the norm of a convolution depends on."""
    spread = {key: per_axis(given[key], kernel.ndim - 2) for key in ("stride", "dilation")}
    return {**spread, "groups": groups}


def leaf_of(op: Operation, weight: Tensor, factor: float = 1.0, **kept: Any) -> Statement:
    """The norm of a convolution where arguments are given, otherwise of a matrix, times the factor.

    Raises
    ------
    Refusal
        NaN or infinity.
    """
    if not torch.isfinite(weight).all():
        op.refuse("has a weight with NaN or infinity")
    bound = op.walk.settings.norm(weight, **kept)
    return lipschitz(bound.rule, multiply_up(bound.upper, factor), bound=bound)


def executed(leaf: Statement, weight: Tensor, bias: Any, factor: float = 1.0) -> Statement:
    """With what float32 arithmetic adds, onto no more pixels than there are."""
    if weight.dtype != torch.float32:
        return leaf
    return replace(leaf, execution=affine_execution(leaf.upper, sizes_of(weight, bias), factor))


def weight_of(op: Operation, weight: Any) -> Tensor:
    """A constant tensor of real numbers.

    Raises
    ------
    Refusal
        it depends on the image, is not known, or is none.
    """
    found = op.fixed(weight, "a weight")
    if not isinstance(found, Tensor) or not found.is_floating_point():
        op.refuse("has a weight that is no tensor of real numbers")
    return found.detach()


def bias_of(op: Operation, bias: Any) -> Tensor | None:
    """A constant tensor, if there is one."""
    found = None if bias is None else op.fixed(bias, "a bias")
    return found if isinstance(found, Tensor) else None
