"""Which architecture denoises best under the constraint: every one trained for the same few steps.

    python -m benchmarks.study

Each row is a :class:`~pnp_lip.LipschitzDenoiser`, named by layers x filters, trained by the library's
own :class:`~pnp_lip.training.Training` on the same patches at sigma = 25/255 and judged by the mean PSNR
on the validation images; nothing is chosen on images that are reported elsewhere. Seconds are
processor time a step, of one thread.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from typing import Any

import torch

from benchmarks.harness import Benchmark
from benchmarks.images import validation_images
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip.training import Training, TrainingConfig, validation_psnr

_LEVEL = 25.0
_BASE: dict[str, Any] = {"depth": 8, "nf": 48, "kernel_size": 7, "averagedness": 0.999}
_FACTORED: dict[str, Any] = {"nf": 32, "kernel_size": 9, "inner_channels": 8, "weight_rate": 1.5e-3}
_ROWS: dict[str, dict[str, Any]] = {
    "8 x 48 7x7": {},
    "8 x 48 7x7, layers averaged by 0.9": {"averagedness": 0.9},
    "8 x 48 7x7, layers firmly nonexpansive": {"averagedness": 0.5},
    "1 x 48 7x7": {"depth": 1},
    "4 x 48 7x7": {"depth": 4},
    "12 x 24 5x5": {"depth": 12, "nf": 24, "kernel_size": 5},
    "5 x 80 9x9": {"depth": 5, "nf": 80, "kernel_size": 9},
    "factored, 1 x 32 9x9": _FACTORED | {"depth": 1},
    "factored, 4 x 32 9x9": _FACTORED | {"depth": 4},
    "factored, 8 x 32 9x9": _FACTORED,
    "factored, 8 x 32 7x7": _FACTORED | {"kernel_size": 7},
    "factored, 4 x 32 13x13": _FACTORED | {"depth": 4, "kernel_size": 13},
}


def study_table(rows: Rows) -> str:
    """A line for each architecture."""
    return table(
        ["", "parameters", "PSNR", "s a step"],
        [
            [
                name,
                str(row["parameters"]),
                fixed(row["psnr_25"], 2),
                fixed(row["seconds_per_step"], 2),
            ]
            for (name,), row in rows.items()
        ],
    )


BENCHMARK = Benchmark("study", __doc__, tables={"study": study_table}, selecting=("rows",))


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--steps", type=int, default=200, help="of every architecture")
    parser.add_argument("--rows", nargs="*", default=list(_ROWS), help="names of the rows to train")
    parser.add_argument("--images", type=int, default=32, help="of the validation images")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, sigma=_LEVEL)
    images = validation_images(1, count=options.images)
    for name in options.rows:
        recording.add(name, row=_train(name, options.steps, images))
    recording.close()


def _train(name: str, steps: int, images: list[torch.Tensor]) -> Row:
    config = replace(
        TrainingConfig(**(_BASE | _ROWS[name])),
        steps=steps,
        evaluate_every=steps,
        validation_images=1,
        noise_levels=(_LEVEL, _LEVEL),
        ema=0.98,
        compile=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config, folder)
        seconds = []
        start = time.process_time()
        for _ in training.run():
            seconds.append(time.process_time() - start)
            start = time.process_time()
        return {
            "psnr_25": validation_psnr(training.average, images, _LEVEL / 255),
            "parameters": sum(p.numel() for p in training.model.parameters() if p.requires_grad),
            "seconds_per_step": sorted(seconds)[len(seconds) // 2],
            "averagedness": training.curve[-1]["averagedness"],
            "sizes": training.model.sizes,
        }


if __name__ == "__main__":
    main()
