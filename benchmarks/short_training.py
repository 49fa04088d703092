"""Short trainings of guided denoisers: arguments and configuration that benchmarks of them share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark
from pnp_lip.training import GuidedConfig

__all__ = ["short_run", "training_parser"]


def training_parser(
    benchmark: Benchmark, names: Sequence[str], *, steps: int, deblur: int
) -> argparse.ArgumentParser:
    """Where the runs lie, how long they are, which rows are measured, and on how many images.

    Parameters
    ----------
    benchmark
        whose parser it is.
    names
        of the rows.
    steps, deblur
        the defaults.
    """
    parser = benchmark.parser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="of the training runs")
    parser.add_argument("--restored", type=Path, default=Path("restored_grey.safetensors"))
    parser.add_argument("--steps", type=int, default=steps, help="of every run")
    parser.add_argument("--deblur", type=int, default=deblur, help="images to deblur")
    parser.add_argument("--rows", nargs="+", default=list(names), choices=names)
    return parser


def short_run(options: argparse.Namespace, **own: Any) -> GuidedConfig:
    """From the plain grey weights, filters fixed for a fifth of the steps.

    Parameters
    ----------
    options
        of :func:`training_parser`.
    own
        further keys of the configuration.
    """
    shared: dict[str, Any] = {
        "in_channels": 1,
        "steps": options.steps,
        "unfreeze": options.steps // 5,
        "weight_rate": 3e-4,
        "threshold_rate": 2e-3,
        "share_rate": 1e-2,
        "precision": "bfloat16",
        "restored": str(options.restored),
    }
    return GuidedConfig(**shared | own)
