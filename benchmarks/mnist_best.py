"""MNIST with the largest certified radii: nonexpansive features before learned prototypes.

    python -m benchmarks.mnist_best                      # the recorded rows
    python -m benchmarks.mnist_best --models dense       # one of them, merged into the record
    python -m benchmarks.mnist_best --validate --epochs 2

One row for each network: accuracy on the test images, the constant proved from pixels to logits, in
the sum norm of the logits, certified accuracy at Euclidean radii in pixel units ([0, 1]), and
accuracy on the first 1000 test images under an attack within the same radii. The features are
gradient steps, dense, or convolutional before a dense one, the logits those of
:class:`pnp_lip.networks.NearestPrototype`, or their mean over several such networks. Training
enlarges the distance to the boundary up to a margin. Parameters were chosen on the last 5000 training
images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import fixed, table
from benchmarks.mnist import (
    ATTACKED,
    HEADING,
    HELD_OUT,
    certified_and_attacked,
    keep,
    measured,
)
from benchmarks.record import Row, Rows
from pnp_lip.certifier import prove
from pnp_lip.constraints import hold, project
from pnp_lip.data.mnist import Mnist, load_mnist, warped
from pnp_lip.layers import ConvGradientStep, GradientStep
from pnp_lip.networks import Committee, NearestPrototype, certified_accuracy

#: Of the grid on which the norms of convolutions are bounded during training.
POINTS = 16

#: Features and the prototypes after them.
Member = tuple[nn.Sequential, NearestPrototype]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    members
        of the committee, alike but for their seeds.
    prototypes
        for each class.
    epochs, batch
        passes over the data, examples a step.
    margin
        distance to the boundary, in pixel units, above which there is nothing to gain.
    right
        extra weight of being right at all, by a distance of 0.5.
    warp
        strength of the random affine maps of training images.
    rate, feature_rate
        largest learning rates, of the prototypes and of the features.
    seed
        of everything random in the first member.
    """

    prototypes: int
    epochs: int
    margin: float
    right: float = 0.0
    warp: float = 0.0
    batch: int = 256
    rate: float = 3e-3
    feature_rate: float = 1e-3
    members: int = 1
    seed: int = 0


def dense_features() -> nn.Sequential:
    """Two gradient steps on the pixels; their biases let the identity through at the start."""
    steps = [GradientStep(28 * 28, 256, tau=2.0) for _ in range(2)]
    return nn.Sequential(nn.Flatten(), *(_quiet(step) for step in steps))


def convolutional_features() -> nn.Sequential:
    """Three convolutional steps on 16 x 7 x 7, then a fully connected one."""
    steps = [_quiet(ConvGradientStep(torch.randn(32, 16, 3, 3), tau=2.0)) for _ in range(3)]
    last = _quiet(GradientStep(28 * 28, 256, tau=2.0))
    return nn.Sequential(nn.PixelUnshuffle(4), *steps, nn.Flatten(), last)


FEATURES: dict[str, Callable[[], nn.Sequential]] = {
    "dense": dense_features,
    "convolutional": convolutional_features,
}
RECIPES = {
    "dense": Recipe(prototypes=200, epochs=20, margin=2.2, right=1.0, warp=0.08),
    "convolutional": Recipe(
        prototypes=350, epochs=40, margin=2.1, right=3.0, warp=0.1, feature_rate=3e-3, members=3
    ),
}


@torch.no_grad()
def _quiet(step: GradientStep | ConvGradientStep) -> nn.Module:
    assert step.bias is not None
    step.bias.fill_(-0.3)
    return step


@torch.no_grad()
def class_centres(features: nn.Module, digits: Mnist, count: int, seed: int) -> Tensor:
    """Centres of clusters of every class, of the first 40 000 images, ``[10, count, features]``."""
    z = torch.cat([features(part) for part in digits.images[:40000].split(1000)]).numpy()
    labels = digits.labels[:40000].numpy()
    rng = np.random.default_rng(seed)
    centres = [kmeans2(z[labels == c], count, 5, minit="points", seed=rng)[0] for c in range(10)]
    return torch.from_numpy(np.stack(centres))


