"""The worst small change of a noisy image, for a network without a bound and for ours: a picture.

    python -m benchmarks.robustness FOLDER

For each denoiser the perturbation ``v`` of norm 1 of a noisy photograph that changes its result most is
sought by power steps, and ``|D(y + v) - D(y)| / |v|`` recorded. ``FOLDER`` as in ``benchmarks.peers``;
the network is DnCNN trained at the same noise level. Writes ``docs/robustness.png``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.harness import Benchmark
from benchmarks.images import noisy
from benchmarks.peer_models import plain_residual
from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier.witness import Witness, power_witness
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr

LEVEL = 15


def worst(model: nn.Module, image: Tensor, length: float) -> Witness:
    """The pair ``(y, y + v)`` with ``|v| = length`` that ``model`` drives furthest apart."""
    double = model.double()
    y = image.double()
    radius = length / float(torch.linalg.vector_norm(y))
    return power_witness(lambda z: double(z, LEVEL / 255), y, radius, steps=60)


def draw(rows: dict[str, list[Tensor]], gains: dict[str, float], path: Path) -> None:
    """One row a model: result, perturbation, and what it does to the result, equally scaled."""
    titles = ("D(y)", "v, the worst perturbation found", "D(y + v) - D(y)")
    figure = Figure(figsize=(9, 3.2 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    span = max(float(image.abs().max()) for images in rows.values() for image in images[1:])
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image, title in zip(line, images, titles, strict=True):
            limits = (0, 1) if image is images[0] else (-span, span)
            axis.imshow(image[0, 0].numpy(), cmap="gray", vmin=limits[0], vmax=limits[1])
            axis.set_title(title, fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, fontsize=9)
        line[2].set_xlabel(f"gain {gains[name]:.2f}", fontsize=9)
    figure.savefig(path, dpi=110)


BENCHMARK = Benchmark("robustness", __doc__, selecting=("folder",))


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="of the clones")
    parser.add_argument("--length", type=float, default=1.0, help="norm of the perturbation")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, sigma=LEVEL)
    clean = photograph("camera", size=128)
    y = noisy(clean, LEVEL / 255)
    models: dict[str, nn.Module] = {
        "DnCNN, no bound": plain_residual(options.folder, "DnCNN", LEVEL),
        "pnp_lip, proved Lip <= 1": LipschitzDenoiser(1, pretrained="large"),
    }
    rows, gains = {}, {}
    for name, model in models.items():
        witness = worst(model, y, options.length)
        with torch.no_grad():
            before, after = (model(z, LEVEL / 255) for z in (witness.x, witness.y))
        rows[name] = [before, witness.y - witness.x, after - before]
        gains[name] = witness.gain
        recording.add(name, row={"gain": witness.gain, "psnr": psnr(before.float(), clean)})
    path = recording.figure("robustness.png")
    draw(rows, gains, path)
    print("wrote", path)
    recording.close()


if __name__ == "__main__":
    main()
