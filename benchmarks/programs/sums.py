"""Steps on two tensors: sums, extremes, joins, products."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.programs.draw import Draw, Run, step
from benchmarks.programs.entrywise import nonlinearity

__all__: list[str] = []


@step("sum")
def _sum(draw: Draw, u: Tensor, w: Tensor) -> Run:
    c, d = draw.factor(), draw.factor()
    return draw.of(
        [lambda u, w: u + c * w, lambda u, w: c * u + d * w, lambda u, w: u - w,
         lambda u, w: torch.add(u, w, alpha=2), lambda u, w: torch.sub(u, w, alpha=0.5),
         lambda u, w: torch.rsub(u, w, alpha=0.5), lambda u, w: sum([u, w, c * u]),
         lambda u, w: torch.stack([u, c * w]).sum(0), lambda u, w: torch.stack([u, w]).mean(0)]
    )  # fmt: skip


@step("convex combination")
def _convex(draw: Draw, u: Tensor, w: Tensor) -> Run:
    c, share = draw.of([0.3, 0.9, 1.5, -0.25]), draw.held(1)
    return draw.of(
        [lambda u, w: (1 - c) * u + c * w, lambda u, w: torch.lerp(u, w, c), lambda u, w: u + c * (w - u),
         lambda u, w: torch.lerp(u, w, torch.tensor(c)), lambda u, w: torch.lerp(u, torch.ones_like(u), c),
         lambda u, w: torch.sigmoid(share.value) * u + (1 - torch.sigmoid(share.value)) * w]
    )  # fmt: skip


@step("skip")
def _skip(draw: Draw, u: Tensor, w: Tensor) -> Run:
    """A nonlinearity of a tensor beside the tensor itself: their mean matrices are both diagonal."""
    sigma, c, d = nonlinearity(draw, u), draw.factor(), draw.factor()
    return draw.of(
        [lambda u, w: u + c * sigma(u), lambda u, w: c * sigma(u) - d * u, lambda u, w: w + c * sigma(u),
         lambda u, w: sigma(d * u) + c * u, lambda u, w: sigma(u) - sigma(w)]
    )  # fmt: skip


@step("extreme of two")
def _extreme(draw: Draw, u: Tensor, w: Tensor) -> Run:
    c = draw.factor()
    return draw.of(
        [lambda u, w: torch.maximum(u, c * w), lambda u, w: torch.minimum(u, w),
         lambda u, w: torch.max(u, -u), lambda u, w: torch.min(c * u, w),
         lambda u, w: torch.stack([u, w], 1).amax(1)]
    )  # fmt: skip


@step("joined")
def _joined(draw: Draw, u: Tensor, w: Tensor) -> Run:
    a, c = draw.axis(u), draw.factor()
    return draw.of(
        [lambda u, w: torch.cat([u, c * w], a), lambda u, w: torch.cat([u, u, w], a),
         lambda u, w: torch.stack([u, w], a), lambda u, w: torch.hstack([w, u]),
         lambda u, w: torch.cat([u, torch.ones_like(u)], a)]
    )  # fmt: skip


@step("sum of unequal shapes")
def _unequal(draw: Draw, u: Tensor, w: Tensor) -> Run:
    a, c = draw.axis(u), draw.factor()
    return draw.of(
        [lambda u, w: u + c * w.narrow(a, 0, 1), lambda u, w: u.mean(a, keepdim=True) - w,
         lambda u, w: torch.maximum(u, w.narrow(a, 0, 1)), lambda u, w: u.unsqueeze(1) + w.unsqueeze(2),
         lambda u, w: torch.where(torch.ones(u.shape[-1]) > 0, u, w.narrow(a, 0, 1))]
    )  # fmt: skip


@step("product of two")
def _product(draw: Draw, u: Tensor, w: Tensor) -> Run:
    return draw.of(
        [lambda u, w: u * w, lambda u, w: u / (1 + w.abs()), lambda u, w: u * u.sigmoid()]
    )
