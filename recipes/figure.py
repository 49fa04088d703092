"""Pictures of a restoration: the images, a zoom of each, and plots of how it went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from pnp_lip.files import atomic_path
from pnp_lip.quality import psnr
from pnp_lip.recipes.sections import crossing, sections

__all__ = [
    "Plot",
    "before_and_after",
    "curve",
    "flat",
    "pixels_of",
    "residual_curve",
    "save_figure",
    "show",
    "window",
    "words",
]

Pixels = NDArray[np.float32]
Plot = Callable[[Axes], None]


def before_and_after(
    observation: Tensor, restoration: Tensor, truth: Tensor | None, plain: Tensor | None = None
) -> list[tuple[str, Tensor]]:
    """Titles and images, the truth first and with PSNR where it is known.

    A guided restoration stands beside the plain one.
    """
    panels = [] if truth is None else [("truth", truth)]
    shown = [("observation", observation)]
    shown += [("restoration", restoration)] if plain is None else []
    shown += [] if plain is None else [("plain", plain), ("guided", restoration)]
    for title, image in shown:
        label = title if truth is None else f"{title}, {psnr(image, truth):.2f} dB"
        panels.append((label, image))
    return panels


def save_figure(
    panels: Sequence[tuple[str, Tensor]],
    path: str | Path,
    plots: Sequence[Plot] = (),
    inset: Tensor | None = None,
) -> None:
    """Draw the images with a zoom below each, and up to two plots beside; written atomically.

    Parameters
    ----------
    panels
        titles and images ``[1, C, H, W]`` in [0, 1], all of one size; of volumes ``[1, C, D, H, W]``
        three planes are drawn.
    path
        where to write, as PNG.
    plots
        functions that draw into axes.
    inset
        a kernel or a mask ``[1, 1, h, w]``, drawn into a corner of the observation.
    """
    rows, columns = panels[0][1].shape[-2:]
    panels = flat(panels)
    first = pixels_of(panels[0][1])
    layout = _Layout.of(first.shape[0] / first.shape[1], len(panels), bool(plots))
    figure = Figure(figsize=layout.size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = layout.grid(figure)
    top, left, side = window(first[:rows, :columns])
    for index, (title, image) in enumerate(panels):
        pixels = pixels_of(image)
        whole, detail = (figure.add_subplot(place) for place in layout.places(grid, index))
        show(whole, pixels, title)
        if inset is not None and title.startswith("observation"):
            _inset(whole, inset)
        whole.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="tab:orange"))
        show(detail, pixels[top : top + side, left : left + side], "")
    for plot, place in zip(plots, layout.places(grid, -1), strict=False):
        plot(figure.add_subplot(place))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def flat(panels: Sequence[tuple[str, Tensor]]) -> Sequence[tuple[str, Tensor]]:
    """Volumes as three planes, the same ones of all; rows and columns stand in the upper left."""
    if panels[0][1].ndim != 5:
        return panels
    at = crossing(panels[-1][1])
    return [(title, sections(volume, at)) for title, volume in panels]


@dataclass(frozen=True)
class _Layout:
    """Where panels stand: one beside the other, or wide ones one below the other.

    Attributes
    ----------
    panels
        their number, the plots included.
    aspect
        height over width of an image; more than a factor of four is not drawn.
    """

    panels: int
    aspect: float

    @classmethod
    def of(cls, aspect: float, panels: int, plots: bool) -> _Layout:
        return cls(panels + plots, min(max(aspect, 0.25), 4.0))

    @property
    def wide(self) -> bool:
        return self.aspect < 0.5

    @property
    def size(self) -> tuple[float, float]:
        """Of the figure, in inches."""
        if self.wide:
            return 2.6 * (1 / self.aspect + 1.2), 2.8 * self.panels
        side = 3.8 if self.aspect <= 2 else 2.6
        return side * self.panels, side * (self.aspect + 1)

    def grid(self, figure: Figure) -> GridSpec:
        if self.wide:
            return figure.add_gridspec(self.panels, 2, width_ratios=(1 / self.aspect, 1.2))
        return figure.add_gridspec(2, self.panels, height_ratios=(self.aspect, 1))

    def places(self, grid: GridSpec, index: int) -> tuple[SubplotSpec, SubplotSpec]:
        """The two places of a panel, or with -1 of the plots."""
        return (grid[index, 0], grid[index, 1]) if self.wide else (grid[0, index], grid[1, index])


def residual_curve(residuals: Tensor, tol: float) -> Plot:
    """The largest residual of the batch in every iteration (``[iterations, B]``), and the tolerance."""

    def plot(axes: Axes) -> None:
        largest = residuals.max(dim=1).values.numpy() if len(residuals) else np.empty(0)
        # A residual of zero has no place on a logarithmic axis.
        seen = np.where(np.isfinite(largest) & (largest > 0), largest, np.nan)
        axes.set_yscale("log" if np.isfinite(seen).any() else "linear")
        axes.plot(np.arange(1, len(largest) + 1), seen)
        axes.axhline(tol, color="gray", linestyle=":", label="tolerance")
        axes.legend()
        _finish(axes, "fixed-point residual")

    return plot


def curve(values: Sequence[float], title: str) -> Plot:
    """One number for every iteration."""

    def plot(axes: Axes) -> None:
        axes.plot(range(1, len(values) + 1), values)
        _finish(axes, title)

    return plot


def words(text: str) -> Plot:
    """A paragraph in the place of a plot."""

    def plot(axes: Axes) -> None:
        axes.set_axis_off()
        axes.text(0, 1, text, va="top", wrap=True, fontsize=9)

    return plot


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("iteration")
    axes.grid(alpha=0.3)


def pixels_of(image: Tensor) -> Pixels:
    """``[H, W]`` or ``[H, W, 3]`` in [0, 1]."""
    pixels = image[0].clamp(0, 1).cpu().numpy().transpose(1, 2, 0)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def show(axes: Axes, pixels: Pixels, title: str) -> None:
    """Draw one image."""
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def _inset(axes: Axes, picture: Tensor) -> None:
    """A kernel or a mask in the upper right corner, a cross at its centre pixel ``(h//2, w//2)``."""
    corner = axes.inset_axes((0.68, 0.68, 0.3, 0.3))
    values = picture[0, 0].cpu().numpy()
    corner.imshow(values, cmap="gray", vmin=0, interpolation="nearest")
    if values.max() < 1 or values.size == 1:  # a kernel: its sum is 1
        corner.plot(values.shape[1] // 2, values.shape[0] // 2, "+", color="tab:orange")
    corner.set(xticks=[], yticks=[])
    for edge in corner.spines.values():
        edge.set_edgecolor("tab:orange")


def window(pixels: Pixels) -> tuple[int, int, int]:
    """Top, left and side of the square with the strongest edges."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(-1)
    side = min(*grey.shape, max(8, min(grey.shape) // 4))
    if min(grey.shape) < 2:
        return 0, 0, side
    strength = np.hypot(*np.gradient(grey)).cumsum(0).cumsum(1)
    sums = np.pad(strength, ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left), side
