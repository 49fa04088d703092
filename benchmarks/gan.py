"""A Wasserstein GAN of digits whose critic is proved 1-Lipschitz, beside one whose critic only seems so.

    python -m benchmarks.gan

The generator, a perceptron from 16 Gaussian numbers to 28 x 28 pixels, learns MNIST. What the critic sees
between real and generated digits, E f(real) - E f(generated), is a lower bound of their Wasserstein-1
distance *if* f is 1-Lipschitz (Kantorovich, Rubinstein).

* *proved*: convolutional gradient steps and a dense network of gradient steps, held by the library, their
  constant proved at the end;
* *spectral_norm*: two strided convolutions and a linear layer, each with torch's ``spectral_norm``, which
  divides the reshaped kernel by an estimate from one step of the power method. The norm of a reshaped
  kernel is not the norm of the convolution.

After training the value is computed on fresh points, beside the exact distance of the same points (a linear
assignment), and both sides of the critic's constant. A value above the exact distance bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import down, fixed, table, up
from benchmarks.record import Row, Rows
from pnp_lip.certifier import certify
from pnp_lip.constraints import hold
from pnp_lip.data import load_mnist
from pnp_lip.layers import ConvGradientStep
from pnp_lip.networks import FreeWidthNetwork

#: Points at which the end is measured, numbers that the generator reads, steps of the critic for one of it.
COUNT, LATENT, RATIO = 1000, 16, 5


def generator(width: int = 256) -> nn.Sequential:
    """Pixels in [0, 1]."""
    return nn.Sequential(
        nn.Linear(LATENT, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 28 * 28),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 28, 28)),
    )


def proved_critic() -> nn.Sequential:
    """Two convolutional steps on 4 x 14 x 14, then a dense network."""
    steps = [ConvGradientStep(torch.randn(16, 4, 3, 3), tau=2.0) for _ in range(2)]
    return nn.Sequential(
        nn.PixelUnshuffle(2), *steps, nn.Flatten(), FreeWidthNetwork(28 * 28, 64, 3, hidden=32)
    )


def spectral_critic() -> nn.Sequential:
    """What the field calls spectrally normalised."""
    layers = [nn.Conv2d(1, 32, 4, 2, 1), nn.Conv2d(32, 64, 4, 2, 1), nn.Linear(64 * 49, 1)]
    first, second, last = (spectral_norm(layer) for layer in layers)
    relu = [nn.LeakyReLU(0.2) for _ in range(2)]
    return nn.Sequential(first, relu[0], second, relu[1], nn.Flatten(), last)


CRITICS: dict[str, Callable[[], nn.Sequential]] = {
    "proved": proved_critic,
    "spectral_norm": spectral_critic,
}


def trained(name: str, digits: Tensor, steps: int, seed: int) -> tuple[nn.Module, nn.Module]:
    """Generator and critic after ``steps`` of the generator."""
    torch.manual_seed(seed)
    drawn = torch.Generator().manual_seed(seed)
    maker, critic = generator(), CRITICS[name]()
    makers = torch.optim.Adam(maker.parameters(), lr=5e-4, betas=(0.5, 0.9))
    free = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    critics = torch.optim.Adam(free, lr=1e-3, betas=(0.5, 0.9))
    if name == "proved":
        hold(critic, critics, constraint="orthogonal", points=16)
    for step in range((RATIO + 1) * steps):
        made = maker(torch.randn(64, LATENT, generator=drawn))
        if step % (RATIO + 1) < RATIO:
            real = digits[torch.randint(len(digits), (64,), generator=drawn)]
            loss = critic(made.detach()).mean() - critic(real).mean()
            critics.zero_grad()
            loss.backward()
            critics.step()
        else:
            makers.zero_grad()
            (-critic(made).mean()).backward()
            makers.step()
    return maker, critic.eval()


def measured(maker: nn.Module, critic: nn.Module, digits: Tensor, seed: int) -> Row:
    """Value and exact distance on fresh points, and both sides of the critic's constant."""
    drawn = torch.Generator().manual_seed(1000 + seed)
    real = digits[torch.randperm(len(digits), generator=drawn)[:COUNT]]
    with torch.no_grad():
        made = maker(torch.randn(COUNT, LATENT, generator=drawn))
        value = float(critic(real).mean() - critic(made).mean())
    costs = torch.cdist(real.flatten(1).double(), made.flatten(1).double()).numpy()
    certificate = certify(critic, images=real[:2])
    return {
        "value": value,
        "exact": float(costs[linear_sum_assignment(costs)].mean()),
        "lipschitz_upper": certificate.upper,
        "lipschitz_lower": certificate.lower,
    }


def gan_table(rows: Rows) -> str:
    """A line for each critic."""
    return table(
        ["critic", "its value", "exact W₁ of the same points", "Lip ≤", "Lip ≥"],
        [
            [
                name,
                fixed(row["value"], 3),
                fixed(row["exact"], 3),
                up(row["lipschitz_upper"], 3),
                down(row["lipschitz_lower"], 3),
            ]
            for (name,), row in rows.items()
        ],
    )


BENCHMARK = Benchmark("gan", __doc__, tables={"gan": gan_table})


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--steps", type=int, default=600, help="of the generator")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recording = BENCHMARK.start(options, points=COUNT)
    digits = load_mnist()
    for name in CRITICS:
        seconds, (maker, critic) = timed(
            lambda: trained(name, digits.images, options.steps, options.seed)  # noqa: B023
        )
        row = measured(maker, critic, digits.test_images, options.seed)
        recording.add(name, row=row | {"seconds": seconds})
    recording.close()


if __name__ == "__main__":
    main()
