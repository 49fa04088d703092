"""``einsum`` of the image with one constant: a block of it for every index that all three have."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pnp_lip.checker.composition import of_linear
from pnp_lip.checker.rules import NotRecomputed, Op, rule
from pnp_lip.checker.values import Value, equal_sizes

__all__: list[str] = []


@rule("einsum.default")
def _contraction(op: Op, x: Any, tensors: Any) -> Value:
    sides, arrow, result = str(x).replace(" ", "").partition("->")
    texts = sides.split(",")
    dependent = [i for i, one in enumerate(tensors) if isinstance(one, Value)]
    if not arrow or "." in sides or len(dependent) != 1 or len(texts) > 2:
        raise NotRecomputed(f"its equation is {x!r}")
    image = tensors[dependent[0]]
    own = texts.pop(dependent[0])
    if not texts and sorted(own) == sorted(result) and len(set(own)) == len(own):
        return op.gain(image, Fraction(1))
    if not texts:
        raise NotRecomputed("it sums over axes of the image alone")
    kernel = op.fixed(tensors[1 - dependent[0]])
    layer = op.layer()
    blocks = _blocks(kernel, texts[0], dict(zip(own, image.shape, strict=True)), own, result)
    if len(blocks) == 1:
        norm = op.walk.ledger.norm(layer, blocks[0])
    else:
        rows = blocks.reshape(-1, blocks.shape[-1], 1)
        norm = op.walk.ledger.norm(layer, rows, stride=(1,), dilation=(1,), groups=len(blocks))
    op.walk.ledger.confirm(layer, of_linear(norm), None, weighted=True)
    return op.walk.atom(op.node, image, of_linear(norm))


def _blocks(kernel: Any, text: str, sides: dict[str, Any], own: str, result: str) -> Tensor:
    """A matrix from the summed letters to those that only the constant brings, for every shared index."""
    letters = own + text + result
    if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
        raise NotRecomputed("its constant is no tensor of real numbers")
    if not bool(torch.isfinite(kernel).all()):
        raise NotRecomputed("its constant contains NaN or infinity")
    if any(len(set(one)) < len(one) for one in (own, text, result)):
        raise NotRecomputed("it reads a diagonal")
    if any(letters.count(one) == 1 for one in letters):
        raise NotRecomputed("it sums over an axis of one tensor alone")
    for one, length in zip(text, kernel.shape, strict=True):
        if one in sides and not equal_sizes(sides[one], length):
            raise NotRecomputed("it repeats its constant")
    shared = "".join(one for one in text if one in own and one in result)
    summed = "".join(one for one in text if one not in result)
    new = "".join(one for one in text if one not in own)
    ordered = torch.einsum(f"{text}->{shared}{new}{summed}", kernel)
    last = len(shared) + len(new)
    rows, columns = math.prod(ordered.shape[len(shared) : last]), math.prod(ordered.shape[last:])
    return ordered.reshape(-1, rows, columns)
