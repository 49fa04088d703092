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

from collections.abc import Iterable, Sequence
from typing import Any, cast

from deepinv.models import Denoiser
from torch import Tensor

from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.errors import PnpLipError
from pnp_lip.layers.guided import guided_step
from pnp_lip.layers.maps import Maps

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
        the maps :math:`m_\ell`, positive: for each layer with ``K`` filters one tensor
        ``[B or 1, K, H, W]``, or :class:`~pnp_lip.layers.maps.Maps` of what is stored of it.
    guide_sha256
        of the guide from which they came, for reports.

    Raises
    ------
    GuideError
        maps of another shape, or with values that are not positive and finite.
    """

    def __init__(
        self,
        denoiser: LipschitzDenoiser,
        scales: Sequence[Tensor | Maps],
        *,
        guide_sha256: str = "",
    ) -> None:
        super().__init__()
        self.denoiser, self.guide_sha256 = denoiser, guide_sha256
        self.in_channels = denoiser.in_channels
        if len(scales) != len(denoiser.layers):
            raise GuideError(
                f"expected maps for each of {len(denoiser.layers)} layers, got {len(scales)}"
            )
        maps = [s if isinstance(s, Maps) else Maps(s) for s in scales]
        self.size = maps[0].height, maps[0].width
        for index, one in enumerate(maps):
            self.register_buffer(f"scale_{index}", one.stored.detach())
        self.require_valid_maps()

    @property
    def maps(self) -> list[Maps]:
        r"""The maps :math:`m_\ell` as they are stored."""
        stored = (
            cast(Tensor, getattr(self, f"scale_{i}")) for i in range(len(self.denoiser.layers))
        )
        return [Maps(one, self.size) for one in stored]

    @property
    def scales(self) -> list[Tensor]:
        r"""The maps :math:`m_\ell`, ``[B or 1, K, H, W]``, interpolated anew where a half is stored."""
        return [one.whole() for one in self.maps]

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
        counts = zip(self.denoiser.filters, self.maps, strict=True)
        for index, (filters, maps) in enumerate(counts):
            expected = (self.maps[0].shape[0], filters, *self.size)
            if maps.shape != expected:
                raise GuideError(
                    f"expected maps {list(expected)} for layer {index}, got {list(maps.shape)}"
                )
            if not maps.are_positive():
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
        levels = self.denoiser.levels(sigma, x)
        return shrink(self.denoiser, x, levels, (maps.whole() for maps in self.maps))

    def require_size(self, x: Tensor) -> None:
        """Check that ``x`` has the size of the guide.

        Raises
        ------
        GuideError
            images of another size.
        """
        batch, *_, height, width = self.maps[0].shape
        fits = x.ndim == 4 and x.shape[1] == self.in_channels and batch in (1, len(x))
        if not fits or x.shape[-2:] != (height, width):
            raise GuideError(
                f"this guide is for images [{batch}, {self.in_channels}, {height}, {width}], got "
                f"{list(x.shape)}: compute it again with GuidedDenoiser.at for other images"
            )


def shrink(
    denoiser: LipschitzDenoiser, x: Tensor, levels: Tensor, scales: Iterable[Tensor]
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
        maps for each layer, ``[B or 1, K, H, W]``, each taken when its layer is reached.
    """
    for step, scale in zip(denoiser.steps, scales, strict=True):
        x = guided_step(step, x, levels, scale)
    return x
