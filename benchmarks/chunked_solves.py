"""Deblurring on chunks with an overlap, an approximation of deblurring the whole: how far off it is.

    python -m benchmarks.chunked_solves

The packaged photograph, 256 x 256 pixels, blurred by the trace of a shaking camera of 15 pixels, noise
0.01, is deblurred as a whole and in four chunks by :func:`pnp_lip.denoisers.chunks.map_chunks`, each with
its neighbours' pixels up to the overlap, to a residual of 1e-5 (forward-backward; only the frame is known).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers.chunks import map_chunks
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.recipes.problem import gaussian_noise
from pnp_lip.recipes.restoration import Options, restore

NOISE, WIDTH, OVERLAPS = 0.01, 15, (0, 8, 16, 32)


def blurred() -> tuple[Tensor, Tensor]:
    """What lies in the frame, and its observation."""
    kernel, half = deblur.motion_kernel(WIDTH), WIDTH // 2
    whole = deblur.simulated(photograph("camera"), kernel, 0.0, seed=0)
    truth, y = (x[..., half:-half, half:-half] for x in (photograph("camera"), whole.y))
    return truth, y + gaussian_noise(y, NOISE, 0)


def deblurred(pixels: NDArray[Any]) -> NDArray[Any]:
    """One chunk, or the whole."""
    y = torch.from_numpy(np.ascontiguousarray(pixels))[None, None]
    problem = deblur.observed(y, deblur.motion_kernel(WIDTH), NOISE)
    options = Options(deblur.STRENGTH["forward-backward"] * NOISE)
    found: NDArray[Any] = restore(problem, options).image[0, 0].numpy()
    return found


def chunked(y: NDArray[Any], overlap: int) -> NDArray[Any]:
    """In four chunks."""
    import dask.array

    sides = [-(-side // 2) for side in y.shape]
    array = dask.array.from_array(y, chunks=sides)
    halo = {-1: overlap, -2: overlap}
    found: NDArray[Any] = map_chunks(array, deblurred, halo).compute(scheduler="synchronous")
    return found


def compared(truth: Tensor, whole: NDArray[Any], other: NDArray[Any]) -> Row:
    """Distance to the whole solution and quality."""
    difference = other - whole
    image = torch.from_numpy(other)[None, None]
    return {
        "relative": float(np.linalg.norm(difference) / np.linalg.norm(whole)),
        "largest": float(np.abs(difference).max()),
        "psnr": psnr(image, truth),
    }


def overlap_table(rows: Rows) -> str:
    """A line for each overlap."""
    heading = ["overlap in pixels", "relative distance to the whole", "largest", "PSNR"]
    lines = [
        [names[0], *(_shown(row[key]) for key in ("relative", "largest")), fixed(row["psnr"], 2)]
        for names, row in rows.items()
    ]
    return table(heading, lines)


def _shown(distance: float) -> str:
    return f"{distance:.1e}" if distance else "–"


BENCHMARK = Benchmark(
    "chunked_solves",
    __doc__,
    tables={"chunked-solves": overlap_table},
    packages=("dask",),
)


def main() -> None:
    options = BENCHMARK.parser().parse_args()
    recording = BENCHMARK.start(options, noise=NOISE, kernel=WIDTH)
    truth, y = blurred()
    pixels = y[0, 0].numpy()
    whole = deblurred(pixels)
    recording.add("the whole", row=compared(truth, whole, whole))
    for overlap in OVERLAPS:
        recording.add(str(overlap), row=compared(truth, whole, chunked(pixels, overlap)))
    recording.close()


if __name__ == "__main__":
    main()
