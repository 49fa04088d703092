r"""Sensitivities of receiver coils: :math:`S_c` with :math:`\sum_c |S_c|^2 = 1` in every pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp_lip.errors import InputError

__all__ = ["centred_ifft", "estimated_maps", "ring_of_coils"]

#: Where the coils of a simulation stand, and how far each of them sees, in units of half the image.
_RADIUS, _REACH = 1.2, 1.1
#: Fewest lines in the middle of k-space from which maps can be estimated.
_FEWEST = 4


def ring_of_coils(count: int, size: tuple[int, int]) -> Tensor:
    """Maps ``[1, count, H, W]`` of coils on a ring around the object, smooth in size and phase.

    Raises
    ------
    InputError
        no coil.
    """
    if count < 1:
        raise InputError(f"there is at least one coil, got {count}")
    rows = torch.linspace(-1, 1, size[0])[:, None]
    columns = torch.linspace(-1, 1, size[1])[None, :]
    angles = 2 * math.pi * torch.arange(count) / count
    down = rows - _RADIUS * torch.sin(angles)[:, None, None]
    across = columns - _RADIUS * torch.cos(angles)[:, None, None]
    strength = torch.exp(-(down**2 + across**2) / (2 * _REACH**2))
    return _normalised(torch.polar(strength, torch.atan2(down, across)))[None]


def estimated_maps(kspace: Tensor, mask: Tensor) -> Tensor:
    r"""Maps ``[1, N, H, W]`` from the fully sampled middle of k-space.

    .. math:: S_c = F^{-1}(wk_c) \Big/ \sqrt{\textstyle\sum_c |F^{-1}(wk_c)|^2}

    with a Hann window :math:`w` on the sampled middle: low-resolution images divided by their root
    sum of squares (Pruessmann et al. 1999; McKenzie et al. 2002). They hold the phase of the image
    too, so that the restored image has nearly none.

    Parameters
    ----------
    kspace
        ``[1, N, H, W]`` complex, zero frequency in the middle.
    mask
        ``[H, W]``, 1 where k-space was sampled.

    Returns
    -------
    Tensor
        the maps, whose squares sum to 1 in every pixel.

    Raises
    ------
    InputError
        too few sampled lines in the middle.
    """
    side = _middle(mask)
    if side < _FEWEST:
        raise InputError(
            f"a square of {side} x {side} entries in the middle of k-space is fully sampled, and coil "
            f"maps take at least {_FEWEST} x {_FEWEST} to estimate: give the maps"
        )
    window = torch.outer(*(_hann(length, side) for length in kspace.shape[-2:]))
    return _normalised(centred_ifft(kspace * window.to(kspace.device)))


def centred_ifft(kspace: Tensor) -> Tensor:
    """The unitary inverse Fourier transform with the zero frequency in the middle."""
    corner = torch.fft.ifftshift(kspace, dim=(-2, -1))
    return torch.fft.fftshift(torch.fft.ifft2(corner, norm="ortho"), dim=(-2, -1))


def _normalised(maps: Tensor) -> Tensor:
    total = maps.abs().square().sum(dim=-3, keepdim=True).sqrt()
    return maps / total.clamp(min=torch.finfo(total.dtype).tiny)


def _middle(mask: Tensor) -> int:
    """Side of the largest square about the middle that is sampled without a gap."""
    row, column = (side // 2 for side in mask.shape)
    reach = 0
    while (
        reach <= min(row, column)
        and max(row + reach - mask.shape[0], column + reach - mask.shape[1]) < 0
        and bool(
            (mask[row - reach : row + reach + 1, column - reach : column + reach + 1] > 0).all()
        )
    ):
        reach += 1
    return max(0, 2 * reach - 1)


def _hann(length: int, width: int) -> Tensor:
    offsets = (torch.arange(length) - length // 2).abs() / (width / 2)
    return torch.where(offsets < 1, 0.5 + 0.5 * torch.cos(math.pi * offsets), torch.zeros(length))
