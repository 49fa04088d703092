r"""A denoiser that is nonexpansive by construction, with its averagedness known.

.. math:: D(x, s) = \Phi_L(\cdot, s) \circ \dots \circ \Phi_1(\cdot, s)\,(x), \qquad
          \Phi_\ell(x, s) = x - \tau_\ell W_\ell^\top \sigma_\ell(W_\ell x, s)

with :math:`\sigma_\ell` a mixture of clips of every response (:class:`~pnp_lip.layers.NoiseClip`).

Every :math:`\Phi_\ell` is :math:`\alpha_\ell`-averaged with
:math:`\alpha_\ell = \tau_\ell\|W_\ell\|^2/2 < 1`, whatever the thresholds, so one certificate of
the weights covers every noise level *s*. The composition is averaged with
:math:`\alpha = 1/(1 + 1/\sum_\ell \alpha_\ell/(1-\alpha_\ell))` (Combettes and Yamada 2015).
At :math:`s = 0` the denoiser is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from deepinv.models import Denoiser
from torch import Tensor, device, nn

from pnp_lip.errors import InputError
from pnp_lip.layers import ConvGradientStep, NoiseClip
from pnp_lip.layers.filters import colour_dct_filters, dct_filters

__all__ = ["KNOTS", "LipschitzDenoiser"]

#: Noise levels between which the thresholds are interpolated; images are in [0, 1].
KNOTS = tuple(level / 255 for level in (2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0))

#: What a network is built from; ``nf`` is a number or a list with one for each step.
Sizes = dict[str, Any]


class LipschitzDenoiser(Denoiser):
    r"""Nonexpansive denoiser for Gaussian noise, :math:`D(x, s)`; see the module for the formula.

    Parameters
    ----------
    in_channels
        1 for grey images, 3 for colour.
    depth
        number ``L`` of gradient steps.
    nf
        number of filters of each step, or of all steps one by one.
    kernel_size
        side of the filters in pixels, odd.
    pretrained
        ``"default"`` loads the shipped weights for ``in_channels``, ``"large"`` the same
        layers each twice (:meth:`repeated`), which denoise better; a path loads a
        ``.safetensors`` file written by :func:`pnp_lip.write_weights`; ``None`` starts from DCT frames.
        Weights bring their own sizes.
    positive
        thresholds that cannot vanish (:class:`~pnp_lip.layers.NoiseClip`).
    device
        where to put the parameters.

    Raises
    ------
    ValueError
        a size out of range, or one that contradicts the weights.
    FileNotFoundError, WeightsError
        weights that are missing, truncated or tampered with.

    Examples
    --------
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.data import photograph
    >>> from pnp_lip.quality import psnr
    >>> D = LipschitzDenoiser(in_channels=1)
    >>> x = photograph("camera", size=96)
    >>> y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    >>> psnr(y, x) + 6 < psnr(D(y, 0.1), x)
    True
    """

    def __init__(
        self,
        in_channels: int = 1,
        *,
        depth: int | None = None,
        nf: int | Sequence[int] | None = None,
        kernel_size: int | None = None,
        positive: bool | None = None,
        pretrained: str | Path | None = "default",
        device: str | device = "cpu",
    ) -> None:
        super().__init__()
        asked: Sizes = {"in_channels": in_channels, "depth": depth, "nf": nf}
        asked |= {"kernel_size": kernel_size, "positive": positive}
        stored = None
        if pretrained is None:
            sizes = _DEFAULTS[_known_channels(in_channels)] | {
                name: value for name, value in asked.items() if value is not None
            }
        else:
            from pnp_lip.weights import read_weights, require_depth

            stored = read_weights(pretrained, in_channels=in_channels)
            sizes = stored.architecture
            _require_agreement(asked, sizes)
            require_depth(sizes, stored.state_dict)
        self.sizes: Sizes = dict(sizes)
        self.layers = nn.ModuleList(_initial_layers(**sizes))
        if stored is not None:
            from pnp_lip.weights import require_tensors

            require_tensors(self.state_dict(), stored.state_dict)
            self.load_state_dict(stored.state_dict)
            self.eval()
        self.to(device)

    @classmethod
    def from_weights(cls, source: str | Path, in_channels: int = 1) -> LipschitzDenoiser:
        """A denoiser of whatever architecture the weights have.

        Parameters
        ----------
        source
            a file written by :func:`pnp_lip.write_weights`, ``"default"`` or ``"large"``.
        in_channels
            which of the shipped weights; a file brings its own.
        """
        from pnp_lip.weights import read_weights

        sizes = read_weights(source, in_channels=in_channels).architecture
        return cls(sizes.get("in_channels", in_channels), pretrained=source)

    def repeated(self, times: int) -> LipschitzDenoiser:
        r"""A deeper denoiser: every layer ``times`` times in a row, its thresholds divided by ``times``.

        What a layer can remove from a response stays the same, but small responses are removed more
        completely: the potential is steeper at 0 by the factor ``times``, which one layer cannot be
        under :math:`\tau\|W\|^2 \le 2`. The result is nonexpansive as this denoiser is, removes
        more noise where the image is flat, and takes ``times`` the time.

        Raises
        ------
        ValueError
            ``times`` is less than 1.
        """
        if times < 1:
            raise ValueError(f"expected a number of repetitions of at least 1, got {times}")
        sizes: Sizes = self.sizes | {"depth": times * self.sizes["depth"]}
        if not isinstance(sizes["nf"], int):
            sizes["nf"] = [count for count in sizes["nf"] for _ in range(times)]
        deeper = type(self)(**sizes, pretrained=None).to(next(self.parameters()))
        for index, layer in enumerate(deeper.steps):
            layer.load_state_dict(self.layers[index // times].state_dict())
            cast(NoiseClip, layer.activation).divide_thresholds(times)
        return deeper.train(self.training)

    @property
    def in_channels(self) -> int:
        """Channels of the images, 1 or 3."""
        return self.sizes["in_channels"]

    @property
    def steps(self) -> list[ConvGradientStep]:
        """The layers with their type."""
        return cast("list[ConvGradientStep]", list(self.layers))

    @property
    def filters(self) -> list[int]:
        """Number of filters of each step."""
        return [len(step.weight) for step in self.steps]

    @property
    def receptive_radius(self) -> int:
        """Pixels from which an output pixel depends on the input, in each direction."""
        return sum(2 * step.padding for step in self.steps)

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """Denoise ``x``.

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

        Raises
        ------
        InputError
            wrong shape or type, or a noise level that is negative or not finite.
        TypeError
            no noise level.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise InputError(
                f"this denoiser takes images [B, {self.in_channels}, H, W], got {tuple(x.shape)}: "
                f"use LipschitzDenoiser(in_channels=...) for other images"
            )
        self._require_type(x)
        levels = self.levels(sigma, x)
        for layer in self.layers:
            x = layer(x, levels)
        return x

    def levels(self, sigma: float | Tensor, x: Tensor) -> Tensor:
        """One noise level for each image of ``x``, ``[B]``, checked.

        Raises
        ------
        InputError
            a level that is negative or not finite.
        TypeError
            no level.
        """
        if sigma is None:
            raise TypeError("sigma is None: pass the noise level, for instance sigma=0.05")
        if isinstance(sigma, (int, float)) and not (math.isfinite(sigma) and sigma >= 0):
            raise InputError(f"sigma must be a finite noise level >= 0, got {sigma}")
        levels = self._handle_sigma(sigma, reference_tensor=x).flatten()
        # A compiled network cannot raise on what its inputs hold.
        if not isinstance(sigma, (int, float)) and not torch.compiler.is_compiling():
            wrong = levels[~(levels.isfinite() & (levels >= 0))]
            if wrong.numel():
                raise InputError(
                    f"sigma must be finite noise levels >= 0, got {float(wrong[0]):g} among them"
                )
        return levels

    def _require_type(self, x: Tensor) -> None:
        """Say in words what torch says in the middle of a layer."""
        expected = next(self.parameters()).dtype
        if x.dtype != expected and not torch.is_autocast_enabled(x.device.type):
            raise InputError(
                f"the images are {x.dtype}, the denoiser computes in {expected}: convert one of them, "
                f"for instance x.to({expected})"
            )


