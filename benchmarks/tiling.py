"""Memory and time of a 100-megapixel image in tiles.

    python -m benchmarks.tiling

The image and the result lie in files that are mapped into memory (10000 x 10000 pixels of float32,
400 MB each). The peak of anonymous memory, which excludes the pages of mapped files, is read from
the kernel while tiles are denoised, by a network of two layers so that the run takes minutes on one
thread. What the shipped network needs is measured beside it on a smaller image, together with the
distance between the tiled image and the whole one.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.images import noisy
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from pnp_lip import LipschitzDenoiser, Tiled
from pnp_lip.data.photographs import photograph

SIGMA = 0.1


class PeakMemory:
    """The largest anonymous resident memory of this process while the block runs, in MB."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = anonymous_megabytes()
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._follow)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _follow(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, anonymous_megabytes())


def anonymous_megabytes() -> float:
    """``RssAnon`` of Linux: the process without the pages of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise OSError("the kernel does not report RssAnon: this benchmark needs Linux")


def mapped(path: Path, side: int) -> Tensor:
    """A new file of ``side`` x ``side`` pixels as a tensor ``[1, 1, side, side]``."""
    return torch.from_numpy(np.memmap(path, np.float32, "w+", shape=(1, 1, side, side)))


def large_image(folder: Path, side: int, tile: int) -> Row:
    """Denoise a photograph repeated to ``side`` x ``side`` pixels, from file to file."""
    x, out = mapped(folder / "x", side), mapped(folder / "out", side)
    part = photograph("camera")[0, 0]
    for top in range(0, side, len(part)):
        rows = x[0, 0, top : top + len(part)]
        columns = -(-side // part.shape[1])
        rows.copy_(noisy(part.repeat(1, columns)[: len(rows), :side], SIGMA, seed=top))
    denoiser = Tiled(LipschitzDenoiser(1, depth=2, pretrained=None), tile, progress=True)
    with PeakMemory() as memory:
        start = time.perf_counter()
        denoiser(x, SIGMA, out=out)
        seconds = time.perf_counter() - start
    return {
        "megapixels": side * side / 1e6,
        "layers": 2,
        "halo": denoiser.halo,
        "file_megabytes": 4 * side * side / 2**20,
        "extra_megabytes": memory.peak - memory.start,
        "seconds": seconds,
    }


def shipped_network(side: int, tile: int) -> Row:
    """The shipped network on the whole image and in tiles."""
    network = LipschitzDenoiser(1)
    x = photograph("camera").repeat(1, 1, 3, 3)[..., :side, :side].contiguous()
    tiled = Tiled(network, tile)
    with PeakMemory() as in_tiles:
        parts = tiled(x, SIGMA)
    with PeakMemory() as at_once:
        whole = network(x, SIGMA)
    return {
        "megapixels": side * side / 1e6,
        "layers": len(network.layers),
        "halo": tiled.halo,
        "extra_megabytes_tiled": in_tiles.peak - in_tiles.start,
        "extra_megabytes_whole": at_once.peak - at_once.start,
        "largest_difference": float((parts - whole).abs().max()),
    }


def memory_table(rows: Rows) -> str:
    """Megabytes beside image and result."""
    large, shipped = rows[("large",)], rows[("shipped",)]
    megapixels = f"{shipped['megapixels']:.0f} megapixels, shipped network"
    return table(
        ["", "memory beside image and result"],
        [
            [
                f"{large['megapixels']:.0f} megapixels from file to file, 2 layers, in tiles",
                f"{large['extra_megabytes']:.0f} MB",
            ],
            [f"{megapixels}, in tiles", f"{shipped['extra_megabytes_tiled']:.0f} MB"],
            [f"{megapixels}, whole", f"{shipped['extra_megabytes_whole']:.0f} MB"],
        ],
    )


BENCHMARK = Benchmark(
    "tiling",
    __doc__,
    tables={
        "tiling": memory_table,
        "tiling-difference": lambda rows: f"{rows[('shipped',)]['largest_difference']:.2g}",
    },
)


@torch.no_grad()
def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--tile", type=int, default=512)
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    recording.add("shipped", row=shipped_network(min(1400, options.side), options.tile))
    with tempfile.TemporaryDirectory() as folder:
        recording.add("large", row=large_image(Path(folder), options.side, options.tile))
    recording.close()


if __name__ == "__main__":
    main()
