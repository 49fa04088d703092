"""Norms of layers: false certificates, tightness and time, and other methods on the same kernels.

    python benchmarks/layer_norms.py                 # everything, about five minutes on one thread
    python benchmarks/layer_norms.py --attempts 500  # a shorter run

Prints three tables and writes ``benchmarks/results/layer_norms.json``. Other packages
(``orthogonium``, ``deel-torchlip``) are measured where they are installed. Formulas taken from
papers: Sedghi, Gupta and Long (ICLR 2019), Araujo et al. (AAAI 2021).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_lip.checker.exact_gram import ExactGram
from pnp_lip.checker.layer import CertificateRejected, check_layer
from pnp_lip.layers.filters import colour_dct_filters, dct_filters
from pnp_lip.norms import convolution_norm, grid_norm, matrix_norm, prove_below

RESULTS = Path(__file__).parent / "results" / "layer_norms.json"
SEED = 0
DEFICITS = (1e-3, 1e-6, 1e-9)
FAMILIES = ("random", "sign", "orthogonal", "1e-6", "1e+6", "even", "grouped", "strided")


def family_kernel(family: str, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
    """One small kernel of a family, and the layer's arguments."""

    def choose(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    sides = (2 * choose(0, 2) + 1, 2 * choose(0, 2) + 1)
    if family == "even":
        sides = (2 * choose(1, 2), 2 * choose(1, 2))
    groups = choose(2, 3) if family == "grouped" else 1
    shape = (groups * choose(1, 4), choose(1, 4), *sides)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator)
    if family == "sign":
        weight = weight.sign()
    if family == "orthogonal":
        weight = F.pad(torch.linalg.qr(weight[..., 0, 0]).Q[..., None, None], [1, 1, 1, 1])
        weight = weight + 1e-4 * torch.randn(weight.shape, dtype=torch.float64, generator=generator)
    if family in ("1e-6", "1e+6"):
        weight = weight * float(family)
    layer: dict[str, Any] = {"groups": groups}
    if family == "strided":
        layer["stride"] = (choose(1, 3), choose(2, 3))
    return weight, layer


def dense_norm(weight: Tensor, n: int, **layer: Any) -> float:
    """The norm of the zero-padded layer on ``n`` x ``n`` images, from its matrix, less rounding."""
    channels = weight.shape[1] * layer["groups"]
    images = torch.eye(channels * n * n, dtype=torch.float64).view(-1, channels, n, n)
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    rows = F.conv2d(images, weight, padding=padding, **layer).flatten(1)
    return torch.linalg.matrix_norm(rows, ord=2).item() * (1 - 1e-12)


def ball_norm(weight: Tensor, witness: tuple[int, ...], **layer: Any) -> float:
    """``sigma_max`` at one frequency from below, in ball arithmetic."""
    gram = ExactGram.of(weight, layer.get("stride", 1), 1, layer["groups"])
    group, *point = witness
    (matrix,) = gram.at(group, [tuple(point)], [44] * len(point))
    return float(gram.rayleigh_quotient(matrix).lower().sqrt().lower()) * (1 - 1e-15)


def false_certificates(attempts: int) -> list[dict[str, Any]]:
    """Attempts to prove a target below an attained norm: how many succeeded."""
    generator = torch.Generator().manual_seed(SEED)
    rows = []
    for family in FAMILIES:
        tried = wrong = unverified = 0
        begin = time.perf_counter()
        while tried < attempts / len(FAMILIES):
            weight, layer = family_kernel(family, generator)
            bound = convolution_norm(weight, gap=1e-6, **layer)
            assert bound.cover is not None
            attained = max(
                ball_norm(weight, bound.cover.witness, **layer), dense_norm(weight, 6, **layer)
            )
            unverified += attained > bound.upper
            for deficit in DEFICITS:
                target = attained * (1 - deficit)
                wrong += prove_below(weight, target, **layer) is not None
                tried += 1
        seconds = time.perf_counter() - begin
        rows.append(
            {
                "family": family,
                "attempts": tried,
                "false certificates": wrong,
                "bounds below an attained norm": unverified,
                "seconds": seconds,
            }
        )
    return rows