_DEFAULTS: dict[int, Sizes] = {
    1: {"in_channels": 1, "depth": 8, "nf": 48, "kernel_size": 7},
    3: {"in_channels": 3, "depth": 6, "nf": 72, "kernel_size": 5},
}


def _known_channels(in_channels: int) -> int:
    if in_channels not in _DEFAULTS:
        raise ValueError(f"in_channels must be 1 (grey) or 3 (colour), got {in_channels}")
    return in_channels


def _require_agreement(asked: Sizes, stored: Sizes) -> None:
    if stored.keys() | {"positive"} != asked.keys():
        raise ValueError(
            f"the weights describe a network by {sorted(stored)}, expected {sorted(asked)}: they belong "
            f"to another kind of denoiser, or to another version of pnp_lip"
        )
    for name, value in asked.items():
        if value is not None and value != stored.get(name, False):
            raise ValueError(
                f"{name}={value} contradicts the weights, which have {name}={stored.get(name)}: "
                f"leave it out, or pass pretrained=None"
            )


#: :math:`\tau\|W\|^2` at the start, close to the largest admissible.
_START = 1.8


def _initial_layers(
    in_channels: int,
    depth: int,
    nf: int | Sequence[int],
    kernel_size: int,
    positive: bool = False,
) -> list[ConvGradientStep]:
    """Gradient steps on DCT frames that share the shrinkage of one of them."""
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    counts = [nf] * depth if isinstance(nf, int) else list(nf)
    if len(counts) != depth:
        raise ValueError(f"expected one number of filters, or {depth} of them, got {len(counts)}")
    filters = dct_filters if in_channels == 1 else colour_dct_filters
    factor = 1.5 / (kernel_size * math.sqrt(depth * _START))
    factors = (factor, factor / 3)
    return [
        ConvGradientStep(
            math.sqrt(_START) * filters(kernel_size, count),
            NoiseClip(count, KNOTS, factors, positive=positive),
            bias=False,
        )
        for count in counts
    ]
