"""Two ways to hold the constraint in training, on the same network, data and noise.

    PNP_LIP_DATA=... python -m benchmarks.constraint

*Projection*: the stored filters are scaled back after every optimiser step. *Parametrisation*: free
filters are divided by their norm in every forward pass. A third row trains without any constraint.

    python -m benchmarks.constraint --dense

times four dense gradient steps at several widths and batches instead: the training step without a
constraint, and what holding it adds, by the retraction to orthonormal rows and by the projection
with a singular value decomposition. Least processor time of interleaved repetitions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.record import record
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.constraints import Constraint, hold, project
from pnp_lip.data.patches import Photographs, read_folder
from pnp_lip.layers import GradientStep
from pnp_lip.norms import grid_norm
from pnp_lip.training import noise_weight, validation_psnr

AVERAGEDNESS = 0.9


class Normalised(nn.Module):
    """``W = V min(1, limit/|V|)`` with the derivative of the norm."""

    def forward(self, weight: Tensor) -> Tensor:
        limit = (2 * AVERAGEDNESS) ** 0.5 * (1 - 1e-6)
        return weight * (limit / grid_norm(weight, points=64)).clamp(max=1.0)


def train(how: str, steps: int) -> dict[str, float | str]:
    """Train for ``steps`` and return quality, bound and time."""
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, pretrained=None)
    if how == "parametrisation":
        for layer in denoiser.layers:
            parametrize.register_parametrization(layer, "weight", Normalised())
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in denoiser.named_parameters():
        groups["weight" in name].append(parameter)
    optimizer = torch.optim.Adam(
        [{"params": groups[True], "lr": 5e-4}, {"params": groups[False], "lr": 3e-3}],
        betas=(0.9, 0.99),
    )
    if how == "projection":
        hold(denoiser, optimizer, averagedness=AVERAGEDNESS)
    seconds = loop(denoiser, optimizer, steps)
    for layer in denoiser.layers:
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    images = [image[:, :200, :200] for image in read_folder("bsds500/val32", 1)[:8]]
    return {
        "psnr_25": validation_psnr(denoiser, images, 25 / 255),
        "lipschitz_upper": prove(denoiser).upper,
        "seconds_per_step": seconds / steps,
    }


def loop(denoiser: LipschitzDenoiser, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Processor seconds of ``steps`` steps."""
    photographs = Photographs(("bsds500/train",), 1, 64)
    generator = torch.Generator().manual_seed(0)
    start = time.process_time()
    for _ in range(steps):
        clean = photographs.patches(4, generator)
        sigma = 50 / 255 * torch.rand(4, generator=generator)
        noisy = clean + sigma[:, None, None, None] * torch.randn(clean.shape, generator=generator)
        error = (denoiser(noisy, sigma) - clean).square().mean((1, 2, 3))
        optimizer.zero_grad()
        (noise_weight(sigma) * error).mean().backward()
        optimizer.step()
    return time.process_time() - start


def dense_step(width: int, batch: int) -> tuple[nn.Module, Callable[[], None]]:
    """Four dense gradient steps, and one step of their training without a constraint."""
    torch.manual_seed(0)
    network = nn.Sequential(*(GradientStep(width, width) for _ in range(4)))
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    x, target = torch.randn(batch, width), torch.randn(batch, width)

    def step() -> None:
        optimizer.zero_grad()
        (network(x) - target).square().mean().backward()
        optimizer.step()

    return network, step


def dense(width: int, batch: int, repetitions: int) -> dict[str, float]:
    """Milliseconds of a step and of each way to hold the constraint, with the ratios."""
    times: dict[str, list[float]] = {"none": [], "orthogonal": [], "projection": []}
    ways: tuple[Constraint, ...] = ("orthogonal", "projection")
    networks = {constraint: dense_step(width, batch) for constraint in ways}
    for _ in range(repetitions):
        for constraint, (network, step) in networks.items():
            for name, run in (
                ("none", step),
                (constraint, partial(project, network, constraint=constraint)),
            ):
                start = time.thread_time()
                run()
                times[name].append(1e3 * (time.thread_time() - start))
    least = {name: min(values) for name, values in times.items()}
    ratios = {f"{name}, time ratio": 1 + least[name] / least["none"] for name in ways}
    return {f"{name}, ms": value for name, value in least.items()} | ratios


def dense_layers() -> None:
    """The table of dense layers."""
    results = {}
    for width, batch in ((64, 1024), (128, 1024), (256, 1024), (256, 4096)):
        row = results[f"width {width}, batch {batch}"] = dense(width, batch, 25)
        print(f"width {width}, batch {batch}", {k: round(v, 3) for k, v in row.items()})
    print("wrote", record("constraint_dense", results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--dense", action="store_true", help="time dense layers instead")
    options = parser.parse_args()
    if options.dense:
        dense_layers()
        return
    results = {how: train(how, options.steps) for how in ("projection", "parametrisation", "none")}
    free = results["none"]["seconds_per_step"]
    print(f"{'constraint':<17} {'PSNR at 25':>10} {'Lip <=':>10} {'time, ratio':>12}")
    for how, row in results.items():
        row["time_ratio"] = float(row["seconds_per_step"]) / float(free)
        print(
            f"{how:<17} {row['psnr_25']:>10.2f} {row['lipschitz_upper']:>10.4g} "
            f"{row['time_ratio']:>12.3f}"
        )
    print("wrote", record("constraint", results, steps=options.steps))


if __name__ == "__main__":
    main()
