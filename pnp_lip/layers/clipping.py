r"""Convex combinations of clips, :math:`\sum_j m_j\,\mathrm{clip}(t, \pm\lambda_j)`, with their derivative.

Written once by hand because automatic differentiation of ``clamp`` with a tensor bound makes three
times the passes over the responses, which is where training on a CPU spends its time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["clip_mixture", "on_channel_axis"]


def clip_mixture(t: Tensor, thresholds: Tensor, shares: Tensor) -> Tensor:
    """Apply the mixture to the responses ``t``.

    Parameters
    ----------
    t
        responses ``[B, K, ...]``.
    thresholds
        ``[J, B or 1, K]``; a negative one counts as 0.
    shares
        ``[J, 1, K]``, nonnegative; where they sum to at most 1 the slope is in [0, 1].

    Returns
    -------
    Tensor
        Tensor of the shape of ``t``.
    """
    result: Tensor = _ClipMixture.apply(
        t,
        on_channel_axis(thresholds.clamp(min=0).to(t.dtype), t),
        on_channel_axis(shares.to(t.dtype), t),
    )
    return result


def on_channel_axis(values: Tensor, t: Tensor) -> Tensor:
    """Append axes to ``[..., K]`` so that it broadcasts against ``t`` of shape ``[B, K, ...]``."""
    return values.reshape(*values.shape, *([1] * (t.ndim - 2)))


class _ClipMixture(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, thresholds: Tensor, shares: Tensor) -> Tensor:
        out = torch.clamp(t, -thresholds[0], thresholds[0]) * shares[0]
        for threshold, share in zip(thresholds[1:], shares[1:], strict=True):
            out = torch.addcmul(out, torch.clamp(t, -threshold, threshold), share)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t, thresholds, shares = ctx.saved_tensors
        (gradient,) = gradients
        parts = [
            _differentiate(gradient, t, threshold, share)
            for threshold, share in zip(thresholds, shares, strict=True)
        ]
        in_t, in_threshold, in_share = zip(*parts, strict=True)
        return (
            sum(in_t[1:], in_t[0]),
            torch.stack(in_threshold).sum_to_size(thresholds.shape),
            torch.stack(in_share).sum_to_size(shares.shape),
        )


def _differentiate(
    gradient: Tensor, t: Tensor, threshold: Tensor, share: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Pull ``gradient`` back through :math:`m\,\mathrm{clip}(t, \pm\lambda)`.

    With :math:`u = \mathrm{clip}(t/\lambda, \pm 1)`, which is the sign of ``t`` outside the
    threshold, and ``g1`` the gradient inside it: :math:`m g_1` in ``t``,
    :math:`m\sum (g - g_1)u` in the threshold and :math:`\lambda\sum g u` in the share.
    """
    scaled = t / threshold.clamp(min=torch.finfo(t.dtype).tiny)
    inside = torch.ops.aten.hardtanh_backward(gradient, scaled, -1.0, 1.0)
    unit = scaled.clamp(-1.0, 1.0)
    whole, part = _sum_pixels(gradient * unit), _sum_pixels(inside * unit)
    return inside * share, share * (whole - part), threshold * whole


def _sum_pixels(values: Tensor) -> Tensor:
    axes = list(range(2, values.ndim))
    return values.sum(axes, keepdim=True) if axes else values
