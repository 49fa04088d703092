"""Two ways to hold the constraint in training, on the same network, data and noise.

    PNP_LIP_DATA=... python -m benchmarks.constraint

*Projection*: the stored filters are scaled back after every optimiser step. *Parametrisation*: free
filters are divided by their norm in every forward pass. A third row trains without any constraint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.harness import Benchmark, timed
from benchmarks.images import validation_images
from benchmarks.markdown import fixed, table
from benchmarks.record import Rows
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.constraints import hold
from pnp_lip.data.patches import Photographs
from pnp_lip.norms import grid_norm
from pnp_lip.rounding import format_up
from pnp_lip.training import noise_weight, validation_psnr

AVERAGEDNESS = 0.9
WAYS = ("projection", "parametrisation", "none")


class Normalised(nn.Module):
    """``W = V min(1, limit/|V|)`` with the derivative of the norm."""

    def forward(self, weight: Tensor) -> Tensor:
        limit = (2 * AVERAGEDNESS) ** 0.5 * (1 - 1e-6)
        return weight * (limit / grid_norm(weight, points=64)).clamp(max=1.0)


def train(how: str, steps: int, rate: float, scale: float) -> dict[str, float | str]:
    """Train for ``steps`` and return quality, bound and time."""
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, pretrained=None)
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters():
            if name.endswith("weight"):
                parameter.mul_(scale)
    if how == "parametrisation":
        for layer in denoiser.layers:
            parametrize.register_parametrization(layer, "weight", Normalised())
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in denoiser.named_parameters():
        groups["weight" in name].append(parameter)
    optimizer = torch.optim.Adam(
        [{"params": groups[True], "lr": rate}, {"params": groups[False], "lr": 3e-3}],
        betas=(0.9, 0.99),
    )
    if how == "projection":
        hold(denoiser, optimizer, averagedness=AVERAGEDNESS)
    seconds, _ = timed(lambda: loop(denoiser, optimizer, steps))
    for layer in denoiser.layers:
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    images = validation_images(1, side=200, count=8)
    return {
        "psnr_25": validation_psnr(denoiser, images, 25 / 255),
        "lipschitz_upper": prove(denoiser).upper,
        "seconds_per_step": seconds / steps,
    }


def loop(denoiser: LipschitzDenoiser, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """``steps`` steps on patches with noise of random levels."""
    photographs = Photographs(("bsds500/train",), 1, 64)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        clean = photographs.patches(4, generator)
        sigma = 50 / 255 * torch.rand(4, generator=generator)
        noisy = clean + sigma[:, None, None, None] * torch.randn(clean.shape, generator=generator)
        error = (denoiser(noisy, sigma) - clean).square().mean((1, 2, 3))
        optimizer.zero_grad()
        (noise_weight(sigma) * error).mean().backward()
        optimizer.step()


def constraint_table(rows: Rows) -> str:
    """A line for each way."""
    return table(
        ["", "PSNR at σ = 25", "Lip ≤", "time of a step, ratio"],
        [
            [
                how,
                fixed(row["psnr_25"], 2),
                format_up(row["lipschitz_upper"], 4),
                fixed(row["seconds_per_step"] / rows[(WAYS[-1],)]["seconds_per_step"], 3),
            ]
            for (how,), row in rows.items()
        ],
    )


BENCHMARK = Benchmark("constraint", __doc__, tables={"constraint": constraint_table})


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=5e-4, help="of the filters")
    parser.add_argument("--scale", type=float, default=1.0, help="of the filters at the start")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for how in WAYS:
        recording.add(how, row=train(how, options.steps, options.rate, options.scale))
    recording.close()


if __name__ == "__main__":
    main()
