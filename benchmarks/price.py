"""What nonexpansiveness costs: one architecture, one training, and the constant it may reach grows.

    python -m benchmarks.price

The activations of the gradient steps get slopes in [-r, 1] instead of [0, 1], as in weakly convex
regularisers, so a step whose filters satisfy tau |W|^2 <= 2 expands by at most 1 + 2r, and a network of
``depth`` of them by L = (1 + 2r)^depth. Everything else is the same: filters learned as compositions,
patches, noise at sigma = 25/255, steps. Mean PSNR on the validation images; the gain is the largest
one found on one of them, a lower bound of the constant. Nothing here is shipped, and the certifier
refuses the activation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Benchmark
from benchmarks.images import noisy, validation_images
from benchmarks.markdown import down, fixed, table
from benchmarks.record import Rows
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier.witness import power_witness
from pnp_lip.constraints import FactoredFilters
from pnp_lip.data.patches import Photographs
from pnp_lip.denoisers.lipschitz import KNOTS
from pnp_lip.layers import Activation, ConvGradientStep, NoiseClip
from pnp_lip.training import TrainingConfig, validation_psnr
from pnp_lip.training.batches import Batches

_LEVEL = 25.0
_SIZES: dict[str, Any] = {"depth": 4, "nf": 32, "kernel_size": 9}
#: Logit of the share that is turned back at the start.
_SHARE = -3.0
#: The last one lets the slope reach -1.
_BOUNDS = (1.0, 1.25, 2.0, 8.0, 81.0)


class Expansive(Activation):
    """A mixture of clips less a share of at most ``slope`` of another clip, which turns large
    responses back: slope in [-slope, 1]."""

    def __init__(self, clips: NoiseClip, slope: float) -> None:
        super().__init__()
        largest = 3 * float(clips.factors.detach().max())
        self.clips, self.slope = clips, slope
        self.back = NoiseClip(clips.factors.shape[-1], KNOTS, (largest,))
        self.share = nn.Parameter(torch.full((clips.factors.shape[-1],), _SHARE))

    def forward(self, t: Tensor, sigma: Tensor | None = None) -> Tensor:
        share = self.slope * torch.sigmoid(self.share)[:, None, None]
        return self.clips(t, sigma) - share * self.back(t, sigma)


def train(bound: float, steps: int) -> LipschitzDenoiser:
    """A network whose constant is at most ``bound``."""
    config = TrainingConfig(
        **_SIZES, steps=steps, weight_rate=1.5e-3, noise_levels=(_LEVEL, _LEVEL), seed=0
    )
    model = LipschitzDenoiser(1, **_SIZES, pretrained=None)
    slope = (bound ** (1 / config.depth) - 1) / 2
    for layer in model.layers:
        assert isinstance(layer, ConvGradientStep)
        assert isinstance(layer.activation, NoiseClip)
        layer.activation = Expansive(layer.activation, slope)
    factors = FactoredFilters(model, inner_channels=8)
    thresholds = [p for n, p in model.named_parameters() if n.endswith("factors")]
    shares = [p for n, p in model.named_parameters() if n.endswith(("logits", "share"))]
    groups: list[dict[str, Any]] = [
        {"params": list(factors.parameters()), "lr": config.weight_rate},
        {"params": thresholds, "lr": config.threshold_rate},
        {"params": shares, "lr": config.share_rate},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    factors.hold(optimizer, averagedness=config.averagedness)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], steps, pct_start=0.1, cycle_momentum=False
    )
    photographs = Photographs(config.train, 1, config.patch, torch.device("cpu"))
    batches = Batches(config, photographs, torch.device("cpu"))
    for step in range(steps):
        batch = batches.at(step)
        loss = (model(batch.noisy, batch.sigma) - batch.clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        factors.pull_back()
        optimizer.step()
        schedule.step()
    return model.eval()


def measured_gain(model: LipschitzDenoiser, image: Tensor) -> float:
    """The largest expansion found at a noisy image."""
    level = _LEVEL / 255
    y = noisy(image[None, :, :128, :128].double() / 255, level)
    double = model.double()
    witness = power_witness(lambda z: double(z, level), y, 1e-4, steps=40)
    model.float()
    return witness.gain


def price_table(rows: Rows) -> str:
    """A line for each constant."""
    return table(
        ["L", "PSNR", "largest gain found"],
        [[bound, fixed(row["psnr_25"], 2), down(row["gain"], 3)] for (bound,), row in rows.items()],
    )


def price_gain(rows: Rows) -> str:
    """What the largest constant gains."""
    values = [row["psnr_25"] for row in rows.values()]
    return fixed(values[-1] - values[0], 2)


BENCHMARK = Benchmark(
    "price",
    __doc__,
    tables={"price": price_table, "price-gain": price_gain},
    selecting=("bounds",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--steps", type=int, default=800, help="of every row")
    parser.add_argument("--bounds", type=float, nargs="+", default=_BOUNDS)
    parser.add_argument("--images", type=int, default=32, help="of the validation images")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, sigma=_LEVEL, **_SIZES)
    images = validation_images(1, count=options.images)
    for bound in options.bounds:
        torch.manual_seed(0)
        model = train(bound, options.steps)
        quality = validation_psnr(model, images, _LEVEL / 255)
        gain = measured_gain(model, images[0])
        recording.add(f"{bound:g}", row={"bound": bound, "psnr_25": quality, "gain": gain})
    recording.close()


if __name__ == "__main__":
    main()
