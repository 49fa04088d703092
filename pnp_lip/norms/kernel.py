"""The normal form of a layer: unit-stride taps ``[groups, rows, columns, *kernel]``.

``P(omega) = sum_a K_a exp(i a.omega)`` has the singular values of the layer's symbol. Steps:

* stride ``s``: pixel-unshuffle makes a unit-stride convolution on ``prod(s)`` times the channels;
* dilation ``D``: with ``g = gcd(s, D)`` only every ``g``-th sample is read, so ``(s, D)`` has the
  norm of ``(s/g, D/g)``. When ``s`` and ``D`` are coprime the residues ``D a mod s`` of the taps
  are the residues ``a mod s`` permuted, and tap ``r + s j`` carries the phase
  ``exp(i (c_r + j D) omega)`` with ``c_r`` common to its column: a unitary diagonal factor. So
  the norm is that of dilation 1;
* a transposed convolution is the adjoint of the convolution with the same weight;
* axes on which the kernel has one tap carry no frequency and are dropped;
* the smaller of the two channel counts becomes the columns, by transposition:
  ``rows >= columns``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def check_weight(weight: Tensor, where: str, dims: tuple[int, ...]) -> None:
    """Refuse a weight that has no finite norm: wrong type, shape, dtype, or non-finite entries."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"{where}: expected a torch.Tensor, got {type(weight).__name__}")
    if weight.dtype not in _FLOATS:
        raise TypeError(
            f"{where}: expected a real floating-point weight (float64, float32, float16 or "
            f"bfloat16), got {weight.dtype}; convert it with weight.float()"
        )
    if weight.ndim not in dims:
        raise ValueError(
            f"{where}: expected a weight with {' or '.join(map(str, dims))} dimensions, got "
            f"{weight.ndim} (shape {tuple(weight.shape)})"
        )
    if weight.numel() == 0:
        raise ValueError(f"{where}: expected a nonempty weight, got shape {tuple(weight.shape)}")
    if not torch.isfinite(weight).all():
        raise ValueError(f"{where}: expected finite weights, got NaN or infinity")


def per_axis(value: int | tuple[int, ...], axes: int, name: str, where: str) -> tuple[int, ...]:
    """``value`` as a tuple of ``axes`` positive integers."""
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes or any(not isinstance(v, int) or v < 1 for v in values):
        raise ValueError(
            f"{where}: expected {name} as a positive int or {axes} of them, got {value!r}"
        )
    return values


def polyphase(taps: Tensor, stride: tuple[int, ...]) -> Tensor:
    """``K'[.., (c, p), j] = K[.., c, p + s j]``: ``[g, rows, columns, *k]`` to unit stride."""
    for axis, step in enumerate(stride):
        position = 3 + axis
        missing = -taps.shape[position] % step
        padding = [0, 0] * (taps.ndim - 1 - position) + [0, missing]
        padded = torch.nn.functional.pad(taps, padding)
        split = padded.unflatten(position, (padded.shape[position] // step, step))
        taps = split.movedim(position + 1, 3).flatten(2, 3)
    return taps


def unit_stride_taps(
    weight: Tensor, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> Tensor:
    """The normal form without scaling, in the weight's dtype and on its device, differentiable."""
    taps = weight.unflatten(0, (groups, weight.shape[0] // groups))
    reduced = tuple(s // math.gcd(s, d) for s, d in zip(stride, dilation, strict=True))
    taps = polyphase(taps, reduced)
    taps = taps.reshape(taps.shape[:3] + tuple(k for k in taps.shape[3:] if k > 1))
    return taps if taps.shape[1] >= taps.shape[2] else taps.transpose(1, 2)


@dataclass(frozen=True, eq=False)
class Kernel:
    """``2^exponent * taps``: taps in float64, exact, with largest entry in [1/2, 1).

    The scaling is by a power of two. Entries below ``2^-1022`` of the largest may lose bits, by at
    most ``2^-1075`` each; ``roundoff.UNDERFLOW`` pays for that.
    """

    taps: Tensor
    exponent: int

    @property
    def half_degrees(self) -> tuple[float, ...]:
        """``(k - 1) / 2`` per axis: the exponential type of ``u* P v`` once centred."""
        return tuple((k - 1) / 2 for k in self.taps.shape[3:])


def scaled_kernel(taps: Tensor) -> Kernel | None:
    """``taps`` as a `Kernel`; None for the zero kernel."""
    exact = taps.detach().to("cpu", torch.float64)
    largest = exact.abs().max().item()
    if largest == 0.0:
        return None
    exponent = math.frexp(largest)[1]
    # Two factors, because 2^-exponent alone may overflow.
    half = -exponent // 2
    scaled = exact * math.ldexp(1.0, half) * math.ldexp(1.0, -exponent - half)
    return Kernel(scaled.contiguous(), exponent)


def convolution_kernel_taps(
    weight: Tensor,
    stride: int | tuple[int, ...],
    dilation: int | tuple[int, ...],
    groups: int,
    where: str,
) -> Tensor:
    """Check the arguments of a convolution and return its unit-stride taps."""
    check_weight(weight, where, (3, 4, 5))
    axes = weight.ndim - 2
    if not isinstance(groups, int) or groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{where}: expected groups to divide the weight's first dimension "
            f"{weight.shape[0]}, got {groups}"
        )
    strides = per_axis(stride, axes, "stride", where)
    return unit_stride_taps(weight, strides, per_axis(dilation, axes, "dilation", where), groups)
