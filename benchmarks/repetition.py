"""What steeper potentials gain: every layer of the shipped denoisers repeated, without training.

    python -m benchmarks.repetition

Mean PSNR on the validation images, 256 x 256 of each, the proved constant and averagedness, and
processor seconds an image of one thread. See :meth:`pnp_lip.LipschitzDenoiser.repeated`.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import record
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.data.patches import read_folder
from pnp_lip.training import validation_psnr

LEVELS = (5, 15, 25, 50)
#: How often the layers are repeated; twice are the weights that are shipped as "large".
REPETITIONS = (1, 2, 4)


def run(denoiser: LipschitzDenoiser, images: list[Tensor]) -> dict[str, Any]:
    """PSNR at every level, seconds an image, and what is proved."""
    proved = prove(denoiser)
    start = time.process_time()
    row: dict[str, Any] = {
        f"psnr_{level}": validation_psnr(denoiser, images, level / 255) for level in LEVELS
    }
    row["seconds"] = (time.process_time() - start) / (len(LEVELS) * len(images))
    return row | {"lipschitz_upper": proved.upper, "averagedness": proved.averagedness}


def main() -> None:
    torch.set_num_threads(1)
    table = []
    for name, channels in (("grey", 1), ("colour", 3)):
        images = [image[:, :256, :256] for image in read_folder("bsds500/val32", channels)]
        shipped = LipschitzDenoiser(channels)
        for times in REPETITIONS:
            deeper = shipped.repeated(times)
            row = {"name": name, "times": times, "layers": len(deeper.layers)}
            row |= run(deeper, images)
            table.append(row)
            levels = "  ".join(f"{row[f'psnr_{level}']:.2f}" for level in LEVELS)
            print(
                f"{name:6} x {times}, {row['layers']:2} layers  {levels} dB  {row['seconds']:.2f} s  "
                f"Lip <= {row['lipschitz_upper']:.6f}, averagedness {row['averagedness']:.4f}",
                flush=True,
            )
            record("repetition", {"rows": table}, images=len(images))


if __name__ == "__main__":
    main()
