"""Time of one 256 x 256 image: the frozen denoisers, their bare convolutions, and deepinv's DnCNN.

    python -m benchmarks.inference

One thread (or the GPU with --device cuda), random repetitions interleaved, processor time on a CPU. The
*bare convolutions* are the two convolutions of every layer on the whole image, with the kernels the
frozen denoiser uses and nothing between them; *strips*, the same in the strips it uses. The *library's*
are torch's ``conv2d`` and ``conv_transpose2d``.
DnCNN has 20 layers of 64 channels and random weights, which do not change its time.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from deepinv.models import DnCNN
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Benchmark
from benchmarks.images import noisy
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from pnp_lip import Frozen, LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.layers import ConvGradientStep
from pnp_lip.rounding import format_up
from pnp_lip.weights import SHIPPED_NAMES

SIGMA = 25 / 255
BARE = "bare convolutions"
ERROR = "relative error"
NETWORKS = {"grey": (1, "camera"), "colour": (3, "astronaut")}
#: Rows of the table, by what documents call them.
SHOWN = {
    "frozen": "frozen",
    "frozen, `compile=True`": "frozen, compiled",
    "bare convolutions": BARE,
    "torch's `conv2d` and `conv_transpose2d`": "library convolutions",
    "`D`, not frozen": "not frozen",
    "frozen, bfloat16": "frozen, bfloat16",
    "deepinv's DnCNN, 20 layers of 64": "DnCNN",
}


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
        BARE: lambda x: bare(frozen, x, True),
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


def with_ratios(times: dict[str, dict[str, float]]) -> dict[str, Row]:
    """Every row with its ratios to two others."""
    return {
        name: row
        | {
            f"{which}, ratio to {of}": row[f"{which}_ms"] / times[of][f"{which}_ms"]
            for of in (BARE, "DnCNN")
            for which in ("min", "median")
        }
        for name, row in times.items()
    }


def times_table(rows: Rows) -> str:
    """Milliseconds and ratio to the bare convolutions, a column a network."""
    networks = list(dict.fromkeys(network for network, _ in rows))
    return table(
        ["ms, ratio to bare", *networks],
        [
            [title, *(_cell(rows, network, name) for network in networks)]
            for title, name in SHOWN.items()
        ],
    )


def _cell(rows: Rows, network: str, name: str) -> str:
    row = rows.get((network, name))
    return "–" if row is None else f"{row['min_ms']:.0f}, {row[f'min, ratio to {BARE}']:.2f}"


def largest_error(rows: Rows, dtype: str) -> str:
    """Of all networks, rounded up."""
    return format_up(max(row[dtype] for (_, name), row in rows.items() if name == ERROR), 2)


BENCHMARK = Benchmark(
    "inference",
    __doc__,
    tables={
        "inference": times_table,
        "inference-float32": partial(largest_error, dtype="float32"),
        "inference-bfloat16": partial(largest_error, dtype="bfloat16"),
    },
    selecting=("networks",),
)


@torch.no_grad()
def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="time the compiled form as well")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for title in options.networks:
        channels, name = NETWORKS[title]
        x = noisy(photograph(name), SIGMA).to(options.device)
        for weights in SHIPPED_NAMES:
            network = LipschitzDenoiser(channels, pretrained=weights, device=options.device)
            rows = candidates(network, options.compile)
            times = with_ratios(measure(rows, x, options.device, options.repetitions))
            for row, values in times.items():
                recording.add(f"{title}, {weights}", row, row=values)
            recording.add(f"{title}, {weights}", ERROR, row=errors(network, x))
    recording.close()


if __name__ == "__main__":
    main()
