"""Norms of layers: false certificates, tightness and time, and other methods on the same kernels.

    python -m benchmarks.layer_norms                                   # everything
    python -m benchmarks.layer_norms --parts tightness "side by side"  # some of it

The false certificates take about half an hour on one thread, the rest two minutes. The
methods beside ours are those of :mod:`benchmarks.norm_methods`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import fixed, seconds, table
from benchmarks.norm_kernels import FAMILIES, ball_norm, dense_norm, family_kernel
from benchmarks.norm_methods import methods
from benchmarks.record import Key, Row, Rows
from pnp_lip.checker.layer import CertificateRejected, check_layer
from pnp_lip.layers.filters import colour_dct_filters, dct_filters
from pnp_lip.norms import convolution_norm, matrix_norm, prove_below

SEED = 0
DEFICITS = (1e-3, 1e-6, 1e-9)
#: Keys and rows of one part, as they are measured.
Measured = Iterator[tuple[Key, Row]]


def false_certificates(attempts: int) -> Measured:
    """Attempts to prove a target below an attained norm: how many succeeded."""
    generator = torch.Generator().manual_seed(SEED)
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
        yield (
            (family,),
            {
                "attempts": tried,
                "false certificates": wrong,
                "bounds below an attained norm": unverified,
                "seconds": time.perf_counter() - begin,
            },
        )


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


def tightness() -> Measured:
    """``upper / lower - 1``, cells and seconds per layer; the second run is timed."""
    convolution_norm(torch.randn(4, 4, 3, 3))
    for name, weights, layer in layers():
        begin = time.perf_counter()
        bounds = [
            matrix_norm(w, **layer) if w.ndim == 2 else convolution_norm(w, **layer)
            for w in weights
        ]
        spent = time.perf_counter() - begin
        yield (
            (name,),
            {
                "upper / lower - 1": max(b.upper / b.lower - 1 for b in bounds),
                "cells": sum(len(b.cover) for b in bounds if b.cover is not None),
                "seconds": spent,
            },
        )


def checks() -> Measured:
    """Seconds of the independent checker."""
    torch.manual_seed(SEED)
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
        yield (name,), {"verdict": verdict, "seconds": time.perf_counter() - begin}


def side_by_side() -> Measured:
    """Ratio to the true norm, seconds, and whether each bound is above, on the same kernels."""
    torch.manual_seed(SEED)
    kernels = {
        "64 ch 3x3": torch.randn(64, 64, 3, 3),
        "16 ch 5x5": torch.randn(16, 16, 5, 5),
        "48 filters 7x7": torch.randn(48, 1, 7, 7),
    }
    for kernel, weight in kernels.items():
        true = convolution_norm(weight, gap=1e-8)
        for name, method in methods().items():
            if kernel == "48 filters 7x7" and name == "orthogonium, zero padding, 4 steps":
                continue  # takes over a minute
            method(weight)
            begin = time.perf_counter()
            value = float(method(weight))
            spent = time.perf_counter() - begin
            yield (
                (kernel, name),
                {
                    "value / norm": value / true.lower,
                    "above": value >= true.lower,
                    "seconds": spent,
                },
            )


def peers_table(rows: Rows) -> str:
    """The methods on one kernel."""
    return table(
        ["64 channels, 3 x 3", "value / true norm", "bound?", "seconds"],
        [
            [
                key[2],
                f"{row['value / norm']:.7g}" if key[2].endswith("1e-6") else _ratio(row),
                "yes" if row["above"] else "**no**",
                seconds(row["seconds"]),
            ]
            for key, row in rows.items()
            if key[:2] == ("side by side", "64 ch 3x3")
        ],
    )


def _ratio(row: Row) -> str:
    return fixed(row["value / norm"], 5)


def attempts_line(rows: Rows) -> str:
    """How often the prover was tempted, and how often it gave in."""
    tried = [row for key, row in rows.items() if key[0] == "false certificates"]
    count = sum(row["attempts"] for row in tried)
    wrong = sum(row["false certificates"] for row in tried)
    return (
        f"{count} attempts to prove a target below the norm (by 1e-3, 1e-6, 1e-9, over random, sign, "
        f"near-orthogonal, scaled, even-sized, grouped and strided kernels) gave {wrong} false "
        f"certificates"
    )


def layer_seconds(rows: Rows, layer: str) -> str:
    """Seconds to prove one layer's norm."""
    return fixed(rows["tightness", layer]["seconds"], 1)


PARTS: dict[str, Callable[[int], Measured]] = {
    "tightness": lambda _: tightness(),
    "side by side": lambda _: side_by_side(),
    "checker": lambda _: checks(),
    "false certificates": false_certificates,
}

BENCHMARK = Benchmark(
    "layer_norms",
    __doc__,
    tables={
        "layer-norms": peers_table,
        "false-certificates": attempts_line,
        "dncnn-seconds": partial(layer_seconds, layer="DnCNN-20, all layers"),
        "wide-layer-seconds": partial(layer_seconds, layer="256 ch 3x3"),
    },
    selecting=("parts", "attempts"),
    packages=("python-flint", "orthogonium", "deel-torchlip"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    recording = BENCHMARK.start(options, seed=SEED)
    for part in options.parts:
        for key, row in PARTS[part](options.attempts):
            recording.add(part, *key, row=row)
    recording.close()


if __name__ == "__main__":
    main()
