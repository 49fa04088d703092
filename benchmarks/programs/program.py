"""A program: a few random steps on tensors of one kind."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import benchmarks.programs.entrywise  # noqa: F401
import benchmarks.programs.layers  # noqa: F401
import benchmarks.programs.moving  # noqa: F401
import benchmarks.programs.places  # noqa: F401
import benchmarks.programs.sums  # noqa: F401  (all register their steps)
from benchmarks.programs.draw import STEPS, Draw, Run

__all__ = ["RandomProgram"]

#: Shapes of inputs without their batch.
_SHAPES: dict[str, list[tuple[int, ...]]] = {
    "vectors": [(4,), (6,)],
    "signals": [(2, 5), (3, 4)],
    "images": [(2, 4, 4), (1, 4, 3), (4, 2, 2)],
}
_LARGEST = 150
_TRIES = 8
#: Steps that are refused whatever surrounds them are drawn seldom.
_RARE = {
    "what a description does not show": 0.15,
    "product of two": 0.15,
    "norm by its own statistics": 0.15,
}


class RandomProgram(nn.Module):
    """Steps that were found to fit each other on an example.

    Args:
        seed: of everything.
        kind: ``"vectors"``, ``"signals"`` or ``"images"``.
        fixed: refuse sizes that are symbols, so that the program is exported for its one size, which is
            several times faster.
        only: names of the steps, else two to five are drawn.

    Attributes:
        example: an input ``[1, ...]``.
        names: of the steps.
    """

    def __init__(
        self, seed: int, kind: str, *, fixed: bool = True, only: Sequence[str] = ()
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        draw = Draw(random.Random(seed))
        self.fixed = fixed
        self.example = torch.randn(1, *draw.of(_SHAPES[kind]))
        self.names: list[str] = []
        self.steps: list[tuple[Run, int, int]] = []
        values = [self.example.clone(), self.example.clone()]
        for name in only or [_drawn(draw) for _ in range(draw.of([2, 3, 4, 5]))]:
            self._extend(name, draw, values)
        self.parts = nn.ModuleList(draw.parts)
        self.eval()

    @torch.no_grad()
    def _extend(self, name: str, draw: Draw, values: list[Tensor]) -> None:
        """Add the step with tensors that it fits; leave it out if there are none."""
        for _ in range(_TRIES):
            last = (
                len(values) - 1
                if draw.chance.random() < 0.8
                else draw.chance.randrange(len(values))
            )
            other, kept = draw.chance.randrange(len(values)), len(draw.parts)
            tried = _copies(values)
            try:
                run = STEPS[name](draw, tried[last], tried[other])
                found: Any = run(tried[last], tried[other])
                fits = 2 <= found.ndim <= 4 and 0 < found.numel() <= _LARGEST and len(found) == 1
            except Exception:
                fits = False
            if fits and bool(torch.isfinite(found).all()):
                self.names.append(name)
                self.steps.append((run, last, other))
                values[:] = [*tried, found]
                return
            del draw.parts[kept:]

    def forward(self, x: Tensor) -> Tensor:
        if self.fixed and not all(type(side) is int for side in x.shape):
            raise TypeError("expected whole numbers")
        values = [x.clone(), x.clone()]
        for run, first, second in self.steps:
            values.append(run(values[first], values[second]))
        return values[-1]


def _copies(values: list[Tensor]) -> list[Tensor]:
    """Copies among which the same tensors are the same, as views of one storage stay views of one."""
    memo: dict[int, torch.UntypedStorage] = {}
    copies = []
    for value in values:
        storage = value.untyped_storage()
        if storage.data_ptr() not in memo:
            memo[storage.data_ptr()] = storage.clone()
        again = torch.empty(0, dtype=value.dtype)
        again.set_(memo[storage.data_ptr()], value.storage_offset(), value.shape, value.stride())
        copies.append(again)
    return copies


def _drawn(draw: Draw) -> str:
    names = sorted(STEPS)
    return draw.chance.choices(names, [_RARE.get(name, 1.0) for name in names])[0]
