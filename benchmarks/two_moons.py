"""Two moons: both architectures at several depths, each accuracy with its certificate.

    python -m benchmarks.two_moons            # the recorded table: --seeds 3

One row for each architecture and depth: test accuracy (mean and range over seeds, which draw data,
start and order), the largest proved Lipschitz constant, the largest gradient found, certified
accuracy at Euclidean radii in units of the standardised data, processor seconds per epoch, and the
share of them that the constraint takes. Published figures are those of Murari, Furuya, Schönlieb (2025).
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import asdict, replace

import torch
from torch import Tensor

from benchmarks.record import record
from pnp_lip.certifier import prove
from pnp_lip.networks import (
    Fit,
    FixedWidthNetwork,
    FreeWidthNetwork,
    TwoMoons,
    certified_accuracy,
    predict,
    project_network,
    train,
    two_moons,
)

DEPTHS = (2, 4, 8, 16, 32, 64)
RADII = (0.1, 0.2, 0.3)
ARCHITECTURES = {"free width": FreeWidthNetwork, "fixed width": FixedWidthNetwork}
PUBLISHED = {
    "free width": dict(zip(DEPTHS, (99.75, 99.88, 100.0, 100.0, 99.88, 100.0), strict=True)),
    "fixed width": dict(zip(DEPTHS, (88.25, 99.88, 99.88, 100.0, 100.0, 100.0), strict=True)),
}

Network = FreeWidthNetwork | FixedWidthNetwork


def run(architecture: str, width: int, depth: int, fit: Fit) -> dict[str, float]:
    """Train one network and measure it."""
    torch.manual_seed(fit.seed)
    network: Network = ARCHITECTURES[architecture](2, width, depth)
    moons = two_moons(seed=fit.seed)
    # Deep networks are more sensitive to a step of all their weights, so they take shorter ones.
    fit = replace(fit, rate=fit.rate * min(1.0, (8 / depth) ** 0.5))
    start = time.process_time()
    train(network, moons.x, moons.labels, fit)
    epoch = (time.process_time() - start) / fit.epochs
    steps = -(-len(moons.x) // fit.batch)
    upper = prove(network).upper
    with torch.no_grad():
        logits = network(moons.test_x)
    right = predict(logits) == moons.test_labels
    row = {
        "accuracy": 100 * float(right.double().mean()),
        "lipschitz_upper": upper,
        "largest_gradient": largest_gradient(network, moons),
        "seconds_per_epoch": epoch,
        "constraint_share": steps * constraint_seconds(network, fit) / epoch,
    }
    for radius in RADII:
        certified = certified_accuracy(logits, moons.test_labels, radius, upper)
        row[f"certified_{radius}"] = 100 * certified
    return row


def largest_gradient(network: Network, moons: TwoMoons) -> float:
    """Over the data and a grid of the plane, in float64: a lower bound of the constant."""
    axis = torch.linspace(-3, 3, 101)
    x = torch.cat([moons.x, moons.test_x, torch.cartesian_prod(axis, axis)]).double()
    x.requires_grad_()
    (slopes,) = torch.autograd.grad(copy.deepcopy(network).double()(x).sum(), x)
    return float(torch.linalg.vector_norm(slopes, dim=1).max())


def constraint_seconds(network: Network, fit: Fit, repeats: int = 20) -> float:
    """Processor seconds of one application of the constraint."""
    network = copy.deepcopy(network)
    start = time.process_time()
    for _ in range(repeats):
        project_network(network, constraint=fit.constraint)
    return (time.process_time() - start) / repeats


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over seeds, ranges of the accuracy, and the worst constants."""
    mean = {key: float(torch.tensor([row[key] for row in rows]).mean()) for key in rows[0]}
    accuracies: Tensor = torch.tensor([row["accuracy"] for row in rows])
    return mean | {
        "accuracy_min": float(accuracies.min()),
        "accuracy_max": float(accuracies.max()),
        "lipschitz_upper": max(row["lipschitz_upper"] for row in rows),
        "largest_gradient": max(row["largest_gradient"] for row in rows),
    }


def line(depth: int, row: dict[str, float]) -> str:
    certified = "  ".join(f"{row[f'certified_{radius}']:6.2f}" for radius in RADII)
    return (
        f"{depth:>3} {row['published']:>9.2f} {row['accuracy']:>7.2f} "
        f"[{row['accuracy_min']:.2f}, {row['accuracy_max']:.2f}]  {row['lipschitz_upper']:.6f} "
        f"{row['largest_gradient']:.4f}  {certified}  {row['seconds_per_epoch']:.3f} "
        f"{100 * row['constraint_share']:.0f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, choices=DEPTHS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the state")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--constraint", choices=("orthogonal", "projection"), default="orthogonal")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fit = Fit(epochs=options.epochs, constraint=options.constraint)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name in ARCHITECTURES:
        print(f"{name}: depth, published, accuracy [range], Lip <=, gradient, certified at", *RADII)
        results[name] = {}
        for depth in options.depths:
            seeds = [replace(fit, seed=seed) for seed in range(options.seeds)]
            row = summary([run(name, options.width, depth, seeded) for seeded in seeds])
            results[name][str(depth)] = row | {"published": PUBLISHED[name][depth]}
            print(line(depth, results[name][str(depth)]), flush=True)
    arguments = asdict(fit) | {"width": options.width, "seeds": options.seeds}
    print("wrote", record("two_moons", results, **arguments))


if __name__ == "__main__":
    main()
