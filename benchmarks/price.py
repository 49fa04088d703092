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

import argparse
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.record import record
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier.witness import power_witness
from pnp_lip.constraints import FactoredFilters
from pnp_lip.data.patches import Photographs, read_folder
from pnp_lip.denoisers.lipschitz import KNOTS
from pnp_lip.layers import Activation, ConvGradientStep, NoiseClip
from pnp_lip.training import TrainingConfig, validation_psnr
from pnp_lip.training.batches import Batches

_LEVEL = 25.0
_SIZES = {"depth": 4, "nf": 32, "kernel_size": 9}
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
    factors = FactoredFilters(model, middle=8)
    thresholds = [p for n, p in model.named_parameters() if n.endswith("factors")]
    shares = [p for n, p in model.named_parameters() if n.endswith(("logits", "share"))]
    groups = [
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
    generator = torch.Generator().manual_seed(0)
    clean = image[None, :, :128, :128].double() / 255
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    double = model.double()
    level = _LEVEL / 255
    witness = power_witness(lambda z: double(z, level), clean + level * noise, 1e-4, steps=40)
    model.float()
    return witness.gain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800, help="of every row")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    images = [image[:, :256, :256] for image in read_folder("bsds500/val32", 1)]
    rows: list[dict[str, Any]] = []
    for bound in _BOUNDS:
        torch.manual_seed(0)
        model = train(bound, steps)
        quality = validation_psnr(model, images, _LEVEL / 255)
        gain = measured_gain(model, images[0])
        rows.append({"bound": bound, "psnr_25": quality, "gain": gain})
        print(f"Lip <= {bound:<5} {quality:6.2f} dB  largest gain found {gain:.4f}", flush=True)
        record("price", {"rows": rows}, steps=steps, sigma=_LEVEL, images=len(images), **_SIZES)


if __name__ == "__main__":
    main()