def train(features: nn.Module, digits: Mnist, recipe: Recipe) -> NearestPrototype:
    """Train ``features`` in place, and the prototypes that are returned."""
    project(features, constraint="orthogonal", points=POINTS)
    head = NearestPrototype(class_centres(features, digits, recipe.prototypes, recipe.seed))
    groups = [
        {"params": head.parameters(), "lr": recipe.rate},
        {
            "params": [p for p in features.parameters() if p.requires_grad],
            "lr": recipe.feature_rate,
        },
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    hold(features, optimizer, constraint="orthogonal", points=POINTS)
    steps = recipe.epochs * -(-len(digits.images) // recipe.batch)
    rates = [recipe.rate, recipe.feature_rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(recipe.seed)
    for epoch in range(recipe.epochs):
        total = 0.0
        for part in torch.randperm(len(digits.images), generator=generator).split(recipe.batch):
            x = digits.images[part]
            x = warped(x, generator, recipe.warp)
            margin = head.training_margin(features(x), digits.labels[part])
            loss = functional.relu(recipe.margin - margin).mean()
            loss = loss + recipe.right * functional.relu(0.5 - margin).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        print(f"epoch {epoch + 1}: loss {total / len(digits.images):.4f}", flush=True)
    return head


def train_members(name: str, digits: Mnist, recipe: Recipe) -> list[Member]:
    """The networks of a recipe, alike but for their seeds."""
    members = []
    for index in range(recipe.members):
        own = replace(recipe, seed=recipe.seed + index)
        torch.manual_seed(own.seed)
        features = FEATURES[name]()
        members.append((features, train(features, digits, own)))
    return members


def run(name: str, digits: Mnist, recipe: Recipe) -> Row:
    """Train the networks of a recipe and measure their mean."""
    seconds, members = timed(lambda: train_members(name, digits, recipe))
    model = Committee([nn.Sequential(*member) for member in members]).eval()
    statement = prove(model, gap=1e-6)

    def scores(x: Tensor) -> Tensor:
        """Of one member the same prediction as the logits, and fast; steep where those are flat."""
        return sum((head.class_scores(features(x)) for features, head in members), torch.zeros(1))

    def certified(logits: Tensor, labels: Tensor, radius: float) -> float:
        return certified_accuracy(logits, labels, radius, statement)

    row: Row = dict(measured(model, digits, certified, scores))
    row |= {"lipschitz_upper": statement.upper, "seconds": seconds, "recipe": asdict(recipe)}
    return row | {"parameters": sum(p.numel() for p in model.parameters())}


#: What documents call the rows.
TITLES = {
    "dense": "two dense gradient steps, 200 prototypes a class",
    "convolutional": "committee of three: three convolutional gradient steps and a dense one, "
    "350 prototypes a class",
}


def best_table(rows: Rows) -> str:
    """A line for each network."""
    return table(
        ["", "accuracy", *HEADING],
        [
            [title, fixed(rows[(name,)]["accuracy"], 2), *certified_and_attacked(rows[(name,)])]
            for name, title in TITLES.items()
            if (name,) in rows
        ],
    )


BENCHMARK = Benchmark(
    "mnist_best", __doc__, tables={"mnist-best": best_table}, selecting=("models", "validate")
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--models", nargs="+", default=list(FEATURES), choices=list(FEATURES))
    parser.add_argument("--epochs", type=int, help="instead of those of the recipe")
    parser.add_argument("--validate", action="store_true", help="on held-out images")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, attacked=ATTACKED, norm="l1")
    digits = load_mnist()
    digits = digits.hold_out(HELD_OUT) if options.validate else digits
    for name in options.models:
        recipe = RECIPES[name]
        recipe = replace(recipe, epochs=options.epochs) if options.epochs else recipe
        keep(recording, name, run(name, digits, recipe), options.validate)
    recording.close()


if __name__ == "__main__":
    main()
