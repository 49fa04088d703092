r"""Large images in tiles: the same function as on the whole image, in bounded memory.

An output pixel of ``D`` depends on the input within ``r`` pixels of it, the receptive radius. Let a
tile be denoised inside a *window*: the tile and a halo of :math:`h \ge r` pixels around it, cut at the
border of the image. Then

.. math:: D(x)|_{tile} = D(x|_{window})|_{tile},

because the zeros with which the layers pad the window lie either where they pad the image, at
its border, or more than ``r`` pixels from the tile. So the tiled map *is* ``D``: it has the
Lipschitz constant and the averagedness of ``D``, and one certificate covers both. With a smaller
halo it is another map, about which nothing is proved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from deepinv.models import Denoiser
from torch import Tensor, nn
from tqdm import tqdm

from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.denoisers.volume import VolumeDenoiser

__all__ = [
    "Tile",
    "Tiled",
    "receptive_radius",
    "require_alignment",
    "required_halo",
    "split",
]

Area = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """One tile of an image, as rows and columns.

    Attributes
    ----------
    target
        the tile, in the image.
    window
        what is read for it, in the image.
    core
        the tile, in the window.
    """

    target: Area
    window: Area
    core: Area


def split(height: int, width: int, tile: int, halo: int) -> list[Tile]:
    """Tiles that cover an image once, row by row.

    Parameters
    ----------
    height, width
        of the image in pixels.
    tile
        side of a tile; those at the right and lower border may be smaller.
    halo
        pixels read around a tile; windows end at the border of the image.

    Raises
    ------
    ValueError
        ``tile < 1`` or ``halo < 0``.
    """
    if tile < 1 or halo < 0:
        raise ValueError(f"expected tile >= 1 and halo >= 0, got tile={tile}, halo={halo}")
    rows, columns = (list(_spans(length, tile, halo)) for length in (height, width))
    return [
        Tile((r[0], c[0]), (r[1], c[1]), (r[2], c[2])) for r, c in itertools.product(rows, columns)
    ]


def _spans(length: int, tile: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        first, last = max(0, start - halo), min(length, stop + halo)
        yield slice(start, stop), slice(first, last), slice(start - first, stop - first)


@runtime_checkable
class _Local(Protocol):
    @property
    def receptive_radius(self) -> int: ...


def receptive_radius(denoiser: nn.Module) -> int | None:
    """Pixels from which an output pixel depends on the input; ``None`` where that is not known."""
    if isinstance(denoiser, Relaxed | VolumeDenoiser):
        return receptive_radius(denoiser.denoiser)
    return denoiser.receptive_radius if isinstance(denoiser, _Local) else None


def required_halo(denoiser: nn.Module, halo: int | None) -> int:
    """``halo``, or the receptive radius where it is ``None``.

    Raises
    ------
    ValueError
        no halo and no known radius, or a halo below the radius.
    """
    radius = receptive_radius(denoiser)
    if halo is None and radius is None:
        raise ValueError(
            f"the receptive field of a {type(denoiser).__name__} is not known: pass halo=, at least "
            f"the number of pixels from which an output pixel depends on the input"
        )
    if halo is not None and halo < (radius or 0):
        raise ValueError(
            f"a halo of {halo} pixels is below the receptive radius {radius}, so that tiles would "
            f"not fit together: leave halo out, or pass at least {radius}"
        )
    return (radius or 0) if halo is None else halo


def require_alignment(denoiser: nn.Module, tile: int, halo: int) -> None:
    """Check that windows begin where the denoiser asks.

    Raises
    ------
    ValueError
        a tile or a halo that is no multiple of its grid.
    """
    inner = denoiser.denoiser if isinstance(denoiser, Relaxed) else denoiser
    grid = getattr(inner, "alignment", 1)
    if tile % grid or halo % grid:
        raise ValueError(
            f"a {type(inner).__name__} needs tiles and halos that are multiples of {grid} pixels, "
            f"got tile={tile}, halo={halo}"
        )


class Tiled(Denoiser):
    r"""``D`` computed tile by tile, a deepinv denoiser; equal to ``D`` in exact arithmetic.

    Beside the image and the result it needs the memory of ``D`` on ``tile + 2 halo`` squared pixels.
    The image may stay in main memory, or in a file (``torch.from_numpy`` of a ``numpy.memmap``), while
    the network is on another device. The extra work is :math:`(1 + 2h/t)^2`.

    Parameters
    ----------
    denoiser
        a denoiser ``D(x, sigma)``.
    tile
        side of a tile in pixels.
    halo
        pixels read around each tile; the receptive radius by default.
    progress
        show a progress bar.

    Raises
    ------
    ValueError
        a tile below one pixel, a halo below the receptive radius, or none given for a
        denoiser whose radius is not known. The certifier refuses the last kind.

    Examples
    --------
    >>> from pnp_lip import LipschitzDenoiser, Tiled
    >>> D = LipschitzDenoiser(1)
    >>> x = torch.rand(1, 1, 96, 80)
    >>> bool((Tiled(D, tile=48)(x, 0.1) - D(x, 0.1)).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        denoiser: nn.Module,
        tile: int = 512,
        *,
        halo: int | None = None,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if tile < 1:
            raise ValueError(f"expected tiles of at least one pixel, got tile={tile}")
        self.denoiser = denoiser
        self.tile, self.halo, self.progress = tile, required_halo(denoiser, halo), progress
        require_alignment(denoiser, self.tile, self.halo)
        self.in_channels = getattr(denoiser, "in_channels", None)

    @property
    def receptive_radius(self) -> int:
        """That of the denoiser, or the halo that was given for it."""
        radius = receptive_radius(self.denoiser)
        return self.halo if radius is None else radius

    @property
    def overlap(self) -> int:
        """Windows that cover a pixel, at most, along one axis."""
        return 1 + -(-2 * self.halo // self.tile)

    def forward(
        self, x: Tensor, sigma: float | Tensor, *, out: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Denoise ``x``.

        Parameters
        ----------
        x
            images ``[B, C, H, W]``, on any device.
        sigma
            noise level, a number or one per image.
        out
            where to write the result, another tensor of the shape of ``x``; a new one on
            the device of ``x`` by default.
        kwargs
            passed to the denoiser.

        Returns
        -------
        Tensor
            ``out``.

        Raises
        ------
        ValueError
            ``x`` is no image batch, or ``out`` has another shape or is ``x`` itself.
        """
        if x.ndim != 4:
            raise ValueError(f"expected images [B, C, H, W], got {tuple(x.shape)}")
        if out is None:
            out = torch.empty_like(x)
        elif out.shape != x.shape or out.data_ptr() == x.data_ptr():
            raise ValueError(
                f"expected out to be another tensor of shape {tuple(x.shape)}, got "
                f"{'x itself' if out.data_ptr() == x.data_ptr() else tuple(out.shape)}"
            )
        device = next((p.device for p in self.denoiser.parameters()), x.device)
        tiles = split(x.shape[-2], x.shape[-1], self.tile, self.halo)
        for tile in tqdm(tiles, desc="tiles", disable=None if self.progress else True):
            window = x[..., *tile.window].to(device)
            denoised = self.denoiser(window, sigma, **kwargs)
            out[..., *tile.target] = denoised[..., *tile.core].to(out.device)
        return out
