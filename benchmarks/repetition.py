"""What steeper potentials gain: every layer of the shipped denoisers repeated, without training.

    python -m benchmarks.repetition

Mean PSNR on the validation images, 256 x 256 of each, the proved constant and averagedness, and
processor seconds an image of one thread. See :meth:`pnp_lip.LipschitzDenoiser.repeated`.
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.harness import Benchmark, timed
from benchmarks.images import validation_images
from benchmarks.markdown import fixed, table
from benchmarks.record import Row, Rows
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.training import validation_psnr

LEVELS = (5, 15, 25, 50)
#: How often the layers are repeated; twice are the weights that are shipped as "large".
REPETITIONS = (1, 2, 4)


def run(denoiser: LipschitzDenoiser, images: list[Tensor]) -> Row:
    """PSNR at every level, seconds an image, and what is proved."""
    proved = prove(denoiser)
    seconds, row = timed(
        lambda: {
            f"psnr_{level}": validation_psnr(denoiser, images, level / 255) for level in LEVELS
        }
    )
    return row | {
        "seconds": seconds / (len(LEVELS) * len(images)),
        "lipschitz_upper": proved.upper,
        "averagedness": proved.averagedness,
    }


def repetition_table(rows: Rows) -> str:
    """A line for each number of repetitions."""
    return table(
        ["", "layers", *(f"σ = {level}" for level in LEVELS)],
        [
            [name, str(row["layers"]), *(fixed(row[f"psnr_{level}"], 2) for level in LEVELS)]
            for (name, _), row in rows.items()
        ],
    )


BENCHMARK = Benchmark(
    "repetition", __doc__, tables={"repetition": repetition_table}, selecting=("times",)
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--times", type=int, nargs="+", default=REPETITIONS)
    parser.add_argument("--images", type=int, default=32, help="of the validation images")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for name, channels in (("grey", 1), ("colour", 3)):
        images = validation_images(channels, count=options.images)
        shipped = LipschitzDenoiser(channels)
        for times in options.times:
            deeper = shipped.repeated(times)
            row = {"times": times, "layers": len(deeper.layers)} | run(deeper, images)
            recording.add(name, str(times), row=row)
    recording.close()


if __name__ == "__main__":
    main()
