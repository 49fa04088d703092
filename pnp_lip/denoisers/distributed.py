"""Tiles for ``deepinv.distributed``: each process denoises some of them, the result is ``D(x)``.

deepinv's own tiling pads the whole image by reflection first, which is another function near the
border; the windows here end at the border, as in :mod:`pnp_lip.denoisers.tiled`::

    with DistributedContext() as ctx:
        tiling = HaloTiling(x.shape, denoiser, tile=512)
        D = distribute(denoiser, ctx, tiling_strategy=tiling)
        z = D(x.to(ctx.device), sigma)

The certifier knows this combination: ``D`` has the certificate of ``denoiser``.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepinv.distributed.strategies import DistributedSignalStrategy
from torch import Tensor, nn

from pnp_lip.denoisers.tiled import require_alignment, required_halo, split

__all__ = ["HaloTiling"]


class HaloTiling(DistributedSignalStrategy):
    """Windows of :func:`~pnp_lip.denoisers.tiled.split` for deepinv's ``distribute``.

    Pass it as ``tiling_strategy``.

    Parameters
    ----------
    img_size
        shape ``[B, C, H, W]`` of the images.
    denoiser
        the denoiser that will be distributed.
    tile
        side of a tile in pixels.
    halo
        pixels read around each tile; the receptive radius by default.

    Raises
    ------
    ValueError
        another shape, or a tile or halo that :class:`pnp_lip.Tiled` refuses.
    """

    def __init__(
        self,
        img_size: Sequence[int],
        denoiser: nn.Module,
        tile: int = 512,
        *,
        halo: int | None = None,
    ) -> None:
        if len(img_size) != 4:
            raise ValueError(f"expected a shape [B, C, H, W], got {tuple(img_size)}")
        super().__init__(img_size)
        self.halo = required_halo(denoiser, halo)
        self.tile = tile
        require_alignment(denoiser, tile, self.halo)
        self.tiles = split(img_size[-2], img_size[-1], tile, self.halo)

    @property
    def overlap(self) -> int:
        """Windows that cover a pixel, at most, along one axis."""
        return 1 + -(-2 * self.halo // self.tile)

    def get_num_patches(self) -> int:
        """The number of tiles."""
        return len(self.tiles)

    def get_local_patches(self, x: Tensor, local_indices: list[int]) -> list[tuple[int, Tensor]]:
        """The windows of some tiles, views of ``x``.

        Raises
        ------
        ValueError
            images of another shape than this tiling was made for.
        """
        if x.shape != self.img_size:
            raise ValueError(
                f"this tiling was made for images {tuple(self.img_size)}, got {tuple(x.shape)}"
            )
        return [(index, x[..., *self.tiles[index].window]) for index in local_indices]

    def apply_batching(
        self, patches: list[Tensor], max_batch_size: int | None = None
    ) -> list[Tensor]:
        """One window at a time: those at the border are smaller."""
        return patches

    def unpack_batched_results(
        self, processed_batches: list[Tensor], num_patches: int
    ) -> list[Tensor]:
        """The denoised windows, as they are."""
        return processed_batches

    def reduce_patches(self, out_tensor: Tensor, local_pairs: list[tuple[int, Tensor]]) -> None:
        """Write every tile into ``out_tensor``, once."""
        for index, denoised in local_pairs:
            tile = self.tiles[index]
            out_tensor[..., *tile.target] = denoised[..., *tile.core]
