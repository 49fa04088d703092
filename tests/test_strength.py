"""The level of the denoiser: stated noise, shares of it, and the discrepancy principle."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from deepinv.physics import (
    BlurFFT,
    Denoising,
    GaussianNoise,
    Inpainting,
    LinearPhysics,
    PoissonNoise,
    StackedLinearPhysics,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.errors import InputError
from pnp_lip.solvers import (
    ADMM,
    DEFAULT_STRENGTH,
    ForwardBackward,
    PlugAndPlay,
    solve_by_discrepancy,
    stated_noise,
)
from pnp_lip.solvers.discrepancy import default_target
from pnp_lip.solvers.misfit import discrepancy
from pnp_lip.solvers.root_search import RootSearch

NOISE = 0.1


@pytest.fixture
def denoiser() -> LipschitzDenoiser:
    return LipschitzDenoiser(1).requires_grad_(False)


def noisy(x: Tensor, physics: LinearPhysics) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    clean = physics.A(x)
    seen = (physics.A(torch.ones_like(x)) != 0).to(x)
    y: Tensor = clean + NOISE * seen * torch.randn(clean.shape, generator=draw)
    return y


def masked(x: Tensor) -> Inpainting:
    draw = torch.Generator().manual_seed(1)
    mask = (torch.rand(x.shape[1:], generator=draw) > 0.5).float()
    return Inpainting(tuple(x.shape[1:]), mask=mask, noise_model=GaussianNoise(NOISE))


def test_the_noise_is_that_of_the_noise_model() -> None:
    assert stated_noise(Denoising(GaussianNoise(0.05))) == pytest.approx(0.05)
    both = stated_noise(Denoising(GaussianNoise(torch.tensor([0.05, 0.1]))))
    assert isinstance(both, Tensor)
    assert both.tolist() == pytest.approx([0.05, 0.1])
    assert stated_noise(Denoising(PoissonNoise(0.1))) is None
    same = StackedLinearPhysics([Denoising(GaussianNoise(0.05)), Denoising(GaussianNoise(0.05))])
    assert stated_noise(same) == pytest.approx(0.05)
    different = StackedLinearPhysics(
        [Denoising(GaussianNoise(0.05)), Denoising(GaussianNoise(0.1))]
    )
    assert stated_noise(different) is None


def test_the_default_target_rises_with_the_noise() -> None:
    assert default_target(0.001) == default_target(0.01) == pytest.approx(0.55)
    assert default_target(0.03) == pytest.approx(0.75)
    assert default_target(torch.tensor([0.1, 0.3])) == pytest.approx(0.8)
    assert 0.55 < default_target(0.02) < 0.75


@pytest.mark.parametrize("kind", [ForwardBackward, ADMM])
def test_without_sigma_the_level_is_a_share_of_the_stated_noise(
    kind: type[PlugAndPlay], small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Denoising(GaussianNoise(NOISE))
    y = noisy(image, physics)
    shared = kind(small_denoiser, strength=0.5).solve(y, physics)
    given = kind(small_denoiser, 0.5 * NOISE).solve(y, physics)
    assert shared.plan.sigma == pytest.approx(0.5 * NOISE)
    torch.testing.assert_close(shared.x, given.x)
    assert kind(small_denoiser).solve(y, physics).plan.sigma == pytest.approx(
        DEFAULT_STRENGTH * NOISE
    )


def test_every_image_gets_a_share_of_its_own_noise(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    y = torch.cat([noisy(image, Denoising()), image])
    levels = torch.tensor([0.1, 0.02])
    physics = Denoising(GaussianNoise(levels))
    together = ForwardBackward(small_denoiser, strength=1.0).solve(y, physics)
    for index, level in enumerate(levels.tolist()):
        alone = ForwardBackward(small_denoiser, level).solve(y[index : index + 1], Denoising())
        torch.testing.assert_close(together.x[index], alone.x[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.1, "strength": 0.5}, "not both"),
        ({"strength": 0}, "positive share"),
        ({"strength": math.nan}, "positive share"),
        ({"strength": "much"}, "positive share"),
        ({"sigma": [0.1, 0.2]}, "a schedule"),
    ],
)
def test_senseless_levels_are_refused(
    options: dict[str, Any], message: str, small_denoiser: LipschitzDenoiser
) -> None:
    with pytest.raises(InputError, match=message):
        ForwardBackward(small_denoiser, **options)


def test_a_share_of_a_noise_that_nobody_knows_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Inpainting(tuple(image.shape[1:]), mask=0.5)
    with pytest.raises(InputError, match="states no Gaussian noise: pass sigma="):
        ForwardBackward(small_denoiser).solve(image, physics)
    physics.set_noise_model(GaussianNoise(0.0))
    with pytest.raises(InputError, match="expected a positive noise"):
        ForwardBackward(small_denoiser, strength="auto").solve(image, physics)


@pytest.mark.parametrize("make", [masked, lambda x: Denoising(GaussianNoise(NOISE))])
def test_of_the_true_image_the_discrepancy_is_one(make: Any, image: Tensor) -> None:
    physics = make(image)
    y = noisy(image, physics)
    # 960 and 1920 measurements: a standard deviation of 4.6 and 3.2 %.
    assert discrepancy(physics, image, y, NOISE) == pytest.approx(1.0, abs=0.15)
    assert discrepancy(physics, image, y, NOISE / 2) == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize("kind", [ForwardBackward, ADMM])
def test_the_strength_found_leaves_the_residual_asked_for(
    kind: type[PlugAndPlay], denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    kernel = torch.ones(1, 1, 3, 3) / 9
    physics = BlurFFT(tuple(image.shape[1:]), filter=kernel, noise_model=GaussianNoise(NOISE))
    y, steps = noisy(image, physics), []
    choice = solve_by_discrepancy(
        lambda sigma: kind(denoiser, sigma, tol=1e-4),
        y,
        physics,
        target=0.9,
        callback=lambda iteration, x: steps.append(iteration),
    )
    assert choice.met
    assert choice.discrepancy == pytest.approx(0.9, rel=0.02)
    rest = float((physics.A(choice.solution.x) - y).square().mean()) / NOISE**2
    assert rest == pytest.approx(choice.discrepancy, rel=1e-4)
    assert choice.solution.guaranteed
    assert choice.sigma == pytest.approx(choice.strength * NOISE)
    assert choice.solution.plan.sigma == choice.sigma
    assert len(steps) == choice.solution.iterations, "the callback is called in the last solve only"
    assert choice.to_dict()["tries"][-1][1] == choice.tries[-1].discrepancy


def test_automatic_strength_says_what_it_chose(denoiser: LipschitzDenoiser, image: Tensor) -> None:
    physics = Denoising(GaussianNoise(NOISE))
    y = noisy(image, physics)
    solution = ForwardBackward(denoiser, strength="auto", tol=1e-3).solve(y, physics)
    assert "by the discrepancy principle" in solution.plan.summary()
    assert solution.guaranteed


def test_a_noise_level_that_is_far_off_is_said(denoiser: LipschitzDenoiser, image: Tensor) -> None:
    y = image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    choice = solve_by_discrepancy(
        lambda sigma: ForwardBackward(denoiser, sigma, tol=1e-3), y, Denoising(), noise=2.0
    )
    assert not choice.met
    assert "is the noise level right?" in choice.message


@settings(deadline=None)
@given(st.floats(0.2, 6), st.floats(0.3, 3), st.floats(0.2, 2))
def test_a_root_of_a_power_is_found_in_a_few_steps(root: float, power: float, first: float) -> None:
    search = RootSearch(0.9, first)
    while search.next is not None:
        search.add(0.9 * (search.next / root) ** power, 1)
    assert search.met
    assert search.root == pytest.approx(root, rel=0.011 / power)
    assert len(search.tries) <= 8


def test_a_search_without_a_root_ends_at_the_nearer_end() -> None:
    for value, end in ((0.5, 8.0), (2.0, 0.125)):
        search = RootSearch(1.0, 0.7)
        while search.next is not None:
            search.add(value + 1e-6 * search.next, 1)
        assert not search.met
        assert search.tries[-1].strength == end


def looked_at(target: float, *lefts: float) -> list[float]:
    """Where a search from 0.5 looks while its solves leave these."""
    search = RootSearch(target, 0.5)
    places = [0.5]
    for left in lefts:
        search.add(left, 1)
        assert search.next is not None
        places.append(search.next)
    return places


def test_without_a_bracket_a_search_goes_a_tenth_beyond_the_secant_within_limits() -> None:
    # A residual that is the strength: the secant's root is at the target, 2 and 1.25 times as far.
    assert looked_at(1.6, 0.5, 0.8)[1:] == pytest.approx([0.8, 0.8 * 2**1.1])
    assert looked_at(0.25, 0.5)[1:] == pytest.approx([0.5 / 1.6])
    assert looked_at(0.25, 0.5, 0.3125)[2] == pytest.approx(0.3125 / 1.25**1.1)
    # One that hardly grows, and one that is nearly there: at most 4 times, at least 1.2 times as far.
    assert looked_at(1.0, 0.1, 0.1)[2] == pytest.approx(3.2)
    assert looked_at(1.0, 0.1, 0.1, 0.1)[3] == 8.0
    assert looked_at(1.0, 0.1, 0.98)[2] == pytest.approx(0.96)


def test_in_a_bracket_a_search_takes_the_secants_root_away_from_the_ends() -> None:
    for left, share in ((4.0, 0.5), (1.02, 0.9), (1e30, 0.1)):
        assert looked_at(1.0, 0.25, left)[2] == pytest.approx(0.5 * 1.6**share)
