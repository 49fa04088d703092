r"""A zero-padded convolution :math:`W` and its exact transpose, fast where kernels are few.

With ``P`` the extraction of patches, :math:`Wx = K\,Px` and :math:`W^\top z = P^\top K^\top z` for the
kernel matrix ``K`` of shape ``[K, C k²]``. On a CPU a library convolution with as few *output*
channels as an image has is several times slower than the second form, and so is the library's
gradient in the kernel: both take patches there. Elsewhere, and under autocast, the library's own
kernels are used. Derivatives of every order exist: the derivative of each of the two maps is made
of the two maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["convolve", "convolve_transpose"]

#: Up to this many image channels the patch form is the faster one on a CPU.
_FEW_CHANNELS = 4


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """``W x``, a cross-correlation as in torch.

    For ``x`` ``[B, C, H, W]`` and odd ``weight`` ``[K, C, k, k]``, responses ``[B, K, H, W]``.
    """
    if _patch_form_pays(weight):
        return _Convolve.apply(x, weight)
    return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)


def convolve_transpose(z: Tensor, weight: Tensor) -> Tensor:
    r""":math:`W^\top z` for ``z`` ``[B, K, H, W]``: images ``[B, C, H, W]``."""
    if _patch_form_pays(weight):
        return _ConvolveTranspose.apply(z, weight)
    return functional.conv_transpose2d(z, weight, padding=weight.shape[-1] // 2)


def _patch_form_pays(weight: Tensor) -> bool:
    on_cpu = weight.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return on_cpu and weight.shape[1] <= _FEW_CHANNELS


class _Convolve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        return (
            _ConvolveTranspose.apply(gradient, weight) if ctx.needs_input_grad[0] else None,
            _weight_gradient(gradient, x, weight) if ctx.needs_input_grad[1] else None,
        )


class _ConvolveTranspose(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, weight: Tensor) -> Tensor:
        size = weight.shape[-1]
        kernel = weight.flatten(1).mT.expand(len(z), -1, -1)
        patches = torch.bmm(kernel, z.flatten(2))
        return _add_patches(patches.unflatten(1, (-1, size, size)).unflatten(-1, z.shape[-2:]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        z, weight = ctx.saved_tensors
        (gradient,) = gradients
        return (
            _Convolve.apply(gradient, weight) if ctx.needs_input_grad[0] else None,
            _weight_gradient(z, gradient, weight) if ctx.needs_input_grad[1] else None,
        )


def _weight_gradient(z: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    r"""Gradient of :math:`\langle z, Wx\rangle` in the kernel."""
    patches = _patches(x, weight.shape[-1])
    return torch.bmm(z.flatten(2), patches.mT).sum(0).reshape(weight.shape)


def _patches(x: Tensor, size: int) -> Tensor:
    """The zero-padded neighbourhood of every pixel, ``[B, C k², H W]``; one copy of a view."""
    padded = functional.pad(x, [size // 2] * 4)
    windows = padded.unfold(2, size, 1).unfold(3, size, 1).permute(0, 1, 4, 5, 2, 3)
    return windows.reshape(len(x), -1, x.shape[-2] * x.shape[-1])


def _add_patches(patches: Tensor) -> Tensor:
    """The adjoint of :func:`_patches` on ``[B, C, k, k, H, W]``, one axis after the other."""
    batch, channels, size, _, height, width = patches.shape
    pad = size // 2
    rows = patches.new_zeros(batch, channels, size, height, width + 2 * pad)
    for column in range(size):
        rows[..., column : column + width].add_(patches[:, :, :, column])
    image = patches.new_zeros(batch, channels, height + 2 * pad, width + 2 * pad)
    for row in range(size):
        image[:, :, row : row + height].add_(rows[:, :, row])
    return image[:, :, pad : pad + height, pad : pad + width].contiguous()
