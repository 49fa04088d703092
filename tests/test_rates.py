"""Certified rates: they hold, they are attained or nearly so, and a run that is slower is refuted."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from deepinv.physics import Inpainting
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import Statement
from pnp_lip.solvers import ForwardBackward, Halpern, KrasnoselskiiMann
from pnp_lip.solvers.distance import certified_distance
from pnp_lip.solvers.iteration import StoppingRule, iterate
from pnp_lip.solvers.rates import Rate, composed, residual_bound


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_halperns_rate_is_attained(steps: int) -> None:
    """By ``T(x) = x - d`` far from the fixed point 0, a reflection near it (Lieder 2021)."""
    jump = 2 / (steps + 1)

    def step(w: Tensor) -> Tensor:
        return torch.where(w.abs() <= jump / 2, -w, w - jump * w.sign())

    start = torch.ones(1, 1, dtype=torch.float64)
    ended = iterate(step, start, StoppingRule(steps + 1, 0.0), scheme=Halpern())
    bound = residual_bound(Halpern(), 1.0, 1.0, steps)
    assert bound is not None
    assert float(ended.lengths) == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize("steps", [3, 30, 200])
@pytest.mark.parametrize("averagedness", [0.5, 0.8])
@pytest.mark.parametrize("relaxation", [0.5, 1.0])
def test_the_rate_of_averaged_maps_is_attained_up_to_a_factor(
    steps: int, averagedness: float, relaxation: float
) -> None:
    """By ``(1 - a) I + a R`` with a rotation whose angle suits the number of steps."""
    share = averagedness * relaxation
    square = 1 / (share * (1 - share) * (steps + 1))
    angle = 2 * math.asin(math.sqrt(square) / 2)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    matrix = (1 - averagedness) * torch.eye(2, dtype=torch.float64) + averagedness * turn
    scheme = KrasnoselskiiMann(relaxation)
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    ended = iterate(lambda w: w @ matrix, start, StoppingRule(steps + 1, 0.0), scheme=scheme)
    bound = residual_bound(scheme, averagedness, 1.0, steps)
    assert bound is not None
    assert 0.6 * bound <= float(ended.lengths) <= bound * (1 + 1e-12)


@settings(deadline=None)
@given(st.floats(1e-6, 10), st.sampled_from([Halpern(), KrasnoselskiiMann(0.5)]))
def test_the_number_of_steps_is_known_in_advance(
    length: float, scheme: Halpern | KrasnoselskiiMann
) -> None:
    rate = Rate.of(scheme, 1.0, 3.0)
    assert rate is not None
    count = rate.steps_for(length)
    assert rate.after(count) <= length
    assert count == 0 or rate.after(count - 1) >= length * (1 - 1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=4))
def test_a_composition_of_averaged_reflections_of_one_line_has_its_averagedness(
    parts: list[float],
) -> None:
    found = composed(*parts)
    assert max(parts) <= found < 1
    share = sum(a / (1 - a) for a in parts)
    assert found == pytest.approx(share / (1 + share))
    assert composed(*parts, 1.0) == 1.0


def masked(image: Tensor) -> Inpainting:
    return Inpainting(tuple(image.shape[1:]), mask=torch.ones_like(image[0]).tril())


@pytest.mark.parametrize("scheme", ["krasnoselskii-mann", "halpern"])
def test_a_plan_with_a_box_states_its_rate_and_the_run_keeps_it(
    scheme: str, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = masked(image)
    solver = ForwardBackward(small_denoiser, 0.1, box=(0.0, 1.0), scheme=scheme, max_iter=30)
    solution = solver.solve(physics.A(image), physics)
    rate = solution.plan.rate
    assert rate is not None
    assert rate.distance == pytest.approx(math.sqrt(image.numel()))
    assert "after 1000 steps, from the box" in solution.plan.summary()
    assert solution.guaranteed
    assert not solution.slower
    assert ForwardBackward(small_denoiser, 0.1).solve(image, physics).plan.rate is None


def test_a_run_slower_than_its_rate_is_not_guaranteed(
    small_denoiser: LipschitzDenoiser, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A false proof of the denoiser, told as if its map were almost a projection."""
    claimed = Statement("for the test", 1.0, 1e-9)
    monkeypatch.setattr("pnp_lip.solvers.hypotheses.statement_of", lambda *_: claimed)
    monkeypatch.setattr("pnp_lip.solvers.forward_backward.composed", lambda *_: 1e-9)
    physics = masked(image)
    solver = ForwardBackward(
        small_denoiser, 0.1, box=(0.0, 1.0), scheme="krasnoselskii-mann", max_iter=2
    )
    solution = solver.solve(physics.A(image), physics, init=torch.rand_like(image))
    assert solution.slower
    assert not solution.guaranteed
    assert "exceeds the proved rate" in solution.message


def scaling(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda w: factor * w


def test_the_certified_distance_of_a_scaling_is_its_length_and_the_error_of_float64() -> None:
    w = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    for factor in (0.0, 0.5, 0.9):
        plan: Any = SimpleNamespace(guaranteed=True, contraction=factor)
        bound = certified_distance(w, plan, partial(scaling, factor))
        exact = 5.0 + 2.0**-29 * 5.0 * (1 + factor) / (1 - factor)
        assert bound is not None
        assert exact <= bound <= exact * (1 + 2e-9)
