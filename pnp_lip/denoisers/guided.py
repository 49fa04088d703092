r"""A denoiser that is guided by its own plain result.

.. math:: z = D_0(x, s), \qquad G(x, s) = D_z(x, s)

:math:`D_0` is a plain denoiser, :math:`D_z` another one whose thresholds are scaled by maps that a network
computes from ``z`` (:mod:`pnp_lip.denoisers.fixed_guide`, :mod:`pnp_lip.denoisers.mask`).

*Guide fixed*, as :meth:`GuidedDenoiser.at` returns it: nonexpansive and averaged for every guide,
proved; each theorem about Plug-and-Play applies. *End to end*, :math:`x \mapsto D_{D_0(x)}(x)` is **not**
nonexpansive, and nothing is claimed of it: two close images may have results that differ by a
multiple of their distance. Where robustness is asked for, use the plain denoiser, or turn the dial
down.

Relatives in variational form: Neumayer and Altekrüger 2024 (SARR); Pourya, Neumayer and Unser 2024
(MMR, SAFI); Pourya et al. 2025 (DEAL).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from deepinv.models import Denoiser
from torch import Tensor, device

from pnp_lip.denoisers.fixed_guide import FixedGuide, GuideError, shrink
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.mask import MaskNetwork
from pnp_lip.denoisers.pruning import pruned
from pnp_lip.errors import InputError
from pnp_lip.weights import (
    WeightsError,
    read_weights,
    require_depth,
    require_tensors,
    shipped,
    weight_hash,
)

__all__ = ["GuidedDenoiser"]


class GuidedDenoiser(Denoiser):
    r"""Guided denoiser :math:`G(x, s) = D_z(x, s)` with :math:`z = D_0(x, s)`; see the module.

    Parameters
    ----------
    in_channels
        1 for grey images, 3 for colour.
    pretrained
        ``"guided"`` for the shipped weights, or a file that
        :func:`pnp_lip.write_weights` wrote.
    dial
        :math:`t \in [0, 1]`, the factor of the log-factors: 1 guides fully, 0 is the plain
        denoiser ``denoiser``, exactly.
    device
        where to put the parameters.

    Raises
    ------
    MissingFileError, WeightsError
        weights that are missing, truncated or tampered with, of another
        kind or for other images.
    InputError
        a dial outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> from pnp_lip import GuidedDenoiser
    >>> G = GuidedDenoiser(1)
    >>> x = torch.rand(1, 1, 32, 32)
    >>> D = G.at(G.plain(x, 0.1), 0.1)  # averaged, for the solvers
    >>> bool((D(x, 0.1) - G(x, 0.1)).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        in_channels: int = 1,
        *,
        pretrained: str | Path = "guided",
        dial: float = 1.0,
        device: str | device = "cpu",
    ) -> None:
        super().__init__()
        named = pretrained == "guided"
        stored = read_weights(shipped(in_channels, "guided") if named else pretrained)
        if stored.architecture.keys() != _KEYS or stored.architecture["in_channels"] != in_channels:
            raise WeightsError(
                f"expected weights of a guided denoiser for {in_channels} channels, {pretrained} "
                f"describes {stored.architecture}"
            )
        _require_parts(stored.architecture, stored.state_dict)
        self._build(**stored.architecture)
        require_tensors(self.state_dict(), stored.state_dict)
        self.load_state_dict(stored.state_dict)
        self.dial = dial
        self.eval().to(device)

    @classmethod
    def starting_from(
        cls, plain: LipschitzDenoiser, *, channels: int = 64, blocks: int = 5, limit: float = 2.0
    ) -> GuidedDenoiser:
        """An untrained guided denoiser whose maps are 1, made of a plain denoiser.

        Parameters
        ----------
        plain
            without the filters that never act it becomes both stages; thresholds of the
            second one cannot vanish.
        channels, blocks, limit
            of the :class:`~pnp_lip.denoisers.mask.MaskNetwork`.
        """
        first, second = pruned(plain), pruned(plain, positive=True)
        guided = cls.__new__(cls)
        super(cls, guided).__init__()
        mask = {"channels": channels, "blocks": blocks, "limit": limit}
        guided._build(plain.in_channels, first.sizes, second.sizes, mask)
        guided.plain.load_state_dict(first.state_dict())
        guided.denoiser.load_state_dict(second.state_dict())
        guided.dial = 1.0
        return guided

    def _build(
        self,
        in_channels: int,
        plain: dict[str, Any],
        denoiser: dict[str, Any],
        mask: dict[str, Any],
    ) -> None:
        self.sizes: dict[str, Any] = {
            "in_channels": in_channels,
            "plain": plain,
            "denoiser": denoiser,
            "mask": mask,
        }
        self.in_channels = in_channels
        self.plain = LipschitzDenoiser(**plain, pretrained=None)
        self.denoiser = LipschitzDenoiser(**denoiser, pretrained=None)
        self.mask = MaskNetwork(in_channels, self.denoiser.filters, **mask)

    @property
    def dial(self) -> float:
        """:math:`t` in [0, 1]."""
        return self._dial

    @dial.setter
    def dial(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise InputError(f"expected a dial in [0, 1], got {value}")
        self._dial = float(value)

    @property
    def receptive_radius(self) -> int:
        """Pixels from which an output pixel depends on the input, in each direction.

        Rounded up to an even number, since the maps are computed on blocks of 2 x 2 pixels.
        """
        stages = self.plain.receptive_radius + self.denoiser.receptive_radius
        radius = stages + self.mask.receptive_radius
        return radius + radius % 2

    @property
    def alignment(self) -> int:
        """Windows must begin at multiples of this many pixels."""
        return 2

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """Denoise ``x``: plain, guide, guided.

        Parameters
        ----------
        x
            images ``[B, C, H, W]`` in [0, 1] up to noise, any size.
        sigma
            noise level in the same units, a number or one per image.
        kwargs
            accepted and ignored, as by every deepinv denoiser.

        Returns
        -------
        Tensor
            Tensor of the shape of ``x``.
        """
        return self.with_guide(x, self.plain(x, sigma), sigma)

    def with_guide(self, x: Tensor, guide: Tensor, sigma: float | Tensor) -> Tensor:
        """:math:`D_z(x, s)`, differentiable in both; arguments as in :meth:`forward` and :meth:`at`."""
        levels = self.denoiser.levels(sigma, x)
        maps = self.mask.coarse(guide, levels, self.dial)
        return shrink(self.denoiser, x, levels, (one.whole() for one in maps))

    @torch.no_grad()
    def at(self, guide: Tensor, sigma: float | Tensor) -> FixedGuide:
        """The denoiser :math:`D_z` with this guide, a plain denoiser for the solvers.

        Parameters
        ----------
        guide
            images ``[B, C, H, W]``, about in [0, 1], of the size of those to denoise.
        sigma
            noise level for which the maps are computed, a number or one per image.

        Raises
        ------
        GuideError
            a guide of another shape, or one that is not finite.
        """
        if guide.ndim != 4 or guide.shape[1] != self.in_channels or not guide.is_floating_point():
            raise GuideError(
                f"expected a real guide [B, {self.in_channels}, H, W], got {list(guide.shape)} of "
                f"{guide.dtype}"
            )
        if not math.isfinite(float(guide.abs().sum())):
            raise GuideError("the guide contains NaN or infinity: replace these entries first")
        maps = self.mask.coarse(guide, self.denoiser.levels(sigma, guide), self.dial)
        digest = weight_hash({"guide": guide})
        return FixedGuide(self.denoiser, maps, guide_sha256=digest)


_KEYS = {"in_channels", "plain", "denoiser", "mask"}


def _require_parts(sizes: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Refuse sizes that the tensors do not have, before anything is built.

    Raises
    ------
    WeightsError
        as said.
    """
    for part in ("plain", "denoiser"):
        own = {n.removeprefix(f"{part}."): t for n, t in state.items() if n.startswith(f"{part}.")}
        require_depth(sizes[part], own)
    blocks = {name.split(".")[2] for name in state if name.startswith("mask.blocks.")}
    head = state.get("mask.head.weight")
    stored = len(blocks), None if head is None or head.ndim != 4 else head.shape[1]
    said = sizes["mask"].get("blocks"), sizes["mask"].get("channels")
    if stored != said:
        raise WeightsError(
            f"the mask has (blocks, channels) = {stored} and says {said}: the file was changed after it "
            f"was written, fetch it again"
        )
