"""Memory and time of a 100-megapixel image in tiles.

    python -m benchmarks.tiling

The image and the result lie in files that are mapped into memory (10000 x 10000 pixels of float32,
400 MB each). The peak of anonymous memory, which excludes the pages of mapped files, is read from
the kernel while tiles are denoised, by a network of two layers so that the run takes minutes on one
thread. What the shipped network needs is measured beside it on a smaller image, together with the
distance between the tiled image and the whole one.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.record import record
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


def large_image(folder: Path, side: int, tile: int) -> dict[str, float]:
    """Denoise a photograph repeated to ``side`` x ``side`` pixels, from file to file."""
    x, out = mapped(folder / "x", side), mapped(folder / "out", side)
    part = photograph("camera")[0, 0]
    generator = torch.Generator().manual_seed(0)
    for top in range(0, side, len(part)):
        rows = x[0, 0, top : top + len(part)]
        columns = -(-side // part.shape[1])
        clean = part.repeat(1, columns)[: len(rows), :side]
        rows.copy_(clean + SIGMA * torch.randn(clean.shape, generator=generator))
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


def shipped_network(side: int, tile: int) -> dict[str, float]:
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


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--tile", type=int, default=512)
    options = parser.parse_args()
    small = shipped_network(1400, options.tile)
    with tempfile.TemporaryDirectory() as folder:
        large = large_image(Path(folder), options.side, options.tile)
    for name, row in (("from file to file", large), ("shipped network", small)):
        print(name, *(f"{key} {value:.6g}" for key, value in row.items()), sep="\n  ")
    results = {"large": large, "shipped": small}
    print("wrote", record("tiling", results, side=options.side, tile=options.tile))


if __name__ == "__main__":
    main()
