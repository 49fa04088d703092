"""Operators that combine entries of one tensor: sums, means, maxima, softmax, batch norm, Fourier."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch

from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent
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
    op: Operation,
    x: Any,
    weight: Any,
    running_var: Any,
    eps: Any,
    training: bool = False,
    **given: Any,
) -> Any:
    r"""Entrywise with slopes :math:`g_c/\sqrt{v_c + \epsilon}`."""
    if training or running_var is None:
        op.refuse("normalises by the batch: call eval() and keep running statistics")
    variance = op.fixed(running_var, "a variance").double() + eps
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
def _transform(
    op: Operation, x: Any, dim: Any, norm: Any, n: Any = None, s: Any = None
) -> Dependent:
    r"""Complex numbers count as pairs of real ones.

    A transform of ``N`` samples with ``norm="ortho"`` is unitary. Without, one direction carries the
    factor :math:`\sqrt N` and the other :math:`1/\sqrt N`. A real transform keeps one half of the
    frequencies; back from it each kept one counts twice at most, a factor :math:`\sqrt2`. Cropping and
    padding to ``s`` cost nothing.
    """
    kind, lengths = str(op.node.target).split("_")[1], s if n is None else [n]
    sides = op.image(x).size if kind.startswith("rfft") else op.size
    axes = (
        range(-len(lengths or sides), 0) if dim is None else [dim] if isinstance(dim, int) else dim
    )
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
