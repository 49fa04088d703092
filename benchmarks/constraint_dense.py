"""What holding the constraint adds to a training step of dense layers, in two ways.

    python -m benchmarks.constraint_dense

Times four dense gradient steps at several widths and batches: the training step without a constraint,
and what holding it adds, by the retraction to orthonormal rows and by the projection with a singular
value decomposition. Least processor time of interleaved repetitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.harness import Benchmark
from benchmarks.markdown import fixed, table
from benchmarks.record import Rows
from pnp_lip.constraints import Constraint, project
from pnp_lip.layers import GradientStep

SIZES = ((64, 1024), (128, 1024), (256, 1024), (256, 4096))


def dense_step(width: int, batch: int) -> tuple[nn.Module, Callable[[], None]]:
    """Four dense gradient steps, and one step of their training without a constraint."""
    torch.manual_seed(0)
    network = nn.Sequential(*(GradientStep(width, width) for _ in range(4)))
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    x, target = torch.randn(batch, width), torch.randn(batch, width)

    def step() -> None:
        optimizer.zero_grad()
        (network(x) - target).square().mean().backward()
        optimizer.step()

    return network, step


def dense(width: int, batch: int, repetitions: int) -> dict[str, float]:
    """Milliseconds of a step and of each way to hold the constraint, with the ratios."""
    times: dict[str, list[float]] = {"none": [], "orthogonal": [], "projection": []}
    ways: tuple[Constraint, ...] = ("orthogonal", "projection")
    networks = {constraint: dense_step(width, batch) for constraint in ways}
    for _ in range(repetitions):
        for constraint, (network, step) in networks.items():
            for name, run in (
                ("none", step),
                (constraint, partial(project, network, constraint=constraint)),
            ):
                start = time.thread_time()
                run()
                times[name].append(1e3 * (time.thread_time() - start))
    least = {name: min(values) for name, values in times.items()}
    ratios = {f"{name}, time ratio": 1 + least[name] / least["none"] for name in ways}
    return {f"{name}, ms": value for name, value in least.items()} | ratios


def dense_table(rows: Rows) -> str:
    """A line for each width and batch."""
    return table(
        ["layer", "retraction, time ratio", "projection, time ratio"],
        [
            [
                name,
                fixed(row["orthogonal, time ratio"], 3),
                fixed(row["projection, time ratio"], 3),
            ]
            for (name,), row in rows.items()
        ],
    )


BENCHMARK = Benchmark("constraint_dense", __doc__, tables={"constraint-dense": dense_table})


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--repetitions", type=int, default=25)
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for width, batch in SIZES:
        row = dense(width, batch, options.repetitions)
        recording.add(f"width {width}, batch {batch}", row=row)
    recording.close()


if __name__ == "__main__":
    main()
