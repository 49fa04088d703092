"""A contact sheet: images side by side, large ones with a zoom in their corner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from pnp_lip.files import atomic_path
from pnp_lip.recipes.figure import flat, pixels_of, show, window

__all__ = ["save_sheet"]

#: Images in a row, and the side of the largest in inches.
_COLUMNS, _INCHES = 4, 3.6
#: Images with fewer pixels a side are seen as they are.
_SMALL = 64


def save_sheet(panels: Sequence[tuple[str, Tensor]], path: str | Path) -> None:
    """Draw images in rows of four; written atomically.

    Parameters
    ----------
    panels
        titles and images ``[1, C, H, W]`` or volumes ``[1, C, D, H, W]`` in [0, 1], all of one size.
    path
        where to write, as PNG.
    """
    zoomed = panels[0][1].ndim == 4 and min(panels[0][1].shape[-2:]) >= _SMALL
    panels = flat(panels)
    last = pixels_of(panels[-1][1])
    top, left, side = window(last)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    aspect = min(max(last.shape[0] / last.shape[1], 0.25), 4.0)
    size = (_INCHES * columns * min(1, 1 / aspect), _INCHES * rows * min(1, aspect) + 0.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, columns)
    for index, (title, image) in enumerate(panels):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        pixels = pixels_of(image)
        show(axes, pixels, title)
        if not zoomed:
            continue
        zoom = axes.inset_axes((0.56, 0.02, 0.42, 0.42))
        show(zoom, pixels[top : top + side, left : left + side], "")
        axes.indicate_inset(
            (left - 0.5, top - 0.5, side, side), inset_ax=None, edgecolor="tab:orange"
        )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
