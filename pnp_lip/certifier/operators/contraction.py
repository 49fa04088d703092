r"""``einsum`` of the image with one constant tensor.

With ``b`` the letters of both tensors and of the result, ``c`` those of both that are summed over and
``f`` those of the constant and of the result alone, it applies, for every index of ``b``, a matrix
:math:`W_b` of ``f`` rows and ``c`` columns to every other index of the image: its norm is
:math:`\max_b\|W_b\|`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pnp_lip.certifier.operators.affine import leaf_of, weight_of
from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, is_equal

__all__: list[str] = []


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
        return op.walk.add(op.node, image, leaf_of(op, blocks[0]))
    kernel = blocks.reshape(-1, blocks.shape[-1], 1)
    return op.walk.add(op.node, image, leaf_of(op, kernel, groups=len(blocks)))


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
