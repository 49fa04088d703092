"""The density theorem at work: a 1-Lipschitz function of the plane, compiled from its values at points.

    python -m benchmarks.approximation

The function is cos(x) cos(y), whose gradient has at most length 1. Its values and gradients at a grid of
points give a max-min form that interpolates them, and the form is compiled into a network of width
5, and into one of gradient steps alone. One row for each grid: points, affine pieces, depth of the first
network, width and depth of the second, the largest and the mean error over a fine grid, the bound that
the Lipschitz constants give, and the larger one of the certificates. Also writes a picture.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import fixed, table
from benchmarks.record import Rows
from pnp_lip.certifier import prove
from pnp_lip.networks import (
    FixedWidthNetwork,
    FreeWidthNetwork,
    MaxMin,
    from_max_min,
    interpolant,
)
from pnp_lip.rounding import format_up

SIDES = (3, 5, 7, 9, 11, 13)
SHOWN = 9
HALF = 3.0


def function(x: Tensor) -> Tensor:
    """cos(x) cos(y)."""
    return x[:, 0].cos() * x[:, 1].cos()


def gradient(x: Tensor) -> Tensor:
    """Its length squared is sin²x cos²y + cos²x sin²y <= 1."""
    (sx, sy), (cx, cy) = x.sin().T, x.cos().T
    return -torch.stack([sx * cy, cx * sy], dim=1)


def grid(side: int) -> Tensor:
    """Points of the square, edges included."""
    axis = torch.linspace(-HALF, HALF, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def interpolating(points: Tensor) -> tuple[MaxMin, FixedWidthNetwork | FreeWidthNetwork]:
    """The max-min form through values and gradients at points, and the network of width 5."""
    form = interpolant(points, function(points), gradient(points))
    return form, from_max_min(form.a, form.b, form.groups)


def compiled(side: int) -> tuple[FixedWidthNetwork, dict[str, float]]:
    """The network that interpolates at a grid, and its errors."""
    points, fine = grid(side), grid(121)
    seconds, (form, network) = timed(lambda: interpolating(points))
    free = from_max_min(form.a, form.b, form.groups, theorem="3.1")
    assert isinstance(network, FixedWidthNetwork)
    with torch.no_grad():
        values, same = network(fine)[:, 0], free(fine)[:, 0]
    error = (values - function(fine)).abs()
    return network, {
        "points": float(side**2),
        "pieces": float(len(form.a)),
        "width": float(network.readout.in_features),
        "depth": float(len(network.steps)),
        "free_width": float(free.readout.in_features),
        "free_depth": float(len(free.steps)),
        "largest_error": float(error.max()),
        "mean_error": float(error.mean()),
        "error_bound": 2 * math.sqrt(2) * HALF / (side - 1),
        "network_minus_form": float((values - form(fine)).abs().max()),
        "free_network_minus_form": float((same - form(fine)).abs().max()),
        "lipschitz_upper": max(prove(network).upper, prove(free).upper),
        "seconds": seconds,
    }


def draw(network: FixedWidthNetwork, rows: list[dict[str, float]], path: Path) -> Path:
    """The function, its network, and the errors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    fine, side = grid(121), 121
    with torch.no_grad():
        surfaces = [function(fine), network(fine)[:, 0]]
    axis = torch.linspace(-HALF, HALF, side)
    pieces = next(int(row["pieces"]) for row in rows if row["points"] == SHOWN**2)
    titles = ("cos x cos y", f"network of width 5 and depth {len(network.steps)}, {pieces} pieces")
    for axes, values, title in zip((left, middle), surfaces, titles, strict=True):
        _surface(axes, axis, values.reshape(side, side).T, title)
    middle.plot(*grid(SHOWN).T, ".", color="black", markersize=2)
    _errors(right, rows)
    figure.savefig(path, dpi=100)
    return path


def _surface(axes: Any, axis: Tensor, values: Tensor, title: str) -> None:
    levels = torch.linspace(-1.2, 1.2, 13).tolist()
    axes.contourf(axis, axis, values, levels=levels, cmap="RdBu_r", extend="both")
    axes.contour(axis, axis, values, levels=levels, colors="0.3", linewidths=0.4)
    axes.set(aspect="equal", xlabel="x", ylabel="y")
    axes.set_title(title, fontsize=10)


def _errors(axes: Any, rows: list[dict[str, float]]) -> None:
    from matplotlib.ticker import NullLocator

    pieces = [row["pieces"] for row in rows]
    for key, label, marker in (
        ("error_bound", "bound: both are 1-Lipschitz", "--"),
        ("largest_error", "largest error", "o-"),
        ("mean_error", "mean error", "s-"),
    ):
        colour = "0.5" if marker == "--" else None
        axes.loglog(
            pieces, [row[key] for row in rows], marker, label=label, color=colour, markersize=4
        )
    axes.set(xlabel="affine pieces", xticks=pieces, ylim=(None, 20))
    axes.set_xticklabels([f"{count:.0f}" for count in pieces], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title("approximation error", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="upper right")


def approximation_table(rows: Rows) -> str:
    """A line for each grid."""
    heading = ["points", "pieces", "depth, width 5", "width x depth, gradient steps"]
    return table(
        [*heading, "largest error", "mean error", "Lip ≤"],
        [
            [
                points,
                f"{row['pieces']:.0f}",
                f"{row['depth']:.0f}",
                f"{row['free_width']:.0f} x {row['free_depth']:.0f}",
                fixed(row["largest_error"], 3),
                fixed(row["mean_error"], 4),
                format_up(row["lipschitz_upper"]),
            ]
            for (points,), row in rows.items()
        ],
    )


BENCHMARK = Benchmark(
    "approximation",
    __doc__,
    tables={"approximation": approximation_table},
    selecting=("sides",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="points of the grids")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, function="cos(x) cos(y)", half_side=HALF)
    shown = None
    for side in options.sides:
        network, row = compiled(side)
        recording.add(str(side**2), row=row)
        shown = network if side == SHOWN else shown
    if shown is not None:
        path = recording.figure("approximation.png")
        print("wrote", draw(shown, list(recording.record.rows.values()), path))
    recording.close()


if __name__ == "__main__":
    main()
