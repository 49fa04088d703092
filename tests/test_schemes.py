"""Schemes of steps: each keeps its theorem, and acceleration its safeguard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip.solvers.growth import norms, numbers
from pnp_lip.solvers.iteration import Status, StoppingRule, iterate
from pnp_lip.solvers.schemes import Anderson, Halpern, KrasnoselskiiMann, scheme_named


def averaged_map(seed: int, size: int = 12) -> tuple[Tensor, Tensor]:
    """``T(w) = w M + c``, firmly nonexpansive, with a fixed point."""
    draw = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64))[0]
    matrix = 0.5 * torch.eye(size, dtype=torch.float64) + 0.5 * rotation
    point = torch.randn(1, size, generator=draw, dtype=torch.float64)
    return matrix, point - point @ matrix


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_acceleration_converges_to_a_fixed_point(seed: int, memory: int) -> None:
    matrix, shift = averaged_map(seed)
    step = lambda w: w @ matrix + shift  # noqa: E731
    start = torch.zeros(1, 12, dtype=torch.float64)
    ended = iterate(step, start, StoppingRule(3000, 1e-9), scheme=Anderson(memory))
    assert ended.status is Status.CONVERGED
    assert float(norms(step(ended.w) - ended.w)) <= 1e-8 * (1 + float(norms(ended.w)))


def test_acceleration_needs_fewer_steps_than_none() -> None:
    matrix, shift = averaged_map(3, 40)
    step = lambda w: w @ matrix + shift  # noqa: E731
    start, rule = torch.zeros(1, 40, dtype=torch.float64), StoppingRule(5000, 1e-8)
    plain = iterate(step, start, rule)
    fast = iterate(step, start, rule, scheme=Anderson())
    assert fast.status is plain.status is Status.CONVERGED
    assert fast.iterations < 0.6 * plain.iterations


@pytest.mark.parametrize("relaxation", [1.0, 0.4])
def test_on_an_affine_map_a_full_memory_ends_in_as_many_steps_as_dimensions(
    relaxation: float,
) -> None:
    matrix, shift = averaged_map(5, 6)
    ended = iterate(
        lambda w: w @ matrix + shift,
        torch.zeros(1, 6, dtype=torch.float64),
        StoppingRule(50, 1e-7),
        scheme=Anderson(memory=6, relaxation=relaxation),
    )
    assert ended.iterations <= 9, "type-II Anderson is GMRES there (Walker and Ni 2011)"


def test_corrections_are_summable_whatever_the_map_does() -> None:
    draw = torch.Generator().manual_seed(0)
    scheme = Anderson(safeguard=2.0)
    w = torch.randn(1, 30, generator=draw)
    steps = scheme.start(w)
    total, first = 0.0, 0.0
    for _ in range(200):
        image = torch.randn(1, 30, generator=draw)
        residual = image - w
        steps.note(w, image, residual, numbers(norms(residual)))
        following = steps.following(w, image, residual)
        first = first or float(norms(residual))
        correction = float(norms(following - image))
        assert correction <= 2.0 * first * (1 + 1e-5)
        total += correction
        w = following
    assert total <= 2.0 * first * sum(n**-1.1 for n in range(1, 201)) * (1 + 1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.4, 1.0]), st.integers(1, 5))
def test_a_scheme_notes_how_far_iterates_and_images_are_apart(
    seed: int, relaxation: float, memory: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    for scheme in (Anderson(memory, relaxation), KrasnoselskiiMann(relaxation), Halpern()):
        w = torch.randn(2, 30, generator=draw)
        steps, last = scheme.start(w), None
        for _ in range(8):
            image = torch.randn(2, 30, generator=draw)
            residual = image - w
            noted = steps.note(w, image, residual, numbers(norms(residual)))
            if last is None:
                assert noted is None
            else:
                exact = numbers(norms(image - last[1])), numbers(norms(w - last[0]))
                if noted is None:
                    assert (exact[0] <= exact[1] * (1 + 1e-5)).all()
                else:
                    np.testing.assert_allclose(noted, exact, rtol=1e-5)
            last, w = (w, image), steps.following(w, image, residual)


def test_every_image_of_a_batch_is_accelerated_by_itself() -> None:
    maps = [averaged_map(seed) for seed in (1, 2)]

    def step(w: Tensor) -> Tensor:
        return torch.cat([w[i : i + 1] @ m + c for i, (m, c) in enumerate(maps[: len(w)])])

    start = torch.zeros(2, 12, dtype=torch.float64)
    rule = StoppingRule(15, 0.0)
    both = iterate(step, start, rule, scheme=Anderson())
    alone = iterate(step, start[:1], rule, scheme=Anderson())
    assert torch.allclose(both.w[0], alone.w[0], atol=1e-9)


def test_halpern_finds_the_fixed_point_nearest_to_the_start() -> None:
    project = lambda w: torch.stack([w[:, 0], torch.zeros_like(w[:, 0])], 1)  # noqa: E731
    start = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    ended = iterate(project, start, StoppingRule(20000, 1e-4), scheme=Halpern())
    assert torch.allclose(ended.w, torch.tensor([[3.0, 0.0]], dtype=torch.float64), atol=1e-3)


def test_schemes_have_names() -> None:
    assert scheme_named("halpern") == Halpern()
    assert scheme_named(KrasnoselskiiMann(0.5)) == KrasnoselskiiMann(0.5)
    assert Anderson(memory=7).stored == 14
    assert Anderson().limited(0.5).relaxation == 0.5
    with pytest.raises(ValueError, match="expected a scheme among anderson, halpern"):
        scheme_named("nesterov")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (KrasnoselskiiMann, {"relaxation": 0.0}, "relaxation in"),
        (KrasnoselskiiMann, {"relaxation": 1.5}, "relaxation in"),
        (Anderson, {"memory": 0}, "memory >= 1"),
        (Anderson, {"safeguard": 0.0}, "safeguard > 0"),
        (Anderson, {"restart": 1.0}, "restart > 1"),
    ],
)
def test_senseless_schemes_are_refused(kind: type, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)
