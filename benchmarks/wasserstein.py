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

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from benchmarks.record import RESULTS, record
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


def run(name: str, count: int, fit: CriticFit, seeds: int = 1) -> dict[str, float | None]:
    """One row: bound, interval and what they are compared with; its least share over ``seeds``."""
    samples, asked, known = PROBLEMS[name]
    x, y = samples(count, torch.Generator().manual_seed(0))
    start = time.process_time()
    bound = trained(x, y, fit, 0)
    seconds = time.process_time() - start
    start = time.process_time()
    exact = exact_distance(x, y) if count <= SMALL else None
    exact_seconds = None if exact is None else time.process_time() - start
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


def line(name: str, row: dict[str, float | None]) -> str:
    shown = {key: "–" if value is None else f"{value:.4f}" for key, value in row.items()}
    return (
        f"{name:<20} {row['points']:>8.0f}  {shown['value']}  [{shown['low']}, {shown['high']}]  "
        f"exact {shown['exact']}  share {shown['share']}, least {shown['least_share']}  "
        f"distributions {shown['distributions']}  {row['seconds']:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--counts", type=int, nargs="+", default=[SMALL, LARGE])
    parser.add_argument("--seeds", type=int, default=1, help="of training, on the same samples")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fit = CriticFit()
    for count in options.counts:
        for name in options.problems:
            row = run(name, count, fit, options.seeds)
            save(count, name, row, asdict(fit) | {"confidence": 0.95, "held_out": 0.2})
            print(line(name, row), flush=True)


def save(count: int, name: str, row: dict[str, float | None], arguments: dict[str, float]) -> None:
    """Put one row among those that were recorded with the same arguments."""
    path = RESULTS / "wasserstein.json"
    results: dict[str, dict[str, dict[str, float | None]]] = {}
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        results = content["results"] if content["arguments"] == arguments else results
    results.setdefault(str(count), {})[name] = row
    record("wasserstein", results, **arguments)


if __name__ == "__main__":
    main()
