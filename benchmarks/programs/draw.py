"""What a random step is made of: choices, numbers, weights that the program keeps."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["STEPS", "Draw", "Held", "Run", "step"]

_Item = TypeVar("_Item")

#: A step as it runs: of the last tensor and another one.
Run = Callable[[Tensor, Tensor], Tensor]


class Held(nn.Module):
    """A parameter that a step reads."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)


@dataclass
class Draw:
    """Everything random about one program; the modules that its steps made are in ``parts``."""

    chance: random.Random
    parts: list[nn.Module] = field(default_factory=list)

    def of(self, items: Sequence[_Item]) -> _Item:
        return self.chance.choice(items)

    def factor(self) -> float:
        """Not zero, mostly below 1."""
        return self.of([0.5, -0.5, 0.25, 1.0, -1.0, 1.5, -2.0, 0.1])

    def keep(self, module: nn.Module) -> nn.Module:
        self.parts.append(module.eval())
        return module

    def held(self, *shape: int, scale: float = 1.0) -> Held:
        held = Held(scale * torch.randn(shape))
        self.parts.append(held)
        return held

    def axis(self, x: Tensor) -> int:
        """One of the axes other than that of the batch."""
        return self.chance.randrange(1, x.ndim)


#: Makers of steps by name: of the draw, and of two tensors as the step will meet them.
STEPS: dict[str, Callable[[Draw, Tensor, Tensor], Run]] = {}


def step(
    name: str,
) -> Callable[[Callable[[Draw, Tensor, Tensor], Run]], Callable[[Draw, Tensor, Tensor], Run]]:
    """Decorator: a maker of steps. One that does not fit the tensors may raise what it likes."""

    def add(maker: Callable[[Draw, Tensor, Tensor], Run]) -> Callable[[Draw, Tensor, Tensor], Run]:
        STEPS[name] = maker
        return maker

    return add
