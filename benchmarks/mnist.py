"""MNIST with networks of fixed width: each accuracy with its certificate and its attack.

    python -m benchmarks.mnist                     # the recorded table
    python -m benchmarks.mnist --cells 50x5 100x5  # some cells, merged into it
    python -m benchmarks.mnist --validate          # on the last 5000 training images, not recorded

One row for each width and depth: test accuracy, the proved Lipschitz constant of every logit from
pixels on, certified accuracy at Euclidean radii in pixel units ([0, 1]), accuracy on the first 1000
test images under an attack within the same radii, and processor seconds per epoch. Parameters were
chosen on the held-out part of the training set. Published: Murari, Furuya, Schönlieb (2025).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Benchmark, Recording, timed
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip.data.mnist import Mnist, load_mnist, shifted
from pnp_lip.networks import (
    Fit,
    FixedWidthNetwork,
    attacked_accuracy,
    certified_accuracy,
    prove_outputs,
    train,
)

RADII = (0.3, 0.5, 1.0, 1.58)
ATTACKED = 1000
HELD_OUT = 5000
PUBLISHED = {
    (50, 5): 97.85, (50, 10): 97.67, (50, 20): 97.82,
    (100, 5): 97.94, (100, 10): 97.70, (100, 20): 97.58,
    (200, 5): 97.68, (200, 10): 97.77, (200, 20): 97.89,
}  # fmt: skip
CELLS = {f"{width}x{depth}": (width, depth) for width, depth in PUBLISHED}

#: The certified share of inputs, from logits ``[B, K]``, labels ``[B]`` and a radius.
Certified = Callable[[Tensor, Tensor, float], float]


def measured(
    model: nn.Module,
    digits: Mnist,
    certified: Certified,
    guide: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Accuracy and certified accuracy on the test images, both sides on the attacked ones, in %.

    ``guide`` is what the attack climbs, by default ``model``.
    """
    with torch.no_grad():
        logits = torch.cat([model(part) for part in digits.test_images.split(1000)])
    right = logits.argmax(1) == digits.test_labels
    row = {"accuracy": 100 * float(right.double().mean())}
    some, labels = digits.test_images[:ATTACKED], digits.test_labels[:ATTACKED]
    for radius in RADII:
        row[f"certified_{radius}"] = 100 * certified(logits, digits.test_labels, radius)
        row[f"attacked_{radius}"] = 100 * attacked_accuracy(
            model, some, labels, radius, guide=guide
        )
        row[f"same_certified_{radius}"] = 100 * certified(logits[:ATTACKED], labels, radius)
    return row


def run(width: int, depth: int, digits: Mnist, fit: Fit) -> dict[str, Any]:
    """Train one network and measure it."""
    torch.manual_seed(fit.seed)
    # Few rows of W: a square one folds every direction at the start, which deep networks unlearn slowly.
    network = FixedWidthNetwork(28 * 28, width, depth, outputs=10, hidden=width // 4)
    model = nn.Sequential(nn.Flatten(), network)
    # Deep networks are more sensitive to a step of all their weights, so they take shorter ones.
    fit = replace(fit, rate=fit.rate * min(1.0, (8 / depth) ** 0.5))
    seconds, losses = timed(
        lambda: train(model, digits.images, digits.labels, fit, augment=shifted)
    )
    statement = prove_outputs(network)

    def certified(logits: Tensor, labels: Tensor, radius: float) -> float:
        return certified_accuracy(logits, labels, radius, statement)

    row: dict[str, Any] = dict(measured(model, digits, certified))
    row |= {"lipschitz_upper": statement.upper, "seconds_per_epoch": seconds / fit.epochs}
    return row | {"loss": losses[-1], "published": PUBLISHED[width, depth], "fit": asdict(fit)}


def certified_and_attacked(row: Row) -> list[str]:
    """Two cells for each radius."""
    return [
        fixed(row[f"{what}_{radius}"], 1) for radius in RADII for what in ("certified", "attacked")
    ]


#: The columns of :func:`certified_and_attacked`.
HEADING = [text for radius in RADII for text in (f"certified at {radius}", "attacked")]


def mnist_table(rows: Rows) -> str:
    """A line for each width and depth."""
    return table(
        ["width x depth", "published", "accuracy", *HEADING],
        [
            [
                name.replace("x", " x "),
                fixed(row["published"], 2),
                fixed(row["accuracy"], 2),
                *certified_and_attacked(row),
            ]
            for name, row in ((name, rows[(name,)]) for name in CELLS if (name,) in rows)
        ],
    )


BENCHMARK = Benchmark(
    "mnist", __doc__, tables={"mnist": mnist_table}, selecting=("cells", "validate")
)


def keep(recording: Recording, name: str, row: Row, validate: bool) -> None:
    """Record a row; what was measured on held-out images is only printed."""
    if validate:
        print(name, row, flush=True)
    else:
        recording.add(name, row=row)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true", help="on held-out images")
    options = parser.parse_args()
    recording = BENCHMARK.start(
        options, attacked=ATTACKED, norm="mixed", augmentation="shifts by 1"
    )
    fit = Fit(options.epochs, 256, options.rate, options.temperature, seed=options.seed)
    digits = load_mnist()
    digits = digits.hold_out(HELD_OUT) if options.validate else digits
    for name in options.cells:
        keep(recording, name, run(*CELLS[name], digits, fit), options.validate)
    recording.close()


if __name__ == "__main__":
    main()
