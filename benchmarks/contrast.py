r"""Why the bound costs quality: what a nonexpansive denoiser removes can only grow with contrast.

    PNP_LIP_DATA=... python -m benchmarks.contrast FOLDER

A small pattern ``q`` stands on grey with contrast ``c``, in units of the noise ``s``. What ``D`` removes of
it, the mean over the noise ``n`` of

.. math:: r(c) = c - \frac{\langle D(g + c s q + n) - D(g + n),\, q\rangle}{s\,\|q\|^2},

never decreases if ``D`` is nonexpansive, since by Cauchy and Schwarz the product grows by at most
:math:`(c' - c) s \|q\|^2`. A good denoiser removes a faint pattern, which is like noise, and keeps a strong
one. So a nonexpansive one either keeps faint patterns and noise, or damps strong ones.

The patterns are details of the validation images under a Gaussian window, and ``c s`` is their root mean
square there; ``FOLDER`` as in ``benchmarks.peers``. Writes ``docs/contrast.png``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.harness import Benchmark
from benchmarks.images import noisy, validation_images
from benchmarks.peer_models import RidgeProx, plain_residual
from pnp_lip import LipschitzDenoiser

LEVEL = 15
CONTRASTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
#: Side of the images, and standard deviation of the window, in pixels.
SIDE, WINDOW = 32, 2.5


def window() -> Tensor:
    """The Gaussian window, 1 in the middle."""
    profile = torch.exp(-((torch.arange(SIDE) - (SIDE - 1) / 2) ** 2) / (2 * WINDOW**2))
    return torch.outer(profile, profile)


def patterns() -> Tensor:
    """The middles of the validation images under the window, ``[P, SIDE, SIDE]``, less their mean
    there; those that are nearly flat are left out."""
    weight = window()
    details = []
    for image in validation_images(1, side=1024):
        top, left = ((size - SIDE) // 2 for size in image.shape[1:])
        crop = image[0, top : top + SIDE, left : left + SIDE].float()
        detail = (crop - (crop * weight).sum() / weight.sum()) * weight
        contrast = (detail.square().sum() / weight.square().sum()).sqrt()
        if contrast >= 2:
            details.append(detail / contrast)
    return torch.stack(details)


@torch.no_grad()
def removed(model: nn.Module, pattern: Tensor, draws: int) -> Tensor:
    """``r`` at every contrast, the mean over ``draws`` of the noise."""
    level = LEVEL / 255
    contrasts = torch.tensor(CONTRASTS)[:, None, None, None]
    total = torch.zeros(len(CONTRASTS))
    for seed in range(draws):
        background = noisy(torch.full((1, 1, *pattern.shape), 0.5), level, seed)
        results = model(background + level * contrasts * pattern, level)
        kept = ((results - results[:1]) * pattern).sum(dim=(1, 2, 3)) / pattern.square().sum()
        total += contrasts.flatten() - kept / level
    return total / draws


def draw(curves: dict[str, Tensor], path: Path) -> None:
    """Removed against present, a line a denoiser."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(CONTRASTS, curve.tolist(), marker="o", markersize=3, label=name)
    axes.set_xlabel("contrast of the pattern, in units of the noise")
    axes.set_ylabel("removed, in units of the noise")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


BENCHMARK = Benchmark("contrast", __doc__, selecting=("folder",))


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="of the clones")
    parser.add_argument("--draws", type=int, default=8, help="of the noise for every pattern")
    options = parser.parse_args()
    details = patterns()
    recording = BENCHMARK.start(
        options, sigma=LEVEL, side=SIDE, window=WINDOW, patterns=len(details), contrasts=CONTRASTS
    )
    models: dict[str, nn.Module] = {
        "DnCNN, no bound": plain_residual(options.folder, "DnCNN", LEVEL),
        "pnp_lip, proved Lip <= 1": LipschitzDenoiser(1, pretrained="large"),
        "CRR-NN, prox": RidgeProx(options.folder),
    }
    curves = {}
    for name, model in models.items():
        curve = torch.stack([removed(model, q, options.draws) for q in details]).mean(0)
        decrease = float((-curve.diff()).max())
        recording.add(name, row={"removed": curve.tolist(), "largest_decrease": decrease})
        curves[name] = curve
    path = recording.figure("contrast.png")
    draw(curves, path)
    print("wrote", path)
    recording.close()


if __name__ == "__main__":
    main()
