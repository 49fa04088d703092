"""All denoisers in one run, on the same noisy images: quality, and what is true of their bounds.

    PNP_LIP_DATA=... python -m benchmarks.peers FOLDER

``FOLDER`` holds clones of the public repositories named in :mod:`benchmarks.peer_models`; a model whose
repository is missing is left out, and BM3D without the package ``bm3d``. Every fourth image of BSD68,
noise from a generator seeded with 0 for each image. *Proved* is what this package's certifier proves of
the model, or the name of what it refuses (a guided denoiser end to end; with its guide fixed it is proved
nonexpansive); *measured* the largest gain found between two inputs of 48 x 48 pixels: above 1 it
disproves nonexpansiveness. Seconds are processor time for an image, one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.denoising import LEVELS, best_weight, total_variation
from benchmarks.harness import Benchmark, timed
from benchmarks.images import Denoise, mean_quality, noisy
from benchmarks.markdown import down, table
from benchmarks.peer_models import (
    AveragedNetwork,
    RidgeDescent,
    RidgeProx,
    folded_residual,
    plain_residual,
)
from benchmarks.record import Row, Rows
from pnp_lip import GuidedDenoiser, LipschitzDenoiser, Refusal
from pnp_lip.certifier import find_witness, prove
from pnp_lip.data.patches import read_folder
from pnp_lip.rounding import format_up
from pnp_lip.weights import SHIPPED_NAMES


def models(folder: Path, level: int, names: Sequence[str] = ()) -> dict[str, Denoise]:
    """Every model that exists for a noise level, by name, or those of them that are named."""
    makers: dict[str, Callable[[], Denoise]] = {
        f"pnp_lip, {name}": partial(LipschitzDenoiser, 1, pretrained=name) for name in SHIPPED_NAMES
    }
    makers["pnp_lip, guided"] = partial(GuidedDenoiser, 1)
    for steps in (1, 10):
        makers[f"CRR-NN, {steps} steps"] = partial(RidgeDescent, folder, level, steps)
    makers["CRR-NN, prox"] = partial(RidgeProx, folder)
    makers["WCRR-NN, prox"] = partial(RidgeProx, folder, weakly=True)
    makers["averaged CNN"] = partial(AveragedNetwork, folder, level)
    for name in ("RealSN_SimpleCNN", "SimpleCNN", "DnCNN"):
        makers[name] = partial(plain_residual, folder, name, level)
    makers["DnCNN, folded"] = partial(folded_residual, folder, level)
    makers["total variation"] = lambda: total_variation(best_weight(1, level))
    makers["BM3D"] = block_matching
    if unknown := sorted(set(names) - makers.keys()):
        raise SystemExit(f"unknown models {unknown}: expected some of {list(makers)}")
    found = {}
    for name in names or makers:
        try:
            found[name] = makers[name]()
        except (FileNotFoundError, ModuleNotFoundError):
            continue
    return found


def block_matching() -> Denoise:
    """BM3D by its authors' package (``pip install bm3d``, not for commercial use)."""
    from bm3d import bm3d

    return lambda y, sigma: torch.from_numpy(bm3d(y[0, 0].numpy(), sigma)).to(y)[None, None]


def proved(model: Denoise) -> float | str | None:
    """The certified bound, or what the certifier refuses; nothing for what is no network."""
    if not isinstance(model, nn.Module):
        return None
    try:
        return prove(model).upper
    except Refusal as refusal:
        return str(refusal).split(":")[0]


def measured(model: Denoise, image: Tensor, level: float) -> float | None:
    """The largest gain found around a noisy patch."""
    if not isinstance(model, nn.Module):
        return None
    double = model.double()
    x = noisy(image[..., 100:148, 100:148].double() / 255, level, seed=1)
    # An iteration takes long to evaluate, and longer to differentiate.
    search = (
        partial(find_witness, steps=6, climbs=0) if isinstance(model, RidgeProx) else find_witness
    )
    witness = search(lambda z: double(z, level), x)
    model.float()
    return witness.gain


def evaluate(model: Denoise, images: list[Tensor], level: int, label: str) -> Row:
    """Quality and time over the images, and both bounds."""
    seconds, quality = timed(lambda: mean_quality(model, images, level, label))
    bounds = {"proved": proved(model), "measured": measured(model, images[0][None], level / 255)}
    return quality | {"seconds": seconds / len(images), **bounds}


def peers_table(rows: Rows) -> str:
    """A line for each model, with the levels that it has."""
    names = list(dict.fromkeys(name for name, _ in rows))
    heading = ["", "proved Lip ≤", "measured ≥"]
    heading += [f"σ = {level}: PSNR, SSIM" for level in LEVELS]
    return table([*heading, "s an image, each σ"], [_line(name, rows) for name in names])


def _line(name: str, rows: Rows) -> list[str]:
    levels = [rows.get((name, str(level))) for level in LEVELS]
    known = [row for row in levels if row is not None]
    scores = ["" if row is None else f"{row['psnr']:.2f}, {row['ssim']:.3f}" for row in levels]
    times = " / ".join("–" if row is None else f"{row['seconds']:.2f}" for row in levels)
    gains = [row["measured"] for row in known if row["measured"] is not None]
    gain = down(max(gains, default=None), 4)
    return [name, _bound([row["proved"] for row in known]), gain, *scores, times]


def _bound(values: list[float | str | None]) -> str:
    """The largest of the bounds, if all of them are proved."""
    numbers = [value for value in values if isinstance(value, float)]
    if any(isinstance(value, str) for value in values):
        return "refused"
    return format_up(max(numbers), 3) if numbers else "–"


BENCHMARK = Benchmark(
    "peers",
    __doc__,
    tables={"peers": peers_table},
    selecting=("folder", "levels", "models"),
    packages=("bm3d",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="of the clones")
    parser.add_argument("--levels", type=int, nargs="+", default=[5, 15, 25])
    parser.add_argument("--models", nargs="+", default=(), help="names of rows to run again")
    parser.add_argument("--every", type=int, default=4, help="take every n-th image")
    options = parser.parse_args()
    images = read_folder("bsd68", 1)[:: options.every]
    recording = BENCHMARK.start(options, images=len(images))
    for level in options.levels:
        for name, model in models(options.folder, level, options.models).items():
            row = evaluate(model, images, level, f"{name}, sigma {level}")
            recording.add(name, str(level), row=row)
    recording.close()


if __name__ == "__main__":
    main()
