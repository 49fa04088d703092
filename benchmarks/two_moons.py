"""Two moons: both architectures at several depths, each accuracy with its certificate.

    python -m benchmarks.two_moons
    python -m benchmarks.two_moons --constraint projection
    python -m benchmarks.two_moons --few --depths 2 4 8  # trained on a fifth instead of four fifths

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
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import down, fixed, table, up
from benchmarks.moons_figure import draw
from benchmarks.record import Row, Rows
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
#: Points of the data set, and how many of them are for testing; with ``--few`` most of them.
COUNT, HELD_OUT, MANY_HELD_OUT = 4000, 800, 3200
#: Deeper networks of fixed width start with gradient steps near the identity; chosen at 64 layers, on a
#: fifth of the training points.
DEEP = 32
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
    seconds, network = timed(lambda: trained(architecture, width, depth, fit, moons))
    epoch = seconds / fit.epochs
    steps = -(-len(moons.x) // fit.batch)
    statement = prove(network)
    with torch.no_grad():
        logits = network(moons.test_x)
    right = predict(logits) == moons.test_labels
    row = {
        "accuracy": 100 * float(right.double().mean()),
        "lipschitz_upper": statement.upper,
        "largest_gradient": largest_gradient(network, moons),
        "seconds_per_epoch": epoch,
        "constraint_share": steps * constraint_seconds(network, fit) / epoch,
    }
    for radius in RADII:
        certified = certified_accuracy(logits, moons.test_labels, radius, statement)
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
    seconds, _ = timed(
        lambda: [project(network, constraint=fit.constraint) for _ in range(repeats)]
    )
    return seconds / repeats


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


#: What documents call the architectures.
TITLES = {"free width": "Theorem 3.1", "fixed width": "Theorem 4.1"}


def moons_table(rows: Rows) -> str:
    """A line for each architecture and depth, with the orthogonal constraint."""
    heading = ["", "layers", "published", "accuracy [range]", "certified at 0.1 / 0.2 / 0.3"]
    return table(
        [*heading, "Lip ≤", "gradient ≥", "s per epoch, constraint"],
        [
            [TITLES[name], depth, *_cells(row)]
            for (constraint, name, depth), row in rows.items()
            if constraint == "orthogonal"
        ],
    )


def few_table(rows: Rows) -> str:
    """Trained on four fifths of the points, and on one fifth for as many steps."""
    heading = ["", "layers", "published", "trained on 3200", "trained on 800"]
    return table(
        [*heading, "certified at 0.2, 800", "Lip ≤, 800"],
        [
            [
                TITLES[name],
                depth,
                fixed(few["published"], 2),
                fixed(rows["orthogonal", name, depth]["accuracy"], 2),
                f"{few['accuracy']:.2f} [{few['accuracy_min']:.2f}, {few['accuracy_max']:.2f}]",
                fixed(few["certified_0.2"], 1),
                up(few["lipschitz_upper"], 6),
            ]
            for (constraint, name, depth), few in rows.items()
            if constraint == "orthogonal, few"
        ],
    )


def _cells(row: Row) -> list[str]:
    return [
        fixed(row["published"], 2),
        f"{row['accuracy']:.2f} [{row['accuracy_min']:.2f}, {row['accuracy_max']:.2f}]",
        " / ".join(f"{row[f'certified_{radius}']:.1f}" for radius in RADII),
        up(row["lipschitz_upper"], 6),
        down(row["largest_gradient"], 3),
        f"{row['seconds_per_epoch']:.2f}, {100 * row['constraint_share']:.0f} %",
    ]


def constraint_table(rows: Rows) -> str:
    """Both constraints side by side, where both are recorded."""
    heading = ["", "layers", "accuracy, projection / orthogonal", "certified at 0.2", "at 0.3"]
    lines = []
    for name in ARCHITECTURES:
        for depth in map(str, DEPTHS):
            both = [rows.get((way, name, depth)) for way in ("projection", "orthogonal")]
            if None not in both:
                lines.append([TITLES[name], depth, *_pairs([row for row in both if row])])
    return table([*heading, "time on the constraint"], lines)


def _pairs(both: list[Row]) -> list[str]:
    shares = " / ".join(f"{100 * row['constraint_share']:.0f}" for row in both)
    accuracy, *certified = (
        " / ".join(f"{row[key]:.{digits}f}" for row in both)
        for key, digits in (("accuracy", 2), ("certified_0.2", 1), ("certified_0.3", 1))
    )
    return [accuracy, *certified, f"{shares} %"]


BENCHMARK = Benchmark(
    "two_moons",
    __doc__,
    tables={
        "two-moons": moons_table,
        "two-moons-constraint": constraint_table,
        "two-moons-few": few_table,
    },
    selecting=("depths", "architectures", "constraint", "draws", "few"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, choices=DEPTHS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the state")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--draws", type=int, default=0, help="of new data")
    parser.add_argument("--few", action="store_true", help="train on 800 points, test on 3200")
    parser.add_argument(
        "--architectures", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES)
    )
    parser.add_argument("--temperature", type=float, default=15.0)
    parser.add_argument("--constraint", choices=("orthogonal", "projection"), default="orthogonal")
    options = parser.parse_args()
    fit = Fit(epochs=options.epochs, temperature=options.temperature, constraint=options.constraint)
    fixed_settings = {"batch": fit.batch, "rate": fit.rate, "data_seed": 0}
    recording = BENCHMARK.start(options, **fixed_settings)
    for name in options.architectures:
        for depth in options.depths:
            kind = options.constraint + (", few" if options.few else "")
            recording.add(kind, name, str(depth), row=cell(name, depth, fit, options))
    if options.constraint == "orthogonal" and not options.few:
        moons = two_moons(seed=0)
        networks = {name: trained(name, options.width, 8, fit, moons) for name in ARCHITECTURES}
        print("wrote", draw(networks, moons, recording.figure("two_moons.png")))
    recording.close()


def cell(name: str, depth: int, fit: Fit, options: argparse.Namespace) -> Row:
    """One architecture at one depth."""
    held_out = MANY_HELD_OUT if options.few else HELD_OUT
    # As many steps of the optimiser, whatever the number of points.
    fit = replace(fit, epochs=fit.epochs * (COUNT - HELD_OUT) // (COUNT - held_out))
    fits = [replace(fit, seed=seed) for seed in range(options.seeds)]
    moons = two_moons(COUNT, held_out, seed=0)
    row = summary([run(name, options.width, depth, one, moons) for one in fits])
    draws = [
        run(name, options.width, depth, fit, two_moons(seed=seed))["accuracy"]
        for seed in range(1, options.draws + 1)
    ]
    return row | new_data(draws) | {"published": PUBLISHED[name][depth]}


if __name__ == "__main__":
    main()
