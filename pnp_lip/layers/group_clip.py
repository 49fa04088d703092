r"""Shrinkage of whole neighbourhoods: a nonlinearity that looks at more than one response at a time.

With a nonnegative matrix :math:`A` whose columns sum to at most 1, a row being a *group* of responses,

.. math:: \sigma(z) = z \odot A^\top \frac{\varphi(e)}{e}, \qquad e = \sqrt{A z^2},

and :math:`\varphi` nondecreasing with slope in [0, 1] and :math:`\varphi(0) = 0`. For one group a response,
:math:`A = I`, this is the entrywise :math:`\varphi`.

*Why the slope is in [0, 1].* Put :math:`(Lz)_{gi} = \sqrt{A_{gi}}\,z_i`. Then :math:`L^\top L` is the
diagonal of the column sums of :math:`A`, so :math:`\|L\| \le 1`; the norm of the group :math:`g` of
:math:`Lz` is :math:`e_g`; and :math:`\sigma = L^\top \circ \nabla\Psi \circ L` with
:math:`\Psi(u) = \sum_g \int_0^{\|u_g\|}\varphi`, a convex function whose gradient is 1-Lipschitz. Hence
:math:`\sigma` is the gradient of a convex function with 1-Lipschitz gradient, which is all that a
gradient step asks for. (Group shrinkage: Yuan and Lin 2006; overlapping groups: Selesnick and
Chen 2013.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.layers.activations import NoiseClip

__all__ = ["EPSILON", "NoiseGroupClip"]

#: Added to the squared norm of a group; :math:`\min(e, \lambda e/\sqrt{e^2+\epsilon})` keeps its
#: slope in [0, 1].
EPSILON = 1e-12
#: Logit of the centre of a window, and of a channel's own group, at the start.
_CENTRE, _OWN = 2.0, 4.5


class NoiseGroupClip(NoiseClip):
    r"""The :math:`\sigma` of the module with a mixture of clips for :math:`\varphi`, for images.

    :math:`A` is a learned mixing of the channels after a learned window of ``neighbourhood`` x
    ``neighbourhood`` pixels in each channel; both are softmaxes over what a response gives away, so
    the columns sum to at most 1 for *every* value of the parameters (less at the border of the
    image). Thresholds and shares are those of :class:`NoiseClip`, one set a group.

    Args:
        channels: number of channels ``K``.
        knots, factors: as for :class:`NoiseClip`.
        neighbourhood: side of the window in pixels, odd.
    """

    def __init__(
        self,
        channels: int,
        knots: tuple[float, ...],
        factors: tuple[float, ...] = (1.0,),
        neighbourhood: int = 3,
    ) -> None:
        super().__init__(channels, knots, factors)
        if neighbourhood < 1 or neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood must be odd and positive, got {neighbourhood}")
        window = torch.zeros(channels, neighbourhood, neighbourhood)
        window[:, neighbourhood // 2, neighbourhood // 2] = _CENTRE
        self.window = nn.Parameter(window)
        self.mixing = nn.Parameter(_OWN * torch.eye(channels))

    @property
    def reach(self) -> int:
        """Pixels from which a value depends on the responses, in each direction."""
        return 2 * (self.window.shape[-1] // 2)

    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        if sigma is None:
            raise TypeError("NoiseGroupClip needs the noise level: call the layer with sigma")
        if t.ndim != 4:
            raise ValueError(f"expected responses [B, K, H, W], got {tuple(t.shape)}")
        window = torch.softmax(self.window.flatten(1), dim=1).view_as(self.window)[:, None]
        mixing = torch.softmax(self.mixing, dim=0)
        energy = _mix(mixing, _gather(t * t, window.to(t.dtype)))
        gain = self._gain((energy + EPSILON).rsqrt(), sigma)
        return t * _gather(_mix(mixing.mT, gain), window.flip(-1, -2).to(t.dtype))

    def _gain(self, inverse: Tensor, sigma: Tensor) -> Tensor:
        r""":math:`\varphi(e)/e` for ``inverse`` :math:`= 1/e`."""
        thresholds = self.thresholds(sigma).clamp(min=0).to(inverse.dtype)
        shares = torch.softmax(self.logits, dim=0).to(inverse.dtype)
        parts = [
            share[:, None, None] * (threshold[..., None, None] * inverse).clamp(max=1.0)
            for threshold, share in zip(thresholds, shares, strict=True)
        ]
        return sum(parts[1:], parts[0])


def _mix(mixing: Tensor, values: Tensor) -> Tensor:
    """A matrix on the channels of ``[B, K, H, W]``."""
    matrices = mixing.to(values.dtype).expand(len(values), -1, -1)
    return torch.bmm(matrices, values.flatten(2)).view_as(values)


def _gather(values: Tensor, window: Tensor) -> Tensor:
    """The weighted sum over the window around every pixel, channel by channel."""
    if window.shape[-1] == 1:  # a softmax over one entry
        return values
    return functional.conv2d(values, window, padding=window.shape[-1] // 2, groups=values.shape[1])
