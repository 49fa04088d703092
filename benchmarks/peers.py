"""All denoisers in one run, on the same noisy images: quality, and what is true of their bounds.

    PNP_LIP_DATA=... python -m benchmarks.peers FOLDER

``FOLDER`` holds clones of the public repositories named in :mod:`benchmarks.peer_models`; a model whose
repository is missing is left out, and BM3D without the package ``bm3d``. Every fourth image of BSD68,
noise from a generator seeded with 0 for each image. *Proved* is what this package's certifier proves of
the model, or the name of what it refuses; *measured* the largest gain found between two inputs of 48 x 48
pixels: above 1 it disproves nonexpansiveness. Seconds are processor time for an image, one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.denoising import best_weight, total_variation
from benchmarks.peer_models import AveragedNetwork, RidgeDescent, RidgeProx, plain_residual
from benchmarks.record import record, recorded
from pnp_lip import LipschitzDenoiser, Refusal
from pnp_lip.certifier import find_witness, prove
from pnp_lip.data.patches import read_folder
from pnp_lip.quality import psnr, ssim
from pnp_lip.weights import SHIPPED_NAMES

Denoise = Callable[[Tensor, float], Tensor]


def models(folder: Path, level: int, names: Sequence[str] = ()) -> dict[str, Denoise]:
    """Every model that exists for a noise level, by name, or those of them that are named."""
    makers: dict[str, Callable[[], Denoise]] = {
        f"pnp_lip, {name}": lambda name=name: LipschitzDenoiser(1, pretrained=name)
        for name in SHIPPED_NAMES
    }
    for steps in (1, 10):
        makers[f"CRR-NN, {steps} steps"] = lambda steps=steps: RidgeDescent(folder, level, steps)
    makers["CRR-NN, prox"] = lambda: RidgeProx(folder)
    makers["WCRR-NN, prox"] = lambda: RidgeProx(folder, weakly=True)
    makers["averaged CNN"] = lambda: AveragedNetwork(folder, level)
    for name in ("RealSN_SimpleCNN", "SimpleCNN", "DnCNN"):
        makers[name] = lambda name=name: plain_residual(folder, name, level)
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

    return lambda noisy, sigma: torch.from_numpy(bm3d(noisy[0, 0].numpy(), sigma)).to(noisy)[
        None, None
    ]


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
    x = image[..., 100:148, 100:148].double() / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    few = {"steps": 6, "climbs": 0} if isinstance(model, RidgeProx) else {}
    witness = find_witness(lambda z: double(z, level), x + level * noise, **few)
    model.float()
    return witness.gain


def evaluate(model: Denoise, images: list[Tensor], level: int, label: str) -> dict[str, Any]:
    """Quality and time over the images, and both bounds."""
    scores, start = [], time.process_time()
    for image in tqdm(images, desc=label, leave=False, disable=None):
        clean = image[None].float() / 255
        generator = torch.Generator().manual_seed(0)
        noisy = clean + level / 255 * torch.randn(clean.shape, generator=generator)
        with torch.no_grad():
            denoised = model(noisy, level / 255)
        scores.append((psnr(denoised, clean), ssim(denoised, clean)))
    seconds = (time.process_time() - start) / len(images)
    quality = np.mean(scores, axis=0)
    bounds = {"proved": proved(model), "measured": measured(model, images[0][None], level / 255)}
    return {"psnr": quality[0], "ssim": quality[1], "seconds": seconds, **bounds}


def line(name: str, row: dict[str, Any]) -> str:
    """A row of the table; what is not known is a dash."""
    bounds = [
        f"{bound:10.4g}" if isinstance(bound, float) else f"{'refused' if bound else '-':>10}"
        for bound in (row["proved"], row["measured"])
    ]
    return (
        f"  {name:20} {row['psnr']:6.2f} {row['ssim']:.4f} {' '.join(bounds)} {row['seconds']:8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the repositories were cloned")
    parser.add_argument("--levels", type=int, nargs="+", default=[5, 15, 25])
    parser.add_argument(
        "--models",
        nargs="+",
        default=(),
        help="names of rows to run again; the others stay as recorded",
    )
    parser.add_argument("--every", type=int, default=4, help="take every n-th image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = read_folder("bsd68", 1)[:: options.every]
    results: dict[str, dict[str, Any]] = recorded("peers") if options.models else {}
    for level in options.levels:
        print(f"sigma {level}: PSNR, SSIM, proved, measured, seconds an image")
        for name, model in models(options.folder, level, options.models).items():
            row = evaluate(model, images, level, f"{name}, sigma {level}")
            results.setdefault(name, {})[str(level)] = row
            print(line(name, row), flush=True)
    print(
        "wrote",
        record("peers", results, images=len(images), every=options.every, models=options.models),
    )


if __name__ == "__main__":
    main()