def dncnn() -> list[Tensor]:
    """The convolutions of deepinv's DnCNN with 20 layers of 64 channels, at random."""
    from deepinv.models import DnCNN

    torch.manual_seed(SEED)
    model = DnCNN(1, 1, depth=20, nf=64, pretrained=None)
    return [m.weight.detach() for m in model.modules() if isinstance(m, torch.nn.Conv2d)]


def parseval(size: int) -> Tensor:
    """All DCT filters, the mean included: a tight frame."""
    mean = torch.full((1, 1, size, size), 1.0 / size**2)
    return torch.cat([mean, dct_filters(size)])


def layers() -> Iterator[tuple[str, list[Tensor], dict[str, Any]]]:
    """Name, weights and arguments of the layers to time."""
    torch.manual_seed(SEED)
    yield "64 ch 3x3", [torch.randn(64, 64, 3, 3)], {}
    yield "64 ch 3x3, gap 1e-6", [torch.randn(64, 64, 3, 3)], {"gap": 1e-6}
    yield "128 ch 3x3", [torch.randn(128, 128, 3, 3)], {}
    yield "256 ch 3x3", [torch.randn(256, 256, 3, 3)], {}
    yield "64 ch 7x7", [torch.randn(64, 64, 7, 7)], {}
    yield "64 ch 3x3, stride 2", [torch.randn(64, 64, 3, 3)], {"stride": 2}
    yield "64 ch 5x5, depthwise", [torch.randn(64, 1, 5, 5)], {"groups": 64}
    yield "16 ch 3x3x3", [torch.randn(16, 16, 3, 3, 3)], {}
    yield "tight frame 49 of 7x7", [parseval(7)], {}
    yield "tight frame 49 of 7x7, gap 1e-6", [parseval(7)], {"gap": 1e-6}
    yield "zero-mean DCT 48 of 7x7", [dct_filters(7)], {}
    yield "zero-mean DCT 48 of 7x7, gap 1e-6", [dct_filters(7)], {"gap": 1e-6}
    yield "colour DCT 48 of 7x7", [colour_dct_filters(7, 48)], {}
    yield "colour DCT 96 of 7x7", [colour_dct_filters(7, 96)], {}
    yield "DnCNN-20, all layers", dncnn(), {}
    yield "dense 1000 x 784", [torch.randn(1000, 784)], {}


def tightness() -> list[dict[str, Any]]:
    """``upper / lower - 1``, cells and seconds per layer; the second run is timed."""
    convolution_norm(torch.randn(4, 4, 3, 3))
    rows = []
    for name, weights, layer in layers():
        begin = time.perf_counter()
        bounds = [
            matrix_norm(w, **layer) if w.ndim == 2 else convolution_norm(w, **layer)
            for w in weights
        ]
        seconds = time.perf_counter() - begin
        row = {
            "layer": name,
            "upper / lower - 1": max(b.upper / b.lower - 1 for b in bounds),
            "cells": sum(len(b.cover) for b in bounds if b.cover is not None),
            "seconds": seconds,
        }
        rows.append(row)
    return rows


def checks() -> list[dict[str, Any]]:
    """Seconds of the independent checker."""
    torch.manual_seed(SEED)
    rows = []
    for name, weight in (
        ("tight frame 49 of 7x7", parseval(7)),
        ("colour DCT 48 of 7x7", colour_dct_filters(7, 48)),
        ("zero-mean DCT 48 of 7x7", dct_filters(7)),
        ("64 ch 3x3", torch.randn(64, 64, 3, 3)),
    ):
        bound = convolution_norm(weight).to_json()
        begin = time.perf_counter()
        try:
            check_layer(weight, bound)
            verdict = "accepted"
        except CertificateRejected as reason:
            verdict = f"rejected: {reason}"
        rows.append({"layer": name, "verdict": verdict, "seconds": time.perf_counter() - begin})
    return rows


def symbols(weight: Tensor, points: int) -> Tensor:
    """``P`` on a grid: ``[points^2, c_out, c_in]``."""
    return torch.fft.fft2(weight, (points, points)).flatten(2).permute(2, 0, 1)


def sedghi(weight: Tensor) -> float:
    """The exact norm of the circular convolution on 32 x 32 images."""
    return torch.linalg.matrix_norm(symbols(weight, 32), ord=2).max().item()


def lipgrid(weight: Tensor) -> float:
    """``sqrt(sum_i max_grid sum_j |P_ij|^2)`` on 10 x 10 points, the rows as ``i``."""
    energies = symbols(weight, 10).abs().square().sum(2)
    return energies.amax(0).sum().sqrt().item()


