"""Time of one 256 x 256 image: the frozen denoisers, their bare convolutions, and deepinv's DnCNN.

    python -m benchmarks.inference

One thread (or the GPU with --device cuda), random repetitions interleaved, processor time on a CPU. The
*bare convolutions* are the two convolutions of every layer on the whole image, with the kernels the
frozen denoiser uses and nothing between them; *strips*, the same in the strips it uses. The *library's*
are torch's ``conv2d`` and ``conv_transpose2d``.
DnCNN has 20 layers of 64 channels and random weights, which do not change its time.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from deepinv.models import DnCNN
from torch import Tensor
from torch.nn import functional

from benchmarks.record import record
from pnp_lip import Frozen, LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.layers import ConvGradientStep
from pnp_lip.weights import SHIPPED_NAMES

SIGMA = 25 / 255


def library(frozen: Frozen, x: Tensor) -> Tensor:
    """The convolutions of every layer by torch's two functions."""
    for layer in frozen.denoiser.layers:
        weight = cast(ConvGradientStep, layer).weight
        pad = weight.shape[-1] // 2
        responses = functional.conv2d(x, weight, padding=pad)
        x = functional.conv_transpose2d(responses, weight, padding=pad)
    return x


def bare(frozen: Frozen, x: Tensor, whole: bool) -> Tensor:
    """The folded convolutions alone."""
    for step in frozen.folded():
        x = step.bare(x, whole=whole)
    return x


def candidates(network: LipschitzDenoiser, compiled: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """What is timed, by name."""
    channels, device = network.in_channels, next(network.parameters()).device
    frozen = Frozen(network, SIGMA)
    rough = Frozen(copy.deepcopy(network), SIGMA, dtype=torch.bfloat16)
    dncnn = DnCNN(channels, channels, pretrained=None, device=device).eval()
    rows: dict[str, Callable[[Tensor], Tensor]] = {
        "frozen": frozen,
        "bare convolutions": lambda x: bare(frozen, x, True),
        "bare convolutions, strips": lambda x: bare(frozen, x, False),
        "library convolutions": lambda x: library(frozen, x),
        "not frozen": lambda x: network(x, SIGMA),
        "frozen, bfloat16": rough,
        "DnCNN": lambda x: dncnn(x, SIGMA),
    }
    if compiled:
        rows["frozen, compiled"] = Frozen(copy.deepcopy(network), SIGMA, compile=True)
    return rows


def clock(device: str) -> float:
    """Processor time of this thread, or wall time once the GPU is done."""
    if device == "cpu":
        return time.thread_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def measure(
    rows: dict[str, Callable[[Tensor], Tensor]], x: Tensor, device: str, repetitions: int
) -> dict[str, dict[str, float]]:
    """Least and median milliseconds of every row."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for repetition in range(repetitions + 1):
        for name, run in rows.items():
            start = clock(device)
            run(x)
            if repetition:
                times[name].append(1e3 * (clock(device) - start))
    return {
        name: {"min_ms": min(values), "median_ms": statistics.median(values)}
        for name, values in times.items()
    }


def errors(network: LipschitzDenoiser, x: Tensor) -> dict[str, float]:
    """Relative distance of the frozen denoisers from the denoiser in float64."""
    exact = copy.deepcopy(network).double()(x.double(), SIGMA)
    return {
        name: float(
            torch.linalg.vector_norm(Frozen(network, SIGMA, dtype=dtype)(x).double() - exact)
            / torch.linalg.vector_norm(exact)
        )
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="time the compiled form as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for channels, title in ((1, "camera"), (3, "astronaut")):
        clean = photograph(title)
        x = clean + SIGMA * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        x = x.to(options.device)
        for weights in SHIPPED_NAMES:
            network = LipschitzDenoiser(channels, pretrained=weights, device=options.device)
            rows = candidates(network, options.compile)
            times = measure(rows, x, options.device, options.repetitions)
            for row in times.values():
                for of in ("bare convolutions", "DnCNN"):
                    row[f"min, ratio to {of}"] = row["min_ms"] / times[of]["min_ms"]
                    row[f"median, ratio to {of}"] = row["median_ms"] / times[of]["median_ms"]
            name = f"{'grey' if channels == 1 else 'colour'}, {weights}"
            results[name] = {"times": times, "relative_error": errors(network, x)}
            show(name, results[name])
    print("wrote", record("inference", results, **vars(options)))


def show(name: str, result: dict[str, Any]) -> None:
    print(f"{name:<26} {'ms, min':>9} {'median':>9} {'to bare convolutions':>21} {'to DnCNN':>9}")
    for row, times in result["times"].items():
        print(
            f"{row:<26} {times['min_ms']:>9.2f} {times['median_ms']:>9.2f} "
            f"{times['min, ratio to bare convolutions']:>21.3f} {times['min, ratio to DnCNN']:>9.4f}"
        )
    print("relative error", {k: f"{v:.2e}" for k, v in result["relative_error"].items()})


if __name__ == "__main__":
    main()
