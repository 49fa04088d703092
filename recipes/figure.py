"""The picture of a restoration: truth, observation, result, a zoom of each, and the convergence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.files import atomic_path

if TYPE_CHECKING:
    from pnp_lip.recipes.restoration import Restoration

__all__ = ["save_figure"]

Pixels = NDArray[np.float32]


def save_figure(restoration: Restoration, path: str | Path) -> None:
    """Draw ``restoration`` and write it atomically to ``path``."""
    panels = _panels(restoration)
    figure = Figure(figsize=(3.6 * (len(panels) + 1.2), 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, len(panels) + 1, width_ratios=[1.0] * len(panels) + [1.2])
    top, left, side = _window(panels[0][1])
    for column, (title, image) in enumerate(panels):
        whole, detail = (figure.add_subplot(grid[row, column]) for row in range(2))
        _show(whole, image, title)
        whole.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="tab:orange"))
        _show(detail, image[top : top + side, left : left + side], "")
    _convergence(figure.add_subplot(grid[0, -1]), restoration)
    _quality(figure.add_subplot(grid[1, -1]), restoration)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _panels(restoration: Restoration) -> list[tuple[str, Pixels]]:
    """Titles and images, the known truth first."""
    problem, report = restoration.problem, restoration.to_dict()
    panels = []
    known = problem.truth is not None
    if problem.truth is not None:
        panels.append(("truth", _pixels(problem.truth)))
    for title, image, key in (
        ("observation", problem.observation, "psnr_observation"),
        ("restoration", restoration.image, "psnr_restoration"),
    ):
        label = f"{title}, {report[key]:.2f} dB" if known else title
        panels.append((label, _pixels(image)))
    return panels


def _pixels(image: Tensor) -> Pixels:
    pixels = image[0].clamp(0, 1).cpu().numpy().transpose(1, 2, 0)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _show(axes: Axes, pixels: Pixels, title: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def _window(pixels: Pixels) -> tuple[int, int, int]:
    """Top, left and side of the square with the strongest edges."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(-1)
    side = max(8, min(grey.shape) // 4)
    rows, columns = np.gradient(grey)
    strength = np.pad(np.hypot(rows, columns).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = (strength[side:, side:] - strength[:-side, side:] - strength[side:, :-side]) + strength[
        :-side, :-side
    ]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), side


def _convergence(axes: Axes, restoration: Restoration) -> None:
    residuals = restoration.solution.residuals.max(dim=1).values.numpy()
    axes.semilogy(np.arange(1, len(residuals) + 1), residuals)
    axes.axhline(restoration.options.tol, color="gray", linestyle=":", label="tolerance")
    axes.set_title("fixed-point residual")
    axes.set_xlabel("iteration")
    axes.grid(alpha=0.3)
    axes.legend()


def _quality(axes: Axes, restoration: Restoration) -> None:
    """The PSNR curve where there is one, else the guarantee in words."""
    if restoration.psnr_curve:
        curve = restoration.psnr_curve
        axes.plot(range(1, len(curve) + 1), curve)
        axes.set_title("PSNR in dB")
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        return
    axes.set_axis_off()
    axes.text(0, 1, restoration.solution.plan.summary(), va="top", wrap=True, fontsize=9)
