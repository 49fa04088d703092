"""Random programs with in-place calls, views, aliases and branches: bounded above their Jacobian."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.certifier import Refusal, prove

_MASK = torch.tensor([True, False])[:, None, None]


class Program(nn.Module):
    """Steps on a list of tensors of one shape ``[B, 2, n, n]``, chosen by a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        chance = random.Random(seed)
        torch.manual_seed(seed)
        self.a = nn.Conv2d(2, 2, 3, padding=1)
        self.b = nn.Conv2d(4, 2, 1)
        self.c = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", bias=False)
        self.r = nn.LeakyReLU(chance.choice([0.2, 3.0, 1.5]), inplace=True)
        count = chance.randint(3, 8)
        self.steps = [
            (chance.choice(sorted(STEPS)), chance.randrange(99), chance.randrange(99),
             chance.choice([0.5, -2.0, 0.25, 1.5]))
            for _ in range(count)
        ]  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        values = [self.a(x), x.clone()]
        for name, first, second, factor in self.steps:
            u, w = values[first % len(values)], values[second % len(values)]
            values.append(STEPS[name](self, u, w, factor))
        return values[-1]


def _slice_in_place(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    u[:, :, ::2] *= c
    return u


def _set_channel(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    u[:, 0] = c * w[:, 1]
    return w


def _add_in_place(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    z = u
    z += c * w
    return u


def _activated_view(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    functional.leaky_relu_(u.view(len(u), -1), abs(c))
    return u


def _ignored_result(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    m.r(u)
    return c * u


def _branch(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    return c * u if u.shape[2] > 3 else u - w


def _swapped(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    p, q = u.chunk(2, 1)
    return torch.cat([q, c * p], 1)


def _copied(m: Any, u: Tensor, w: Tensor, c: float) -> Tensor:
    v = u.clone()
    v.copy_(w).mul_(c)
    return v


STEPS: dict[str, Callable[[Any, Tensor, Tensor, float], Tensor]] = {
    "convolution": lambda m, u, w, c: m.a(u),
    "circular convolution": lambda m, u, w, c: m.c(u),
    "sum": lambda m, u, w, c: u + c * w,
    "relu": lambda m, u, w, c: c * torch.relu(u),
    "tanh": lambda m, u, w, c: torch.tanh(c * u),
    "alias": lambda m, u, w, c: u,
    "flip": lambda m, u, w, c: u.flip(3) - w,
    "roll": lambda m, u, w, c: u.roll(1, 2),
    "transposed view": lambda m, u, w, c: u.transpose(2, 3),
    "mask": lambda m, u, w, c: torch.where(_MASK, u, c * w),
    "joined": lambda m, u, w, c: m.b(torch.cat([u, w], 1)),
    "maximum": lambda m, u, w, c: torch.maximum(u, c * w),
    "slice in place": _slice_in_place,
    "set a channel": _set_channel,
    "add in place": _add_in_place,
    "activated view": _activated_view,
    "ignored result": _ignored_result,
    "branch": _branch,
    "swapped": _swapped,
    "copied": _copied,
    "interpolated": lambda m, u, w, c: torch.lerp(u, w, abs(c)),
    "mean over channels": lambda m, u, w, c: u.mean(1, keepdim=True) + w,
}


@torch.no_grad()
def _differences(network: nn.Module, x: Tensor) -> Tensor:
    """The Jacobian by central differences: programs that work in place have no other derivative."""
    step = 1e-6 * torch.eye(x.numel(), dtype=torch.float64).reshape(-1, *x.shape[1:])
    return ((network(x + step) - network(x - step)) / 2e-6).flatten(1).T


def require_bounded(seed: int, *, points: int = 2) -> float | None:
    """Bound a program, and compare; the ratio of bound and truth, or ``None`` if it was refused."""
    program = Program(seed).eval()
    try:
        statement = prove(program)
    except Refusal:
        return None
    exact, largest = program.double(), 0.0
    for point in range(points):
        generator = torch.Generator().manual_seed(point)
        x = 3 * torch.randn((1, 2, 4, 4), generator=generator, dtype=torch.float64)
        matrix = _differences(exact, x)
        largest = max(largest, float(torch.linalg.matrix_norm(matrix, 2)))
        alpha = statement.averagedness
        if alpha is not None and alpha > 0:
            eye = torch.eye(len(matrix), dtype=torch.float64)
            rest = (matrix - (1 - alpha) * eye) / alpha
            assert torch.linalg.matrix_norm(rest, 2) <= 1 + 1e-5, program.steps
    assert largest <= statement.upper * (1 + 1e-6) + 1e-9, (program.steps, statement)
    return statement.upper / max(largest, 1e-12)


@given(st.integers(0, 10**9))
@settings(max_examples=15, deadline=None)
def test_no_program_is_bounded_below_its_jacobian(seed: int) -> None:
    require_bounded(seed)


def test_nearly_all_programs_are_bounded_rather_than_refused() -> None:
    ratios = [require_bounded(seed, points=1) for seed in range(5)]
    assert sum(ratio is not None for ratio in ratios) >= 4


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_alone_is_bounded(name: str) -> None:
    program = Program(0)
    program.steps = [(name, 0, 1, 1.5)]
    statement = prove(program)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    matrix = _differences(program.double(), x)
    assert torch.linalg.matrix_norm(matrix, 2) <= statement.upper * (1 + 1e-6)