def torch_spectral_norm(weight: Tensor) -> float:
    """The number by which torch's ``spectral_norm`` divides, after 100 power iterations."""
    layer = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False)
    layer.weight.data = weight.clone()
    torch.nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=100)
    layer.train()
    return (weight.norm() / layer.weight.norm()).item()


def peers() -> dict[str, Callable[[Tensor], float]]:
    """Every method that is available here, as a function of a kernel."""
    methods: dict[str, Callable[[Tensor], float]] = {
        "pnp_lip, gap 1e-3": lambda w: convolution_norm(w).upper,
        "pnp_lip, gap 1e-6": lambda w: convolution_norm(w, gap=1e-6).upper,
        "pnp_lip grid_norm, N = 32": lambda w: grid_norm(w).item(),
        "torch spectral_norm": torch_spectral_norm,
        "FFT on 32 x 32 (Sedghi)": sedghi,
        "LipGrid (Araujo)": lipgrid,
    }
    try:
        from orthogonium.layers.conv.singular_values import delattre24
    except ImportError:
        print("orthogonium is not installed: left out")
    else:
        methods["orthogonium, circular, n = 32, 6 steps"] = lambda w: float(
            delattre24.compute_delattre2023(w, n=32, n_iter=6)
        )
        for steps in (3, 4):
            methods[f"orthogonium, zero padding, {steps} steps"] = lambda w, n=steps: float(
                delattre24.compute_delattre2024(w, n_iter=n)
            )
    try:
        from deel.torchlip.normalizers import spectral_normalization
        from deel.torchlip.utils.lconv_norm import compute_lconv_coef
    except ImportError:
        print("deel-torchlip is not installed: left out")
    else:

        def torchlip(weight: Tensor) -> float:
            sigma = spectral_normalization(weight.flatten(1), None, eps=1e-9, maxiter=1000)[2]
            return float(sigma) / compute_lconv_coef(tuple(weight.shape[2:]))

        methods["deel-torchlip"] = torchlip
    return methods


def side_by_side() -> list[dict[str, Any]]:
    """Ratio to the true norm, seconds, and whether each bound is above, on the same kernels."""
    torch.manual_seed(SEED)
    kernels = {
        "64 ch 3x3": torch.randn(64, 64, 3, 3),
        "16 ch 5x5": torch.randn(16, 16, 5, 5),
        "48 filters 7x7": torch.randn(48, 1, 7, 7),
    }
    rows = []
    for kernel, weight in kernels.items():
        true = convolution_norm(weight, gap=1e-8)
        for name, method in peers().items():
            if kernel == "48 filters 7x7" and name == "orthogonium, zero padding, 4 steps":
                continue  # takes over a minute
            method(weight)
            begin = time.perf_counter()
            value = float(method(weight))
            seconds = time.perf_counter() - begin
            rows.append(
                {
                    "kernel": kernel,
                    "method": name,
                    "value / norm": value / true.lower,
                    "above": value >= true.lower,
                    "seconds": seconds,
                }
            )
    return rows


def environment() -> dict[str, Any]:
    """What the numbers depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":")[1].strip() if names else cpu
    versions = {}
    for package in ("torch", "numpy", "python-flint", "deepinv", "orthogonium", "deel-torchlip"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
        "seed": SEED,
    }


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows with aligned columns."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}" if value < 1e-2 or value >= 1e3 else f"{value:.4f}"
        return str(value)

    columns = {name: max(len(name), *(len(cell(row[name])) for row in rows)) for name in rows[0]}
    print("  ".join(name.ljust(width) for name, width in columns.items()))
    for row in rows:
        print("  ".join(cell(row[name]).ljust(width) for name, width in columns.items()))
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"environment": environment()}
    for name, measure in (
        ("tightness", tightness),
        ("side by side", side_by_side),
        ("checker", checks),
        ("false certificates", lambda: false_certificates(arguments.attempts)),
    ):
        print(name)
        results[name] = measure()
        table(results[name])
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    total = sum(row["attempts"] for row in results["false certificates"])
    wrong = sum(row["false certificates"] for row in results["false certificates"])
    print(f"{wrong} false certificates in {total} attempts")


if __name__ == "__main__":
    main()
