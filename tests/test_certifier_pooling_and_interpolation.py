"""Bounds of pooling, patches and interpolation are the numbers that their matrices have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bounded_formulas import GAP, bounded
from torch import Tensor
from torch.nn import functional

from pnp_lip import Refusal

_LINE, _IMAGE, _VOLUME = (2, 3, 9), (2, 3, 8, 6), (2, 1, 4, 5, 6)

#: Of one size: a formula, a shape, and the square of the bound.
FIXED: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...], float]] = {
    "disjoint maxima": (lambda x: functional.max_pool2d(x, 2), _IMAGE, 1),
    "overlapping maxima": (lambda x: functional.max_pool2d(x, 3, 1, 1), _IMAGE, 9),
    "maxima at every second place": (lambda x: functional.max_pool1d(x, 3, 2), _LINE, 2),
    "maxima with gaps": (lambda x: functional.max_pool2d(x, 2, 1, 0, 2), _IMAGE, 4),
    "maxima with gaps that never meet": (lambda x: functional.max_pool1d(x, 2, 3, 0, 2), _LINE, 1),
    "maxima of volumes": (lambda x: functional.max_pool3d(x, 2, 1), _VOLUME, 8),
    "maxima by one number": (lambda x: torch.ops.aten.max_pool2d(x, [3], [2]), _IMAGE, 4),
    "patches": (lambda x: functional.unfold(x, 3), _IMAGE, 9),
    "patches beside each other": (lambda x: functional.unfold(x, (2, 3), stride=(2, 3)), _IMAGE, 1),
    "patches put together": (lambda x: functional.fold(x, (4, 5), 2), (1, 4, 12), 4),
    "windows of a line": (lambda x: x.unfold(2, 4, 3), _LINE, 2),
    "disjoint means": (lambda x: functional.avg_pool2d(x, 2), _IMAGE, 1 / 4),
    "overlapping means": (lambda x: functional.avg_pool1d(x, 3, 1, 1), _LINE, 1),
    "sums of pairs": (lambda x: functional.avg_pool2d(x, (1, 2), divisor_override=1), _IMAGE, 2),
    "negative divisor": (lambda x: functional.avg_pool2d(x, (1, 2), divisor_override=-2), _IMAGE, 1 / 2),
    # Weights 1/2, 1/3, 1/2 of the middle one of three samples.
    "means of what there is": (
        lambda x: functional.avg_pool1d(x, 3, 1, 1, count_include_pad=False),
        _LINE,
        4 / 3,
    ),
    "a last mean of one sample": (lambda x: functional.avg_pool1d(x, 2, 2, ceil_mode=True), _LINE, 1),
    "a last sum": (
        lambda x: functional.avg_pool2d(x, 2, 2, ceil_mode=True, divisor_override=3),
        (1, 1, 5, 5),
        4 / 9,
    ),
    "twice as many means": (lambda x: functional.adaptive_avg_pool2d(x, (16, 12)), _IMAGE, 4),
    "twice as many maxima": (lambda x: functional.adaptive_max_pool2d(x, (16, 6)), _IMAGE, 2),
    "half as many maxima": (lambda x: functional.adaptive_max_pool2d(x, (4, 3)), _IMAGE, 1),
    "a mean of everything": (lambda x: functional.adaptive_avg_pool3d(x, 1), _VOLUME, 1),
    # Windows [0, 3), [2, 6), [5, 8) share samples 2 and 5.
    "three maxima of eight samples": (
        lambda x: functional.adaptive_max_pool1d(x, 3),
        (1, 1, 8),
        2,
    ),
    # Of one sample three copies, and every sample twice.
    "three means of one sample": (lambda x: functional.adaptive_avg_pool1d(x, 3), (1, 1, 1), 3),
    "copies": (lambda x: functional.interpolate(x, scale_factor=2), _IMAGE, 4),
    "fewer samples": (lambda x: functional.interpolate(x, scale_factor=0.5), _IMAGE, 1),
    "copies by a rounded factor": (lambda x: functional.interpolate(x, scale_factor=1.7), _LINE, 3),
    "copies to a size": (lambda x: functional.interpolate(x, size=15), _LINE, 2),
    "exact copies": (lambda x: functional.interpolate(x, scale_factor=3, mode="nearest-exact"), _LINE, 3),
    "linear to twice the side": (
        lambda x: functional.interpolate(x, scale_factor=2, mode="linear"),
        _LINE,
        2,
    ),
    "the same size": (lambda x: functional.interpolate(x, size=9, mode="linear"), _LINE, 1),
    # At a spacing of one half a sample has the weights 1/2, 1, 1/2.
    "linear between corners": (
        lambda x: functional.interpolate(x, size=17, mode="linear", align_corners=True),
        _LINE,
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_the_bound_for_one_size_is_that_of_its_matrix(name: str) -> None:
    formula, shape, square = FIXED[name]
    upper = bounded(formula, shape).upper
    assert square * (1 - 1e-12) <= upper**2 <= square * (1 + 3 * GAP)


#: Of every size.
EVERY: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...], float]] = {
    "half as many means": (
        lambda x: functional.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2)),
        (2, 3, 64, 96),
        1,
    ),
    "twice as many means": (
        lambda x: functional.adaptive_avg_pool2d(x, (x.shape[2] * 2, x.shape[3])),
        (2, 3, 64, 96),
        2,
    ),
    "a mean of everything": (lambda x: functional.adaptive_avg_pool2d(x, 1), (2, 3, 64, 96), 1),
    "means of any side": (lambda x: functional.adaptive_avg_pool2d(x, 3), (2, 3, 64, 96), 9),
    "maxima of any side": (lambda x: functional.adaptive_max_pool2d(x, 3), (2, 3, 64, 96), 9),
    "copies": (lambda x: functional.interpolate(x, scale_factor=2), (2, 3, 64, 96), 4),
    "every third sample": (lambda x: functional.interpolate(x, scale_factor=1 / 3), (2, 3, 64), 1),
    "between corners": (
        lambda x: functional.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
        (2, 3, 64),
        4,
    ),
    "fewer between corners": (
        lambda x: functional.interpolate(x, scale_factor=0.5, mode="linear", align_corners=True),
        (2, 3, 64),
        2,
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_the_bound_for_every_size_is_that_of_the_worst(name: str) -> None:
    formula, shape, square = EVERY[name]
    upper = bounded(formula, shape, every=True).upper
    assert square * (1 - 1e-12) <= upper**2 <= square * (1 + 1e-9)


def _sums(matrix: Tensor) -> float:
    return float(matrix.abs().sum(0).max() * matrix.abs().sum(1).max())


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2.0, 2.25])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolation_by_a_factor_has_the_largest_sums_over_all_sides(
    mode: str, factor: float
) -> None:
    """Of matrices as torch interpolates images whose other side is one pixel of the same value."""
    largest = 0.0
    for side in range(1, 26):
        if math.floor(side * factor) == 0:
            continue
        unit = torch.eye(side, dtype=torch.float64)[:, None, :, None].expand(-1, -1, -1, 8)
        found = functional.interpolate(unit, scale_factor=(factor, 1.0), mode=mode)
        largest = max(largest, _sums(found[:, 0, :, 0].T))
    shape = (2, 3, 64, 96)
    formula = lambda x: functional.interpolate(x, scale_factor=(factor, 1.0), mode=mode)  # noqa: E731
    upper = bounded(formula, shape, every=True).upper
    assert upper**2 == pytest.approx(largest, rel=1e-12)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "other size": (
        lambda x: functional.interpolate(x, size=(x.shape[2] + 1, x.shape[3])),
        "resizes from .* expected a whole factor",
    ),
    "no simple fraction": (
        lambda x: functional.interpolate(x, scale_factor=1.37, mode="bilinear"),
        "interpolates by the factor 1.37: expected a simple fraction",
    ),
    "cubic between corners": (
        lambda x: functional.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=True),
        "aligns corners, so its weights depend on the size: prove it at one size",
    ),
    "means of another size": (
        lambda x: functional.adaptive_avg_pool2d(x, (x.shape[2] * 2 // 3, 2)),
        "resizes from .* expected a whole factor",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_depends_on_the_size_is_refused_with_its_reason(name: str) -> None:
    formula, reason = REFUSED[name]
    with pytest.raises(Refusal, match=reason):
        bounded(formula, (2, 3, 64, 96), every=True)
