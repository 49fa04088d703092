r"""Arrays that do not fit in memory: the denoiser on the chunks of a dask array, as the same function.

A chunk is denoised inside a window, the chunk and a halo of the receptive radius around it, cut at the
border of the array. As in :mod:`pnp_lip.denoisers.tiled` the result is ``D`` of the whole array, so the
certificate of ``D`` covers it. Volumes have the same radius along each of their three axes, because each
family of planes reaches only inside its planes.

What is computed is a lazy array: write it with ``to_zarr``, and hand over the work to a cluster by making a
``dask.distributed.Client`` the current one::

    with Client(address).as_current():
        denoise_chunks(da.from_zarr("noisy.zarr"), D, 0.1).to_zarr("clean.zarr")

A *solve* on chunks is another thing: the solution at a pixel depends on all of the data, so chunks with an
overlap give an approximation, whatever the overlap. :func:`map_chunks` computes it, and says no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pnp_lip.denoisers.tiled import required_halo
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.errors import InputError

if TYPE_CHECKING:
    import dask.array

__all__ = ["denoise_chunks", "map_chunks"]


def denoise_chunks(
    array: dask.array.Array, denoiser: nn.Module, sigma: float, *, halo: int | None = None
) -> dask.array.Array:
    """``D(array)``, lazily, chunk by chunk.

    Parameters
    ----------
    array
        a dask array of floats in [0, 1]. Its last axes are rows and columns, for a
        :class:`~pnp_lip.VolumeDenoiser` slices, rows and columns, for a denoiser of colours preceded by
        the channels; all axes before them count independent images.
    denoiser
        a denoiser whose receptive radius is known.
    sigma
        noise level.
    halo
        pixels read around each chunk; the receptive radius by default.

    Returns
    -------
    dask.array.Array
        of the shape and type of ``array``.

    Raises
    ------
    InputError
        too few axes, another number of channels, or numbers that are no floats.

    Examples
    --------
    >>> import dask.array as da
    >>> from pnp_lip import LipschitzDenoiser
    >>> from pnp_lip.denoisers.chunks import denoise_chunks
    >>> noisy = da.random.random((4, 512, 512), chunks=(1, 256, 256)).astype("float32")
    >>> denoise_chunks(noisy, LipschitzDenoiser(1), 0.1).shape
    (4, 512, 512)
    """
    if array.dtype.kind != "f":
        raise InputError(f"expected floats in [0, 1], got {array.dtype}: divide by the white level")
    inner = denoiser.denoiser if isinstance(denoiser, VolumeDenoiser) else denoiser
    spatial = 3 if isinstance(denoiser, VolumeDenoiser) else 2
    channels = getattr(inner, "in_channels", None)
    colour = isinstance(channels, int) and channels > 1
    if array.ndim < spatial + colour or (colour and array.shape[-spatial - 1] != channels):
        expected = "channels, " * colour + "slices, " * (spatial == 3) + "rows, columns"
        raise InputError(f"expected an array whose last axes are {expected}, got {array.shape}")
    reach = required_halo(denoiser, halo)
    if colour:
        array = array.rechunk({array.ndim - spatial - 1: -1})
    run = _Block(denoiser.eval(), float(sigma), spatial + 1 if colour else spatial, colour)
    return map_chunks(array, run, dict.fromkeys(range(-spatial, 0), reach))


def map_chunks(
    array: dask.array.Array, function: Callable[[NDArray[Any]], NDArray[Any]], halo: dict[int, int]
) -> dask.array.Array:
    """``function`` on every chunk with a halo around it, and the chunks of its results, lazily.

    Parameters
    ----------
    array
        a dask array.
    function
        from an array to one of the same shape and type. Where its value at a place depends on more than
        the halo, the result differs from the result on the whole array.
    halo
        for each axis, counted from the end as -1, -2, ..., how far a chunk is extended; at the border of
        the array it is not. Chunks that are smaller are merged.

    Raises
    ------
    InputError
        dask is not installed.
    """
    try:
        from dask.array import map_overlap
    except ImportError as error:
        raise InputError("chunks need dask: pip install 'pnp-lip[dask]'") from error
    depth = dict.fromkeys(range(array.ndim), 0)
    for axis, reach in halo.items():
        if array.shape[axis] <= reach:  # one chunk along this axis needs no halo
            array = array.rechunk({array.ndim + axis: -1})
        else:
            depth[array.ndim + axis] = reach
    return map_overlap(
        function, array, depth=depth, boundary="none", dtype=array.dtype, meta=array._meta
    )


class _Block:
    """The denoiser on one block of numbers; made once and sent to every worker."""

    def __init__(self, denoiser: nn.Module, sigma: float, axes: int, colour: bool) -> None:
        self.denoiser, self.sigma, self.axes, self.colour = denoiser, sigma, axes, colour

    @torch.no_grad()
    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        shape = block.shape[block.ndim - self.axes :]
        images = block.reshape(-1, *([] if self.colour else [1]), *shape)
        device = next((p.device for p in self.denoiser.parameters()), torch.device("cpu"))
        parts = [
            self.denoiser(
                torch.from_numpy(np.ascontiguousarray(image))[None].to(device), self.sigma
            )
            for image in images
        ]
        return torch.cat(parts).cpu().numpy().reshape(block.shape)
