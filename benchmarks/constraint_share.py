"""The share of training time that the constraint takes on MNIST, as the networks grow deeper.

    python -m benchmarks.constraint_share

Networks of fixed width (Theorem 4.1) on batches of 256 random images: processor seconds of one step of the
optimiser with and without the hook that holds the constraint, measured in turns, median of the repetitions.
Murari, Furuya, Schönlieb (2025) report 13 to 19 % for one step of the power method.
"""

from __future__ import annotations

import statistics

import torch
from torch.nn import functional

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip.constraints import Constraint, project
from pnp_lip.networks import FixedWidthNetwork

CONSTRAINTS: tuple[Constraint, ...] = ("orthogonal", "projection")


def run(width: int, depth: int, repeats: int) -> Row:
    """Medians of a step and of each constraint."""
    torch.manual_seed(0)
    network = FixedWidthNetwork(28 * 28, width, depth, outputs=10, hidden=width // 4)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    x, labels = torch.rand(256, 28 * 28), torch.randint(10, (256,))

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(5 * network(x), labels).backward()
        optimizer.step()

    seconds: dict[str, list[float]] = {"step": [], **{name: [] for name in CONSTRAINTS}}
    for _ in range(repeats):
        seconds["step"].append(timed(step)[0])
        for name in CONSTRAINTS:
            seconds[name].append(timed(lambda: project(network, constraint=name))[0])  # noqa: B023
    row: Row = {name: statistics.median(values) for name, values in seconds.items()}
    return row | {f"share_{name}": row[name] / (row["step"] + row[name]) for name in CONSTRAINTS}


def share_table(rows: Rows) -> str:
    """A line for each width and depth."""
    return table(
        ["width x depth", "ms a step", *(f"share, {name}" for name in CONSTRAINTS)],
        [
            [
                name.replace("x", " x "),
                fixed(1000 * row["step"], 1),
                *(f"{100 * row[f'share_{one}']:.0f} %" for one in CONSTRAINTS),
            ]
            for (name,), row in rows.items()
        ],
    )


BENCHMARK = Benchmark("constraint_share", __doc__, tables={"constraint-share": share_table})


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    recording = BENCHMARK.start(options, batch=256)
    for width in (50, 200):
        for depth in (5, 10, 20):
            recording.add(f"{width}x{depth}", row=run(width, depth, options.repeats))
    recording.close()


if __name__ == "__main__":
    main()
