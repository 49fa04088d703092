r"""A denoiser at one noise level, folded for speed: plain convolutions and clips.

:math:`D(\cdot, s)` with ``s`` fixed has no parameters left: thresholds are numbers, step lengths and
scales go into the kernels (:mod:`pnp_lip.layers.folding`). In exact arithmetic it is the same function,
so the certificate of the denoiser speaks about it; only the execution rounds differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from deepinv.models import Denoiser
from torch import Tensor, nn

from pnp_lip.denoisers.fixed_guide import FixedGuide
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.errors import InputError
from pnp_lip.layers.folding import FoldedStep, fold_step
from pnp_lip.layers.guided import guided_step
from pnp_lip.layers.maps import Maps

__all__ = ["WHOLE_BYTES", "Frozen"]

#: Bytes up to which maps of a fixed guide are laid out whole; larger ones are interpolated strip by strip.
WHOLE_BYTES = 2**30


class Frozen(Denoiser):
    r""":math:`x \mapsto D(x, s)` for one ``s``, for inference.

    Parameters
    ----------
    denoiser
        the denoiser, also one with a fixed guide; kept, so that certificates speak about its
        weights.
    sigma
        the noise level ``s``.
    dtype
        of kernels and responses. ``torch.bfloat16`` rounds to eight bits after every
        convolution, while the image itself stays in its own type; the error is measured by
        ``python -m benchmarks.inference``.
    compile
        fuse the entrywise part with ``torch.compile`` (needs a C++ compiler on a CPU).

    Raises
    ------
    TypeError
        the denoiser is no :class:`LipschitzDenoiser`, and none with a fixed guide.
    ValueError
        a noise level that is negative or not finite.

    Examples
    --------
    >>> from pnp_lip import Frozen, LipschitzDenoiser
    >>> D = LipschitzDenoiser(1)
    >>> frozen = Frozen(D, 0.05)  # the same function at one noise level, faster
    >>> x = torch.rand(1, 1, 32, 32)
    >>> bool((frozen(x) - D(x, 0.05)).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        denoiser: LipschitzDenoiser | FixedGuide,
        sigma: float,
        *,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if type(denoiser) not in (LipschitzDenoiser, FixedGuide):
            raise TypeError(f"expected a LipschitzDenoiser, got {type(denoiser).__name__}")
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma must be a finite noise level >= 0, got {sigma}")
        self.denoiser, self.sigma, self.dtype = denoiser, float(sigma), dtype
        self.in_channels = denoiser.in_channels
        plain = denoiser.denoiser if isinstance(denoiser, FixedGuide) else denoiser
        self.steps = nn.ModuleList(
            fold_step(layer, self.sigma, dtype) or layer for layer in plain.layers
        )
        if isinstance(denoiser, FixedGuide):
            self._lay_out(denoiser.maps)
        for step in self.folded():
            step.compiled = compile

    def _lay_out(self, maps: list[Maps]) -> None:
        """Keep the maps whole where that is little memory: a twelfth of the time of an application."""
        if sum(math.prod(one.shape) for one in maps) * self.dtype.itemsize <= WHOLE_BYTES:
            for index, one in enumerate(maps):
                laid_out = one.whole().detach().to(self.dtype, copy=True)
                self.register_buffer(f"scale_{index}", laid_out)

    @property
    def receptive_radius(self) -> int:
        """Pixels from which an output pixel depends on the input, in each direction."""
        return self.denoiser.receptive_radius

    def folded(self) -> list[FoldedStep]:
        """The layers that are two plain convolutions now."""
        return [step for step in self.steps if isinstance(step, FoldedStep)]

    def is_faithful(self) -> bool:
        """Whether the constants still belong to the weights of the denoiser."""
        again = Frozen(self.denoiser, self.sigma, dtype=self.dtype)
        if [type(step) for step in again.steps] != [type(step) for step in self.steps]:
            return False
        fresh, stored = again.state_dict(), self.state_dict()
        return fresh.keys() == stored.keys() and all(
            torch.equal(stored[name], value) for name, value in fresh.items()
        )

    @torch.no_grad()
    def forward(self, x: Tensor, sigma: float | Tensor | None = None, **kwargs: Any) -> Tensor:
        """Denoise ``x`` at the frozen noise level; no gradients.

        Parameters
        ----------
        x
            images ``[B, C, H, W]``, any size.
        sigma
            left out, or the frozen noise level again.
        kwargs
            accepted and ignored, as by every deepinv denoiser.

        Raises
        ------
        ValueError
            wrong shape, or another noise level.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"this denoiser takes images [B, {self.in_channels}, H, W], got {tuple(x.shape)}"
            )
        self._require_level(sigma)
        if isinstance(self.denoiser, FixedGuide):
            self.denoiser.require_size(x)
            return self.scaled(x, self.denoiser.denoiser, self._maps(self.denoiser))
        levels = torch.full((len(x),), self.sigma, dtype=x.dtype, device=x.device)
        for step in self.steps:
            x = step(x) if isinstance(step, FoldedStep) else step(x, levels)
        return x

    def _maps(self, guided: FixedGuide) -> list[Maps]:
        """Those laid out whole, or as the guided denoiser stores them."""
        whole = [getattr(self, f"scale_{i}", None) for i in range(len(self.steps))]
        return guided.maps if whole[0] is None else [Maps(cast(Tensor, one)) for one in whole]

    def scaled(self, x: Tensor, denoiser: LipschitzDenoiser, scales: Sequence[Maps]) -> Tensor:
        """The layers with their thresholds scaled by maps, as in :class:`FixedGuide`."""
        levels = torch.full((len(x),), self.sigma, dtype=x.dtype, device=x.device)
        for step, layer, maps in zip(self.steps, denoiser.steps, scales, strict=True):
            folded = isinstance(step, FoldedStep)
            x = step(x, maps) if folded else guided_step(layer, x, levels, maps.whole())
        return x

    def _require_level(self, sigma: float | Tensor | None) -> None:
        given = [] if sigma is None else torch.as_tensor(sigma).flatten().tolist()
        if any(not math.isclose(level, self.sigma, rel_tol=1e-6) for level in given):
            raise InputError(
                f"frozen at sigma={self.sigma:g}, got sigma={given[0]:g}: use Frozen(denoiser, "
                f"sigma=...) for another noise level, or the denoiser itself"
            )
