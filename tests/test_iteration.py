"""The loop: stopping, its free check of nonexpansiveness, and honest endings."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pnp_lip.solvers.iteration import Status, StoppingRule, iterate
from pnp_lip.solvers.part import Part
from pnp_lip.solvers.schemes import Anderson, Halpern, KrasnoselskiiMann, Scheme

RULE = StoppingRule(max_iter=200, tol=1e-8)
START = torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64)


def rotation(angle: float, factor: float = 1.0) -> Tensor:
    c, s = factor * math.cos(angle), factor * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def test_a_contraction_converges_at_its_rate() -> None:
    end = iterate(lambda w: 1.0 + 0.5 * (w - 1.0), START, RULE)
    assert end.status is Status.CONVERGED
    assert torch.allclose(end.w, torch.ones_like(end.w), atol=1e-7)
    assert end.residuals.shape == (end.iterations, 2)
    assert end.growth is None


def test_a_rotation_needs_relaxation() -> None:
    turn = rotation(1.0)
    plain = iterate(lambda w: w @ turn, START, RULE)
    relaxed = iterate(
        lambda w: w @ turn, START, StoppingRule(300, 1e-3), scheme=KrasnoselskiiMann(0.5)
    )
    assert plain.status is Status.NO_FIXED_POINT
    # The only fixed point is zero, so the relative residual stays; the step lengths vanish.
    assert torch.linalg.vector_norm(relaxed.w) < 1e-9


def test_a_translation_has_no_fixed_point() -> None:
    end = iterate(lambda w: w + 1, START, RULE)
    assert end.status is Status.NO_FIXED_POINT


def test_slow_convergence_is_told_from_no_fixed_point() -> None:
    end = iterate(lambda w: 0.99 * w + 0.01, START + 1, StoppingRule(100, 1e-12))
    assert end.status is Status.MAX_ITERATIONS


def test_an_expansive_map_is_caught_at_its_first_growth() -> None:
    end = iterate(lambda w: w @ rotation(0.5, 1.1), START, RULE)
    assert end.status is Status.EXPANSION
    assert end.growth is not None
    assert end.growth.iteration == 2
    assert end.growth.ratio == pytest.approx(1.1)
    assert end.iterations == 2


def test_the_growing_image_of_the_batch_is_named() -> None:
    def only_second(w: Tensor) -> Tensor:
        return torch.stack([0.5 * w[0], 1.2 * w[1]])

    end = iterate(only_second, START, RULE)
    assert end.growth is not None
    assert end.growth.image == 1


def test_without_stopping_a_growth_is_still_recorded() -> None:
    rule = StoppingRule(30, 1e-8, stop_on_growth=False)
    end = iterate(lambda w: 1.1 * w, START, rule)
    assert end.status is Status.EXPANSION
    assert end.iterations == 30
    assert end.growth is not None


def test_nan_is_never_convergence() -> None:
    calls = []

    def spoiled(w: Tensor) -> Tensor:
        calls.append(1)
        return w * (float("nan") if len(calls) == 3 else 0.5)

    end = iterate(spoiled, START, StoppingRule(50, 1e-30))
    assert end.status is Status.NON_FINITE
    assert end.iterations == 2
    assert torch.isfinite(end.w).all()


def test_rounding_is_not_taken_for_growth() -> None:
    generator = torch.Generator().manual_seed(0)

    def rounded(w: Tensor) -> Tensor:
        noise = torch.randn(w.shape, generator=generator)
        return (0.9 * w + 0.1) * (1 + 2 * torch.finfo(torch.float32).eps * noise)

    end = iterate(rounded, START.float(), StoppingRule(500, 0.0))
    assert end.growth is None


def test_every_image_has_to_converge() -> None:
    rates = torch.tensor([[0.1], [0.9]], dtype=torch.float64)
    end = iterate(lambda w: 1 + rates * (w - 1), START, StoppingRule(500, 1e-6))
    assert end.status is Status.CONVERGED
    assert bool((end.residuals[-1] <= 1e-6).all())
    assert bool((end.residuals[-2] > 1e-6).any())


@pytest.mark.parametrize(
    ("iterations", "tol", "word"), [(0, 1e-3, "max_iter"), (5, float("nan"), "tol")]
)
def test_senseless_rules_are_refused(iterations: int, tol: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        StoppingRule(iterations, tol)


def test_the_callback_sees_every_iterate() -> None:
    seen: list[int] = []
    end = iterate(lambda w: 0.5 * w + 0.5, START, RULE, callback=lambda k, w: seen.append(k))
    assert seen == list(range(1, end.iterations + 1))


def contractions(*factors: float) -> Callable[[Tensor], Tensor]:
    """One for every image of a batch, towards 1, of another rate in every entry."""
    entries = torch.linspace(0.3, 1, 7, dtype=torch.float64)
    rates = torch.tensor(factors, dtype=torch.float64)[:, None] * entries
    return lambda w: 1 + rates * (w - 1)


@pytest.mark.parametrize("scheme", [KrasnoselskiiMann(), Anderson(3), Halpern()])
def test_an_image_of_a_batch_ends_as_it_would_alone(scheme: Scheme) -> None:
    factors, rule = (0.2, 0.9, 0.5), StoppingRule(4000, 1e-3)
    start = torch.zeros(3, 7, dtype=torch.float64)
    start[:, 0] = torch.arange(3.0)
    together = iterate(contractions(*factors), start, rule, scheme=scheme)
    assert together.status is Status.CONVERGED
    for index, factor in enumerate(factors):
        alone = iterate(contractions(factor), start[index : index + 1], rule, scheme=scheme)
        assert together.steps[index] == alone.iterations
        torch.testing.assert_close(together.w[index], alone.w[0], rtol=1e-10, atol=1e-10)
        assert float(together.residuals[-1][index]) == pytest.approx(float(alone.residuals[-1]))
    assert len(set(together.steps)) > 1


@pytest.mark.parametrize("scheme", [KrasnoselskiiMann(), Anderson(3), Halpern()])
def test_images_that_have_ended_are_dropped_and_the_others_end_as_without(scheme: Scheme) -> None:
    factors, rule = (0.2, 0.9, 0.5, 0.8), StoppingRule(4000, 1e-3)
    start = torch.zeros(4, 7, dtype=torch.float64)
    start[:, 0] = torch.arange(4.0)
    sizes: list[int] = []

    def part(rows: list[int]) -> Part:
        step = contractions(*(factors[row] for row in rows))

        def counted(w: Tensor) -> Tensor:
            sizes.append(len(w))
            return step(w)

        return Part(counted)

    without = iterate(contractions(*factors), start, rule, scheme=scheme)
    dropped = iterate(contractions(*factors), start, rule, scheme=scheme, part=part)
    assert set(sizes) >= {3, 1}
    assert dropped.steps == without.steps
    assert dropped.statuses == without.statuses
    torch.testing.assert_close(dropped.w, without.w, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(dropped.residuals, without.residuals, rtol=1e-7, atol=0)
    torch.testing.assert_close(dropped.lengths, without.lengths, rtol=1e-7, atol=0)


@pytest.mark.parametrize("fault", ["another map", "another shape", "an error", "none"])
def test_a_part_that_is_not_the_same_map_is_not_used(fault: str) -> None:
    factors, rule = (0.2, 0.9, 0.5), StoppingRule(4000, 1e-6)
    start = torch.zeros(3, 7, dtype=torch.float64)
    calls: list[int] = []

    def part(rows: list[int]) -> Part | None:
        def step(w: Tensor) -> Tensor:
            calls.append(1)
            if fault == "an error":
                raise RuntimeError("made for three images")
            return w[:1] if fault == "another shape" else contractions(*factors[: len(rows)])(w)

        return None if fault == "none" else Part(step)

    ended = iterate(contractions(*factors), start, rule, part=part)
    assert len(calls) <= 1
    assert ended.w.equal(iterate(contractions(*factors), start, rule).w)


def test_a_growth_after_others_have_ended_names_the_image_of_the_batch() -> None:
    calls: list[int] = []

    def step(w: Tensor) -> Tensor:
        calls.append(1)
        late = 1.2 if len(calls) > 8 else 0.9
        return torch.stack([0.0 * w[0], late * w[1]]) if len(w) == 2 else late * w

    start = torch.ones(2, 3, dtype=torch.float64)
    growing = lambda w: torch.stack([0.0 * w[0], 1.2 * w[1]])  # noqa: E731
    ended = iterate(
        step, start, StoppingRule(40, 1e-12), exact=lambda: growing, part=lambda rows: Part(step)
    )
    assert ended.statuses == (Status.CONVERGED, Status.EXPANSION)
    assert ended.growth is not None
    assert ended.growth.image == 1


def test_an_image_that_becomes_nan_does_not_end_the_others() -> None:
    contract = contractions(0.9, 0.5)

    def step(w: Tensor) -> Tensor:
        image = contract(w)
        image[0] = torch.where(image[0] > 0.3, torch.nan, image[0])
        return image

    for scheme in (KrasnoselskiiMann(), Anderson(2)):
        ended = iterate(
            step, torch.zeros(2, 7, dtype=torch.float64), StoppingRule(60, 1e-9), scheme=scheme
        )
        assert ended.statuses == (Status.NON_FINITE, Status.CONVERGED)
        assert ended.status is Status.NON_FINITE
        assert bool(ended.w.isfinite().all())
        torch.testing.assert_close(ended.w[1], torch.ones(7, dtype=torch.float64))
        assert ended.steps[0] < ended.steps[1]
