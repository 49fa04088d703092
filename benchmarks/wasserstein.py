"""Certified lower bounds of Wasserstein-1 distances against exact transport.

    python -m benchmarks.wasserstein
    python -m benchmarks.wasserstein --counts 2000 --seeds 3  # also the least share over three trainings

First 2000 points of each distribution in the plane, where POT computes the distance of the two samples
exactly; the critic's value bounds that from below without any probability. Then 200 000 points, where the
matrix of costs alone would take 320 GB: what is known there is the distance of the distributions, 3 for
a shift by 3 and 2 for rings with radii 1 and 3. The interval rests on the fifth of the samples that
training did not see; its lower end bounds the distance of the distributions. Each row is recorded when it
is ready, beside those with equal arguments. POT comes with ``pip install ".[benchmark]"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import down, fixed, table, up
from benchmarks.record import Row, Rows
from pnp_lip.networks import CriticFit, Wasserstein1, wasserstein1

SMALL, LARGE = 2000, 200_000

Samples = tuple[Tensor, Tensor]


def shifted_gaussians(count: int, rng: torch.Generator) -> Samples:
    """Standard normal points, and others that are moved by (3, 0)."""
    x, y = (torch.randn(count, 2, generator=rng) for _ in range(2))
    return x, y + torch.tensor([3.0, 0.0])


def rings(count: int, rng: torch.Generator) -> Samples:
    """Circles of radius 3 and 1, with radial noise 0.05."""
    return _ring(3.0, count, rng), _ring(1.0, count, rng)


def gaussian_and_modes(count: int, rng: torch.Generator) -> Samples:
    """Standard normal points, and 25 modes at the integers from -2 to 2, with noise 0.05."""
    x = torch.randn(count, 2, generator=rng)
    modes = torch.randint(-2, 3, (count, 2), generator=rng).float()
    return x, modes + 0.05 * torch.randn(count, 2, generator=rng)


def _ring(radius: float, count: int, rng: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(count, generator=rng)
    length = radius + 0.05 * torch.randn(count, generator=rng)
    return length[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


#: Samples, the share of the exact value that is asked for, and the distance of the distributions.
PROBLEMS: dict[str, tuple[Callable[[int, torch.Generator], Samples], float, float | None]] = {
    "shifted Gaussians": (shifted_gaussians, 0.99, 3.0),
    "rings": (rings, 0.99, 2.0),
    "Gaussian, 25 modes": (gaussian_and_modes, 0.95, None),
}


def exact_distance(x: Tensor, y: Tensor) -> float:
    """By the network simplex of POT."""
    import numpy as np
    import ot

    costs = ot.dist(x.double().numpy(), y.double().numpy(), metric="euclidean")
    weights = [np.full(len(one), 1 / len(one)) for one in (x, y)]
    return float(ot.emd2(*weights, costs, numItermax=10**7))


def run(name: str, count: int, fit: CriticFit, seeds: int = 1) -> Row:
    """One row: bound, interval and what they are compared with; its least share over ``seeds``."""
    samples, asked, known = PROBLEMS[name]
    x, y = samples(count, torch.Generator().manual_seed(0))
    seconds, bound = timed(lambda: trained(x, y, fit, 0))
    exact_seconds, exact = None, None
    if count <= SMALL:
        exact_seconds, exact = timed(lambda: exact_distance(x, y))
    values = [bound.value, *(trained(x, y, fit, seed).value for seed in range(1, seeds))]
    return {
        "points": float(count),
        "value": bound.value,
        "low": bound.interval[0],
        "high": bound.interval[1],
        "lipschitz_upper": bound.lipschitz,
        "seconds": seconds,
        "exact": exact,
        "exact_seconds": exact_seconds,
        "share": None if exact is None else bound.value / exact,
        "seeds": float(seeds),
        "least_share": None if exact is None else min(values) / exact,
        "asked": asked,
        "distributions": known,
    }


def trained(x: Tensor, y: Tensor, fit: CriticFit, seed: int) -> Wasserstein1:
    """The bound by a critic whose split, start and batches come from ``seed``."""
    return wasserstein1(x, y, fit=fit, rng=torch.Generator().manual_seed(seed))


def wasserstein_table(rows: Rows) -> str:
    """A line for each problem and number of points."""
    return table(
        [
            "",
            "points",
            "value",
            "exact",
            "share, least of three trainings",
            "95 % interval, new samples",
            "distributions",
        ],
        [[name, count, *_cells(row)] for (count, name), row in rows.items()],
    )


def _cells(row: Row) -> list[str]:
    shares = (None if row[key] is None else 100 * row[key] for key in ("share", "least_share"))
    known = row["distributions"]
    return [
        down(row["value"], 4),
        fixed(row["exact"], 4),
        "–" if row["exact"] is None else ", ".join(f"{share:.2f} %" for share in shares),
        f"[{down(row['low'], 4)}, {up(row['high'], 4)}]",
        "–" if known is None else f"{known:g}",
    ]


BENCHMARK = Benchmark(
    "wasserstein",
    __doc__,
    tables={"wasserstein": wasserstein_table},
    selecting=("problems", "counts", "seeds"),
    packages=("POT",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--counts", type=int, nargs="+", default=[SMALL, LARGE])
    parser.add_argument("--seeds", type=int, default=1, help="of training, on the same samples")
    parser.add_argument("--steps", type=int, default=CriticFit().steps, help="of every critic")
    options = parser.parse_args()
    fit = CriticFit(steps=options.steps)
    recording = BENCHMARK.start(options, **asdict(fit) | {"confidence": 0.95, "held_out": 0.2})
    for count in options.counts:
        for name in options.problems:
            recording.add(str(count), name, row=run(name, count, fit, options.seeds))
    recording.close()


if __name__ == "__main__":
    main()
