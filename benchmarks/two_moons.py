"""Two moons: both architectures at several depths, each accuracy with its certificate.

    python -m benchmarks.two_moons
    python -m benchmarks.two_moons --constraint projection    # two_moons_projection.json

One row for each architecture and depth: test accuracy (mean and range over seeds of start and order,
on one data set, as published), the largest proved Lipschitz constant, the largest gradient found,
certified accuracy at Euclidean radii in units of the standardised data, processor seconds per epoch,
and the share of them that the constraint takes; with ``--draws`` also the accuracy on new draws of the
data, of which some hold a point among those of the other class. Published figures are those of Murari,
Furuya, Schönlieb (2025). Each row is recorded when it is ready, beside those with equal arguments.
Also writes a picture of two of the networks with their certified margins.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.moons_figure import draw
from benchmarks.record import RESULTS, record
from pnp_lip.certifier import prove
from pnp_lip.constraints import project
from pnp_lip.data import TwoMoons, two_moons
from pnp_lip.networks import (
    Fit,
    FixedWidthNetwork,
    FreeWidthNetwork,
    certified_accuracy,
    predict,
    train,
)

DEPTHS = (2, 4, 8, 16, 32, 64)
RADII = (0.1, 0.2, 0.3)
ARCHITECTURES = {"free width": FreeWidthNetwork, "fixed width": FixedWidthNetwork}
PUBLISHED = {
    "free width": dict(zip(DEPTHS, (99.75, 99.88, 100.0, 100.0, 99.88, 100.0), strict=True)),
    "fixed width": dict(zip(DEPTHS, (88.25, 99.88, 99.88, 100.0, 100.0, 100.0), strict=True)),
}
#: Deeper networks of fixed width start with gradient steps near the identity; chosen at 64 layers, on a
#: fifth of the training points.
DEEP = 32
#: Of the name of the results.
SUFFIX = {"orthogonal": "", "projection": "_projection"}

Network = FreeWidthNetwork | FixedWidthNetwork


def trained(architecture: str, width: int, depth: int, fit: Fit, moons: TwoMoons) -> Network:
    """A network of the set, trained."""
    torch.manual_seed(fit.seed)
    network: Network = ARCHITECTURES[architecture](2, width, depth)
    if isinstance(network, FixedWidthNetwork) and depth > DEEP:
        let_through(network)
    # Deep networks are more sensitive to a step of all their weights, so they take shorter ones.
    train(
        network, moons.x, moons.labels, replace(fit, rate=fit.rate * min(1.0, (8 / depth) ** 0.5))
    )
    return network


@torch.no_grad()
def let_through(network: FixedWidthNetwork) -> None:
    """Start every gradient step near the identity: a deep stack of folds unlearns slowly."""
    for step in network.gradient_steps:
        step.bias.fill_(-0.5)


def run(architecture: str, width: int, depth: int, fit: Fit, moons: TwoMoons) -> dict[str, float]:
    """Train one network and measure it."""
    start = time.process_time()
    network = trained(architecture, width, depth, fit, moons)
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
        project(network, constraint=fit.constraint)
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


def new_data(accuracies: list[float]) -> dict[str, float]:
    """Mean and range over draws of the data."""
    if not accuracies:
        return {}
    return {
        "new_data": sum(accuracies) / len(accuracies),
        "new_data_min": min(accuracies),
        "new_data_max": max(accuracies),
    }


def line(depth: int, row: dict[str, float]) -> str:
    certified = "  ".join(f"{row[f'certified_{radius}']:6.2f}" for radius in RADII)
    return (
        f"{depth:>3} {row['published']:>9.2f} {row['accuracy']:>7.2f} "
        f"[{row['accuracy_min']:.2f}, {row['accuracy_max']:.2f}]  {row['lipschitz_upper']:.6f} "
        f"{row['largest_gradient']:.4f}  {certified}  {row['seconds_per_epoch']:.3f} "
        f"{100 * row['constraint_share']:.0f} %"
        + (f"  {row['new_data']:.2f} [{row['new_data_min']:.2f}]" if "new_data" in row else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, choices=DEPTHS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the state")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--draws", type=int, default=0, help="of new data")
    parser.add_argument(
        "--architectures", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES)
    )
    parser.add_argument("--temperature", type=float, default=15.0)
    parser.add_argument("--constraint", choices=("orthogonal", "projection"), default="orthogonal")
    parser.add_argument("--table", action="store_true", help="print what is recorded, and stop")
    options = parser.parse_args()
    if options.table:
        print(table("two_moons" + SUFFIX[options.constraint]))
        return
    torch.set_num_threads(1)
    fit = Fit(epochs=options.epochs, temperature=options.temperature, constraint=options.constraint)
    arguments = asdict(fit) | {"width": options.width, "seeds": options.seeds, "data_seed": 0}
    file = "two_moons" + SUFFIX[options.constraint]
    for name in options.architectures:
        print(
            f"{name}: depth, published, accuracy [range], Lip <=, gradient, certified at", *RADII,
            "seconds an epoch, constraint, accuracy on new data [least]",
        )  # fmt: skip
        for depth in options.depths:
            row = cell(name, depth, fit, options)
            save(file, name, depth, row, arguments)
            print(line(depth, row), flush=True)
    print("wrote", RESULTS / f"{file}.json")
    if options.constraint == "orthogonal":
        moons = two_moons(seed=0)
        networks = {name: trained(name, options.width, 8, fit, moons) for name in ARCHITECTURES}
        print("wrote", draw(networks, moons))


def cell(name: str, depth: int, fit: Fit, options: argparse.Namespace) -> dict[str, float]:
    """One architecture at one depth."""
    fits = [replace(fit, seed=seed) for seed in range(options.seeds)]
    moons = two_moons(seed=0)
    row = summary([run(name, options.width, depth, one, moons) for one in fits])
    draws = [
        run(name, options.width, depth, fit, two_moons(seed=seed))["accuracy"]
        for seed in range(1, options.draws + 1)
    ]
    return row | new_data(draws) | {"published": PUBLISHED[name][depth]}


def table(file: str) -> str:
    """The recorded rows as Markdown."""
    results = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))["results"]
    lines = [
        "| | layers | published | accuracy [range] | certified at 0.1 / 0.2 / 0.3 | Lip ≤ | gradient ≥ "
        "| s per epoch, constraint |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in results.items():
        for depth, row in rows.items():
            certified = " / ".join(f"{row[f'certified_{radius}']:.1f}" for radius in RADII)
            lines.append(
                f"| {name} | {depth} | {row['published']:.2f} | {row['accuracy']:.2f} "
                f"[{row['accuracy_min']:.2f}, {row['accuracy_max']:.2f}] | {certified} | "
                f"{row['lipschitz_upper']:.6f} | {row['largest_gradient']:.3f} | "
                f"{row['seconds_per_epoch']:.2f}, {100 * row['constraint_share']:.0f} % |"
            )
    return "\n".join(lines)


def save(
    file: str, name: str, depth: int, row: dict[str, float], arguments: dict[str, Any]
) -> None:
    """Put one row among those that were recorded with the same arguments."""
    path, results = RESULTS / f"{file}.json", {architecture: {} for architecture in ARCHITECTURES}
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        results = content["results"] if content["arguments"] == arguments else results
    rows = results[name] | {str(depth): row}
    results[name] = dict(sorted(rows.items(), key=lambda item: int(item[0])))
    record(file, results, **arguments)


if __name__ == "__main__":
    main()
