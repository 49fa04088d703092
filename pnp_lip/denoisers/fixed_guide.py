r"""A denoiser whose guide is fixed: maps of factors that scale the thresholds of every response.

.. math:: D_z = \Phi_L^{m_L} \circ \dots \circ \Phi_1^{m_1}, \qquad
          \Phi_\ell^{m}(x) = x - \tau_\ell W_\ell^\top
          \bigl(m \odot \sigma_\ell(W_\ell x \oslash m)\bigr)

The maps :math:`m_\ell > 0` were computed from a guide ``z`` and are constants here. Thresholds do not
enter the certificate of the filters, so for *every* guide :math:`D_z` is nonexpansive and averaged
with the constant of the denoiser that has the same filters. It is odd, and
:math:`D_z(0) = 0`: a guide decides how strongly responses of ``x`` are shrunk, and puts nothing into
the image.

A bias from the guide would break exactly that: :math:`\sigma(Wx + b(z))` with a large ``b`` is
saturated, hence a constant in ``x``, and the certificate would be true and empty. There are no biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from deepinv.models import Denoiser
from torch import Tensor

from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.errors import PnpLipError
from pnp_lip.layers.guided import guided_step

__all__ = ["FixedGuide", "GuideError", "shrink"]


class GuideError(PnpLipError, ValueError):
    """A guide or maps that do not belong to the denoiser or the image; the message says what does."""


class FixedGuide(Denoiser):
    r""":math:`x \mapsto D_z(x, s)` for images of one size, a deepinv denoiser.

    Usually made by :meth:`pnp_lip.GuidedDenoiser.at`.

    Parameters
    ----------
    denoiser
        the filters and the thresholds that the maps scale.
    scales
        the maps :math:`m_\ell`, one tensor ``[B or 1, K, H, W]`` for each layer with ``K``
        filters, positive.
    guide_sha256
        of the guide from which they came, for reports.

    Raises
    ------
    GuideError
        maps of another shape, or with values that are not positive and finite.
    """

    def __init__(
        self, denoiser: LipschitzDenoiser, scales: Sequence[Tensor], *, guide_sha256: str = ""
    ) -> None:
        super().__init__()
        self.denoiser, self.guide_sha256 = denoiser, guide_sha256
        self.in_channels = denoiser.in_channels
        if len(scales) != len(denoiser.layers):
            raise GuideError(
                f"expected maps for each of {len(denoiser.layers)} layers, got {len(scales)}"
            )
        for index, scale in enumerate(scales):
            self.register_buffer(f"scale_{index}", scale.detach())
        self.require_valid_maps()

    @property
    def scales(self) -> list[Tensor]:
        r"""The maps :math:`m_\ell`."""
        return [cast(Tensor, getattr(self, f"scale_{i}")) for i in range(len(self.denoiser.layers))]

    @property
    def receptive_radius(self) -> int:
        """Pixels from which an output pixel depends on the input, in each direction."""
        return self.denoiser.receptive_radius

    def require_valid_maps(self) -> None:
        """Check the maps.

        Raises
        ------
        GuideError
            a map of a wrong shape, or with a value that is not positive and finite.
        """
        batch, *_, height, width = self.scales[0].shape
        counts = zip(self.denoiser.filters, self.scales, strict=True)
        for index, (filters, scale) in enumerate(counts):
            if scale.shape != (batch, filters, height, width):
                raise GuideError(
                    f"expected maps [{batch}, {filters}, {height}, {width}] for layer {index}, got "
                    f"{list(scale.shape)}"
                )
            if not (torch.isfinite(scale) & (scale > 0)).all():
                raise GuideError(f"the maps of layer {index} are not all positive and finite")

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """Denoise ``x``.

        Parameters
        ----------
        x
            images ``[B, C, H, W]`` of the size of the guide.
        sigma
            noise level in the units of the image, a number or one per image; the maps were
            computed for one level, but what is proved holds at every level.
        kwargs
            accepted and ignored, as by every deepinv denoiser.

        Raises
        ------
        GuideError
            images of another size.
        ValueError
            a noise level that is negative or not finite.
        """
        self.require_size(x)
        return shrink(self.denoiser, x, self.denoiser.levels(sigma, x), self.scales)

    def require_size(self, x: Tensor) -> None:
        """Check that ``x`` has the size of the guide.

        Raises
        ------
        GuideError
            images of another size.
        """
        batch, *_, height, width = self.scales[0].shape
        fits = x.ndim == 4 and x.shape[1] == self.in_channels and batch in (1, len(x))
        if not fits or x.shape[-2:] != (height, width):
            raise GuideError(
                f"this guide is for images [{batch}, {self.in_channels}, {height}, {width}], got "
                f"{list(x.shape)}: compute it again with GuidedDenoiser.at for other images"
            )


def shrink(
    denoiser: LipschitzDenoiser, x: Tensor, levels: Tensor, scales: Sequence[Tensor]
) -> Tensor:
    """The layers of ``denoiser`` one after the other, their thresholds scaled by ``scales``.

    Parameters
    ----------
    denoiser
        layers without biases.
    x
        images ``[B, C, H, W]``.
    levels
        noise levels ``[B]``.
    scales
        maps for each layer, ``[B or 1, K, H, W]``.
    """
    for step, scale in zip(denoiser.steps, scales, strict=True):
        x = guided_step(step, x, levels, scale)
    return x
