"""How a proved denoiser is run: folded for speed, or in float64 to decide what rounding left open."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.denoisers.fixed_guide import FixedGuide
from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.denoisers.volume import VolumeDenoiser

__all__ = ["folded", "in_double", "real_type", "unfolded"]


def folded(denoiser: nn.Module, sigma: float | Tensor, dtype: torch.dtype | None) -> nn.Module:
    """The same function with its noise level folded into the kernels, where that is possible.

    Parameters
    ----------
    denoiser
        a denoiser without hooks, as a proof requires.
    sigma
        the noise level; a tensor of several leaves the denoiser as it is.
    dtype
        of the folded kernels; that of the weights if ``None``.
    """
    if isinstance(sigma, Tensor):
        return denoiser
    if type(denoiser) is Relaxed:
        inner = folded(denoiser.denoiser, sigma, dtype)
        return denoiser if inner is denoiser.denoiser else _relaxed_like(denoiser, inner)
    if type(denoiser) is VolumeDenoiser:
        inner = folded(denoiser.denoiser, sigma, dtype)
        return denoiser if inner is denoiser.denoiser else VolumeDenoiser(inner, denoiser.weights)
    if not isinstance(denoiser, LipschitzDenoiser | FixedGuide):
        return denoiser
    if type(denoiser) not in (LipschitzDenoiser, FixedGuide):
        return denoiser  # a subclass may compute something else
    return Frozen(denoiser, sigma, dtype=dtype or next(denoiser.parameters()).dtype)


def _relaxed_like(relaxed: Relaxed, inner: nn.Module) -> Relaxed:
    other = Relaxed(inner, float(relaxed.relaxation))
    return other.to(relaxed.relaxation.device)


def unfolded(denoiser: nn.Module) -> nn.Module:
    """The denoiser that the certificate is about, behind folded ones: folding rounds its constants."""
    if isinstance(denoiser, Frozen):
        return denoiser.denoiser
    if type(denoiser) is Relaxed and unfolded(denoiser.denoiser) is not denoiser.denoiser:
        return _relaxed_like(denoiser, unfolded(denoiser.denoiser))
    if type(denoiser) is VolumeDenoiser and unfolded(denoiser.denoiser) is not denoiser.denoiser:
        return VolumeDenoiser(unfolded(denoiser.denoiser), denoiser.weights)
    return denoiser


def in_double(module: Any) -> Any:
    """A copy in float64, with the parts of a physics in lists, which are no submodules."""
    twin = copy.deepcopy(module).double()
    for name in ("physics_list", "upsamplings"):
        parts = vars(twin).get(name)
        if isinstance(parts, list):
            setattr(twin, name, [in_double(part) for part in parts])
    return twin


def real_type(denoiser: nn.Module) -> torch.dtype | None:
    """The floating type of the weights; ``None`` without any."""
    parameters = (p.dtype for p in denoiser.parameters() if p.is_floating_point())
    return next(parameters, None)
