"""What limits a guided denoiser: every variant trained for the same few steps from the plain weights.

    PNP_LIP_DATA=... python -m benchmarks.guided_study FOLDER --restored CROPS

The first row is the shipped configuration, cut short; each other row changes one thing. Runs lie in
``FOLDER``, and one that was cut is continued. All are judged on validation images alone: denoising on
parts of 320 x 320 pixels, and deblurring (first Levin kernel, noise 0.01, strength 0.8) of some parts of
256 x 256. The first row is there with several seeds: smaller differences than between them say nothing.
Seconds are processor time of a step, of one thread.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.guided_control import deblurring, restoration
from benchmarks.harness import Benchmark
from benchmarks.images import validation_images
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from benchmarks.short_training import short_run, training_parser
from pnp_lip.training import GuidedConfig, GuidedTraining, validation_psnr

LEVELS, NOISE, STRENGTH = (5, 15, 25, 50), 0.01, 0.8
#: Learning rates of a frozen second stage.
_FROZEN: dict[str, Any] = {"weight_rate": 0.0, "threshold_rate": 0.0, "share_rate": 0.0}
ROWS: dict[str, dict[str, Any]] = {
    "64 channels, 5 blocks, |g| < 2": {},
    "the same, seed 1": {"seed": 1},
    "filters and thresholds frozen": _FROZEN,
    "no restored crops": {"restored_share": 0.0},
    "|g| < 1": {"mask_limit": 1.0},
    "|g| < 4": {"mask_limit": 4.0},
    "32 channels": {"mask_channels": 32},
    "96 channels": {"mask_channels": 96},
    "2 blocks": {"mask_blocks": 2},
    "8 blocks": {"mask_blocks": 8},
}


def configuration(name: str, options: argparse.Namespace) -> GuidedConfig:
    """Of a row."""
    own = {"validation_images": 1, "evaluate_every": options.steps, "ema": 0.98}
    return short_run(options, **own | ROWS[name])


def study_row(name: str, options: argparse.Namespace) -> Row:
    """Train and judge."""
    config = configuration(name, options)
    folder = options.folder / "".join(c if c.isalnum() else "_" for c in name)
    training, seconds = GuidedTraining(config, folder), []
    start = time.process_time()
    for _ in training.run():
        seconds.append(time.process_time() - start)
        start = time.process_time()
    guided = training.average
    images = validation_images(1, 320, options.images)
    row: Row = {f"psnr_{s}": validation_psnr(guided, images, s / 255) for s in LEVELS}
    parts = validation_images(1, 256, options.deblur)
    row["deblurring"] = deblurring(restoration(guided), parts, NOISE, STRENGTH)
    row["mask_parameters"] = sum(p.numel() for p in guided.mask.parameters())
    if seconds:
        row["seconds_a_step"] = sorted(seconds)[len(seconds) // 2]
    row["configuration"] = asdict(config) | {"restored": Path(config.restored).name}
    row["averagedness"] = training.curve[-1]["averagedness"]
    return row


def study_table(rows: Rows) -> str:
    """A line for each variant."""
    heading = ["", "parameters of the mask", *(f"σ = {level}" for level in LEVELS)]
    lines = []
    for (name,), row in rows.items():
        cells = [fixed(row[f"psnr_{level}"], 3) for level in LEVELS]
        cells += [fixed(row["deblurring"], 3), fixed(row.get("seconds_a_step"), 2)]
        lines.append([name.replace("|", "\\|"), str(row["mask_parameters"]), *cells])
    return table([*heading, "deblurring", "s a step"], lines)


BENCHMARK = Benchmark(
    "guided_study",
    __doc__ or "",
    tables={"guided-study": study_table},
    selecting=("folder", "rows"),
)


def main() -> None:
    parser = training_parser(BENCHMARK, list(ROWS), steps=300, deblur=2)
    parser.add_argument("--images", type=int, default=4, help="to denoise")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, noise=NOISE, strength=STRENGTH)
    for name in options.rows:
        recording.add(name, row=study_row(name, options))
    recording.close()


if __name__ == "__main__":
    main()
