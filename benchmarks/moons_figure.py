"""The picture of the two moons: decision functions, and how far from them a prediction is certified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pnp_lip.certifier import prove
from pnp_lip.data import TwoMoons
from pnp_lip.networks import certified_accuracy, predict
from pnp_lip.rounding import format_up

__all__ = ["draw"]

RADII = (0.1, 0.2, 0.3)
CLASSES = ("#2166ac", "#b2182b")


def draw(networks: Mapping[str, nn.Module], moons: TwoMoons, path: Path) -> Path:
    """One panel for each network: the sign of ``f``, bands where ``|f|`` is below each radius, test points.

    A point outside the band of a radius keeps its class within that radius, because ``f`` is proved
    1-Lipschitz.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(networks), 3.7), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, network) in zip(
        np.atleast_1d(figure.subplots(1, len(networks))), networks.items(), strict=True
    ):
        _panel(axes, network, moons)
        axes.set_title(_title(name, network, moons), fontsize=9)
    figure.savefig(path, dpi=110)
    return path


@torch.no_grad()
def _panel(axes: Any, network: nn.Module, moons: TwoMoons) -> None:
    across, along = torch.linspace(-2.3, 2.3, 241), torch.linspace(-2.4, 2.4, 241)
    grid = torch.cartesian_prod(across, along)
    values = network(grid)[:, 0].reshape(241, 241).T.numpy() / prove(network).upper
    edges = [-3, *(-radius for radius in reversed(RADII)), 0, *RADII, 3]
    shades = (
        "#92b8d8",
        "#b4cfe5",
        "#d3e3f0",
        "#eef3f8",
        "#fbefed",
        "#f6d6d1",
        "#efb9b1",
        "#e2948b",
    )
    axes.contourf(across, along, values, levels=edges, colors=shades)
    axes.contour(across, along, values, levels=[0], colors="black", linewidths=1.4)
    for radius in RADII:
        lines = axes.contour(
            across, along, values, levels=[-radius, radius], colors="0.35", linewidths=0.5,
            linestyles="solid",
        )  # fmt: skip
        axes.clabel(lines, fmt=f"{radius:g}", fontsize=6, inline_spacing=2)
    wrong = predict(network(moons.test_x)) != moons.test_labels
    for label, colour in enumerate(CLASSES):
        points = moons.test_x[(moons.test_labels == label) & ~wrong]
        axes.plot(*points.T, ".", color=colour, markersize=3.2, alpha=0.9, markeredgewidth=0)
    axes.plot(*moons.test_x[wrong].T, "x", color="black", markersize=6)
    axes.set(xlim=(-2.3, 2.3), ylim=(-2.4, 2.4), aspect="equal")
    axes.set_xlabel("shading and lines: |f| = 0.1, 0.2, 0.3; black: f = 0", fontsize=8)
    axes.tick_params(labelsize=7)


def _title(name: str, network: nn.Module, moons: TwoMoons) -> str:
    with torch.no_grad():
        logits, statement = network(moons.test_x), prove(network)
    shares = [100 * certified_accuracy(logits, moons.test_labels, r, statement) for r in RADII]
    right = 100 * float((predict(logits) == moons.test_labels).double().mean())
    certified = " / ".join(f"{share:.1f}" for share in shares)
    return (
        f"{name}, 8 layers, Lip ≤ {format_up(statement.upper, 7)}: {right:.2f} % right\n"
        f"certified at 0.1 / 0.2 / 0.3: {certified} %"
    )
