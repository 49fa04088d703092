r"""A gradient step at one noise level as two plain convolutions.

For a mixture of clips with thresholds :math:`\lambda_1 \ge \dots \ge \lambda_J` and shares :math:`m_j`, per
channel,

.. math:: \tau W^\top \sum_j m_j\,\mathrm{clip}_{\lambda_j}(Wx)
          = (\tau\lambda_1 m W^\top) \sum_j \frac{m_j}{m}\,\mathrm{clip}_{\lambda_j/\lambda_1}(u), \qquad
          u = \mathrm{clip}_1(\lambda_1^{-1}Wx),

with :math:`m = \sum_j m_j`: both kernels are constants, and the first clip has the same bounds in all
channels. The products are computed in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.layers.activations import Clip, NoiseClip, ReLU
from pnp_lip.layers.cache_blocking import STRIP_BYTES, Transposition, by_strips, channels_last
from pnp_lip.layers.gradient_step import ConvGradientStep
from pnp_lip.layers.maps import Maps

__all__ = ["FoldedStep", "fold_step"]

#: Thresholds up to this count as zero; their terms are smaller than any rounding.
_ZERO = 1e-20


@dataclass(frozen=True, eq=False)
class _Mixture:
    """What is left of an activation: ``scale`` and ``gain`` go into the kernels, ``[K]`` float64."""

    scale: Tensor
    gain: Tensor
    ratios: Tensor
    shares: Tensor


class FoldedStep(nn.Module):
    r""":math:`x - B\,\sigma(Ax + b)` with constant kernels.

    Parameters
    ----------
    forward_kernel
        ``A`` as ``[K, C, k, k]``.
    backward_kernel
        ``B`` is the transposed convolution with this kernel, of the same shape.
    bias
        ``[K]`` or ``None``.
    ratios, shares
        ``[J - 1, K]`` of the clips after the first; ``None`` stands for ReLU.
    """

    def __init__(
        self,
        forward_kernel: Tensor,
        backward_kernel: Tensor,
        bias: Tensor | None,
        ratios: Tensor | None,
        shares: Tensor | None,
    ) -> None:
        super().__init__()
        self.transposition = Transposition(backward_kernel)
        self.register_buffer("kernel", channels_last(forward_kernel))
        self.register_buffer("bias", bias)
        self.register_buffer("ratios", None if ratios is None else ratios[..., None, None])
        self.register_buffer("shares", None if shares is None else shares[..., None, None])
        self.compiled = False

    def forward(self, x: Tensor, scale: Maps | None = None) -> Tensor:
        """The step on ``[B, C, H, W]``; ``scale``, maps ``[B or 1, K, H, W]``, scales its thresholds."""
        return x - self.combine(x, self._entrywise if scale is None else self._guided(scale))

    def bare(self, x: Tensor, *, whole: bool = True) -> Tensor:
        """``B A x``: the two convolutions alone, for timing; on the whole image or in strips."""
        return self.combine(
            x, lambda responses, _: responses, strip_bytes=2**62 if whole else STRIP_BYTES
        )

    def combine(
        self, x: Tensor, between: Callable[[Tensor, int], Tensor], *, strip_bytes: int = STRIP_BYTES
    ) -> Tensor:
        """``B f(A x)`` with an entrywise ``f`` of responses and their first row; in strips on a CPU."""
        kernel: Any = self.kernel
        bias: Any = self.bias
        if x.device.type == "cpu":
            return by_strips(x, kernel, bias, between, self.transposition, strip_bytes=strip_bytes)
        x = x.to(kernel.dtype, memory_format=torch.channels_last)
        responses = functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
        return self.transposition.whole(between(responses, 0))

    def _guided(self, scale: Maps) -> Callable[[Tensor, int], Tensor]:
        """The nonlinearity with maps, at the rows where it is asked for."""

        def between(responses: Tensor, top: int) -> Tensor:
            maps = scale.rows(top, responses.shape[2]).to(responses.dtype)
            inside = responses[:, :, : maps.shape[2], : maps.shape[3]]
            inside.copy_(self._entrywise(inside.div_(maps), top)).mul_(maps)
            return responses

        return between

    def _entrywise(self, responses: Tensor, top: int) -> Tensor:
        ratios: Any = self.ratios
        shares: Any = self.shares
        if ratios is None:
            return responses.relu_()
        activate = _compiled() if self.compiled else _activate
        width = responses.shape[-1]
        return activate(responses, _in_rows(ratios, width), _in_rows(shares, width))


def _in_rows(constants: Tensor, width: int) -> Tensor:
    """``[J, K, 1, 1]`` for every pixel of a row: long runs instead of ``K`` numbers at a time."""
    return constants.expand(-1, -1, -1, width).contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=1)
def _compiled() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """One pass over the responses instead of three."""
    return torch.compile(_activate, dynamic=True)


def _activate(responses: Tensor, ratios: Tensor, shares: Tensor) -> Tensor:
    """The mixture of clips, in place; the shares of all clips but the first are given."""
    first = functional.hardtanh_(responses)
    if len(ratios) == 0:
        return first
    if len(ratios) == 1:
        return first.lerp_(torch.clamp(first, -ratios[0], ratios[0]), shares[0])
    total = first * (1 - shares.sum(0))
    for ratio, share in zip(ratios, shares, strict=True):
        total.addcmul_(torch.clamp(first, -ratio, ratio), share)
    return total


@torch.no_grad()
def fold_step(layer: nn.Module, sigma: float, dtype: torch.dtype) -> FoldedStep | None:
    """A layer at one noise level, or ``None`` if it is none that is known here.

    Parameters
    ----------
    layer
        a :class:`ConvGradientStep` with ReLU, Clip or NoiseClip.
    sigma
        noise level in [0, 1].
    dtype
        of the kernels.
    """
    if type(layer) is not ConvGradientStep:
        return None
    weight, tau = layer.weight.double(), layer.tau.double()
    bias = None if layer.bias is None else layer.bias.double()
    if type(layer.activation) is ReLU:
        folded_bias = None if bias is None else bias.to(dtype)
        return FoldedStep(weight.to(dtype), (tau * weight).to(dtype), folded_bias, None, None)
    mixture = _mixture(layer.activation, sigma)
    if mixture is None:
        return None
    scaled = weight * mixture.scale[:, None, None, None]
    gained = tau * weight * mixture.gain[:, None, None, None]
    return FoldedStep(
        scaled.to(dtype),
        gained.to(dtype),
        None if bias is None else (bias * mixture.scale).to(dtype),
        mixture.ratios.to(dtype),
        mixture.shares.to(dtype),
    )


def _mixture(activation: nn.Module, sigma: float) -> _Mixture | None:
    if type(activation) is Clip:
        thresholds = activation.threshold[None]
        shares = torch.ones_like(thresholds)
    elif type(activation) is NoiseClip:
        level = torch.tensor([sigma], dtype=activation.knots.dtype, device=activation.knots.device)
        thresholds = activation.thresholds(level)[:, 0]
        shares = torch.softmax(activation.logits, dim=0)
    else:
        return None
    thresholds, order = thresholds.double().clamp(min=0).sort(dim=0, descending=True)
    shares = shares.double().gather(0, order)
    largest = thresholds[0]
    alive = largest > _ZERO
    scale = torch.where(alive, 1 / largest.clamp(min=_ZERO), 0.0)
    total = shares.sum(0)
    return _Mixture(scale, largest * total * alive, thresholds[1:] * scale, shares[1:] / total)
