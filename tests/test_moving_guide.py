"""One loop whose guide follows the image: the conditions of its theorem, and what it converges to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from deepinv.physics import MRI, Denoising, Inpainting
from scipy.special import zeta
from torch import Tensor

from pnp_lip import GuidedDenoiser, LipschitzDenoiser, certify
from pnp_lip.certifier import Refusal, guide_constant, prove
from pnp_lip.certifier.guide import change_of_guide
from pnp_lip.constraints import project
from pnp_lip.denoisers.moving_guide import MovingGuide
from pnp_lip.errors import InputError
from pnp_lip.solvers import (
    ADMM,
    Adaptive,
    ForwardBackward,
    GuidedSolution,
    HypothesisViolated,
)
from pnp_lip.solvers.guide import Following

SIGMA, SIDE = 0.05, 16


def guided_denoiser(seed: int = 0, head: float = 2.0) -> GuidedDenoiser:
    torch.manual_seed(seed)
    plain = LipschitzDenoiser(1, depth=2, nf=5, kernel_size=3, pretrained=None)
    guided = GuidedDenoiser.starting_from(plain, channels=6, blocks=1).eval()
    with torch.no_grad():
        for step in (*guided.plain.steps, *guided.denoiser.steps):
            step.weight.normal_()
        guided.mask.head.weight.normal_(0, head)
    project(guided, averagedness=0.8)
    return guided


def image(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def problem(seed: int = 0) -> tuple[Tensor, Inpainting]:
    mask = (image(seed + 1, 1, 1, SIDE, SIDE) < 0.7).float()
    return mask * image(seed, 1, 1, SIDE, SIDE), Inpainting((1, SIDE, SIDE), mask=mask[0])


@pytest.mark.parametrize("rule", [Adaptive(), Adaptive(1, 0.3, 2.5), Adaptive(7, 1.0, 4.0)])
def test_the_sums_of_the_shares_are_bounded_as_stated(rule: Adaptive) -> None:
    steps = range(1, 20_001)
    assert math.fsum(k * rule.theta(k) for k in steps) <= rule.total < 100
    for k in (0, 1, 10, 100):
        rest = math.fsum(rule.theta(j) for j in steps if j > k)
        assert rest <= rule.left(k) <= 1.2 * rest + 1e-3


@pytest.mark.parametrize("rule", [Adaptive(), Adaptive(1, 0.3, 2.5), Adaptive(7, 1.0, 4.0)])
def test_the_bounds_of_the_infinite_sums_are_barely_above_the_zeta_function(rule: Adaptive) -> None:
    whole = rule.every * rule.weight * zeta(rule.decay - 1)
    assert whole <= rule.total <= 1.0001 * whole
    for k in (0, 1, 10, 100):
        rest = rule.weight * zeta(rule.decay, k // rule.every + 1)
        assert rest <= rule.left(k) <= 1.0001 * rest


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decay": 2.0}, "expected a decay above 2, got 2.0: otherwise the sum of k theta_k"),
        ({"decay": math.inf}, "expected a decay above 2"),
        ({"every": 0}, "expected at least 1 iteration between guides, got 0"),
        ({"weight": 1.5}, r"expected a weight in \(0, 1\], got 1.5"),
    ],
)
def test_shares_whose_errors_need_not_be_summable_are_refused(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        Adaptive(**options)


def test_the_guides_are_those_of_the_recursion_and_stay_in_the_box() -> None:
    guided, rule = guided_denoiser(), Adaptive(every=2, weight=0.5)
    first = image(0, 1, 1, SIDE, SIDE)
    following, z = Following(guided, first, SIGMA, rule), first
    for k in range(1, 9):
        x = image(k, 1, 1, SIDE, SIDE)
        following(k, x)
        theta = 0.5 * (k / 2) ** -2.1 if k % 2 == 0 else 0.0
        z = z + theta * (x - z)
        torch.testing.assert_close(following.guide, z)
        assert 0 <= float(following.guide.min()) <= float(following.guide.max()) <= 1
        expected = guided.at(z, SIGMA)(x, SIGMA)
        torch.testing.assert_close(following.denoiser(x, SIGMA), expected)


def test_the_loop_ends_at_a_fixed_point_of_the_map_with_its_last_guide() -> None:
    guided, (y, physics) = guided_denoiser(), problem()
    seen: list[Tensor] = []
    solver = ForwardBackward(guided, SIGMA, tol=1e-5, box=(0, 1), max_iter=3000, guide="adaptive")
    solution = solver.solve(y, physics, callback=lambda k, x: seen.append(x.clone()))
    assert isinstance(solution, GuidedSolution)
    assert solution.guaranteed
    plan = solution.plan
    assert plan.theorem is not None
    assert "summable errors, for a guide that converges" in plan.theorem.name
    assert "the sum of k theta_k is at most" in plan.summary()
    assert "a moving guide, at last" in solution.summary()
    assert solution.to_dict()["stages"][1]["guide_moved"]
    # The guide again, from the images that the callback saw.
    z, rule = solution.stages[0].x, Adaptive()
    for k, x in enumerate(seen[solution.stages[0].iterations :], start=1):
        z = torch.lerp(z, x, rule.theta(k))
    x = solution.x
    step = x - plan.stepsize * physics.A_adjoint(physics.A(x) - y)
    again = guided.at(z, SIGMA)(step, SIGMA).clamp(0, 1)
    assert float((again - x).norm() / x.norm()) < 3e-5
    old = guided.at(solution.stages[0].x, SIGMA)(step, SIGMA).clamp(0, 1)
    assert float((old - x).norm() / x.norm()) > 1e-3


def test_what_holds_for_one_guide_only_is_not_said_of_a_moving_one() -> None:
    y, physics = problem()
    options: dict[str, Any] = {"tol": 1e-4, "box": (0, 1), "anchor": 0.1, "max_iter": 2000}
    moving = ForwardBackward(guided_denoiser(), SIGMA, guide="adaptive", **options)
    fixed = ForwardBackward(guided_denoiser(), SIGMA, **options)
    followed, staged = (solver.solve(y, physics) for solver in (moving, fixed))
    assert staged.plan.contraction is not None
    assert staged.distance is not None
    assert followed.plan.contraction is None
    assert followed.plan.stability is None
    assert followed.distance is None


def test_without_a_box_or_with_halpern_no_guide_may_follow() -> None:
    y, physics = problem()
    for solver in (
        ADMM(guided_denoiser(), SIGMA, guide="adaptive"),
        ForwardBackward(guided_denoiser(), SIGMA, guide="adaptive"),
    ):
        with pytest.raises(HypothesisViolated, match="needs images that are kept in a box"):
            solver.solve(y, physics)
    halpern = ForwardBackward(
        guided_denoiser(), SIGMA, guide="adaptive", box=(0, 1), scheme="halpern"
    )
    with pytest.raises(HypothesisViolated, match="Halpern's iteration is not covered"):
        halpern.solve(y, physics)
    with pytest.raises(InputError, match="expected guide='stages', 'adaptive'"):
        ForwardBackward(guided_denoiser(), SIGMA, guide="often")


def test_filters_beyond_their_bound_stop_a_moving_guide() -> None:
    guided, (y, physics) = guided_denoiser(), problem()
    with torch.no_grad():
        guided.denoiser.steps[0].weight.mul_(3)
    with pytest.raises(HypothesisViolated, match="must be nonexpansive"):
        ForwardBackward(guided, SIGMA, box=(0, 1), guide="adaptive").solve(y, physics)


def test_the_certificate_of_a_moving_guide_is_that_of_the_filters() -> None:
    guided = guided_denoiser()
    moving = MovingGuide(guided.at(image(0, 1, 1, SIDE, SIDE), SIGMA))
    expected = prove(guided.denoiser)
    assert certify(moving, images=image(1, 1, 1, SIDE, SIDE)).upper == expected.upper
    moving.now.scale_0.neg_()
    with pytest.raises(Refusal, match="not all positive"):
        prove(moving)


@pytest.mark.parametrize("side", [12, 13])
@pytest.mark.parametrize("dial", [0.3, 1.0])
def test_guides_change_the_denoiser_by_at_most_the_constant(side: int, dial: float) -> None:
    guided = guided_denoiser(3, head=0.05)
    guided.dial = dial
    constant, statement = guide_constant(guided, SIGMA), prove(guided.denoiser)
    found = 0.0
    for seed in range(8):
        z, x = image(seed, 1, 1, side, side), image(50 + seed, 1, 1, side, side)
        other = z + 0.01 * torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
        one, two = guided.at(z, SIGMA), guided.at(other, SIGMA)
        apart = float((z - other).norm())
        uniform = change_of_guide(one, two, SIGMA, statement)
        assert float((one(x, SIGMA) - two(x, SIGMA)).norm()) <= uniform <= constant * apart
        found = max(found, uniform / apart)
    assert found > 1e-3 * constant


@pytest.mark.parametrize(("limit", "dial"), [(1.0, 1.0), (2.0, 0.5), (3.0, 0.25)])
def test_the_constant_is_that_of_a_mask_that_can_be_computed_by_hand(
    limit: float, dial: float
) -> None:
    """One filter, no blocks: a chain of numbers."""
    torch.manual_seed(0)
    plain = LipschitzDenoiser(1, depth=1, nf=1, kernel_size=3, pretrained=None)
    guided = GuidedDenoiser.starting_from(plain, channels=1, blocks=1, limit=limit).eval()
    with torch.no_grad():
        for parameter in guided.mask.parameters():
            parameter.zero_()
        guided.mask.stem.weight[0, 0, 1, 1] = 3.0
        guided.mask.head.weight.fill_(0.5)
    project(guided, averagedness=0.8)
    guided.dial = dial
    layer = guided.denoiser.steps[0]
    level = torch.tensor([SIGMA])
    reach = float(
        (torch.softmax(layer.activation.logits, 0) * layer.activation.thresholds(level)[:, 0]).sum()
    )
    (leaf,) = prove(guided.denoiser).leaves()
    filters = float(layer.tau) * (leaf.norm_upper or math.nan)
    expected = filters * reach * 0.5 * 3.0 * 2 * 2 * dial * math.exp(dial * limit)
    assert guide_constant(guided, SIGMA) == pytest.approx(expected, rel=0.03)
    guided.dial = 0.0
    assert guide_constant(guided, SIGMA) == 0.0


def test_no_constant_without_nonexpansive_filters_or_finite_weights() -> None:
    guided = guided_denoiser()
    with torch.no_grad():
        guided.mask.stem.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(Refusal, match="not finite"):
        guide_constant(guided, SIGMA)
    guided = guided_denoiser()
    with torch.no_grad():
        guided.denoiser.steps[0].weight.mul_(2)
    with pytest.raises(Refusal, match="only if every layer is nonexpansive"):
        guide_constant(guided, SIGMA)


def test_where_every_stage_contracts_the_result_moves_by_at_most_the_stated_multiple() -> None:
    guided, (y, physics) = guided_denoiser(1, head=0.05), problem()
    start = torch.zeros_like(y)
    solver = ForwardBackward(
        guided, SIGMA, box=(0, 1), anchor=0.5, tol=1e-6, max_iter=100, scheme="krasnoselskii-mann"
    )
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    observations = (y, y + 1e-2 * physics.A(noise))
    first, second = (solver.solve(one, physics, init=start) for one in observations)
    assert isinstance(first, GuidedSolution)
    assert first.stability is not None
    plans = [stage.plan for stage in first.stages]
    assert all(plan.stability is not None for plan in plans)
    assert first.stability > max(plan.stability or 0 for plan in plans)
    moved = float((first.x - second.x).norm()) / float((observations[0] - observations[1]).norm())
    assert 0 < moved <= first.stability < 1e6
    assert "through the guide as well" in first.summary()
    assert first.to_dict()["stability"] == first.stability


def test_complex_images_are_guided_part_by_part() -> None:
    guided = guided_denoiser()
    mask = (image(2, 1, 1, SIDE, SIDE) < 0.6).float()
    physics = MRI(mask=mask[0], img_size=(1, 2, SIDE, SIDE))
    x = image(3, 1, 2, SIDE, SIDE)
    y = physics(x)
    solver = ForwardBackward(guided, SIGMA, box=(-1, 1), tol=1e-5, max_iter=3000)
    solution = solver.solve(y, physics)
    assert isinstance(solution, GuidedSolution)
    assert solution.guaranteed
    guide, plan = solution.stages[0].x, solution.plan
    step = solution.x - plan.stepsize * physics.A_adjoint(physics.A(solution.x) - y)
    parts = [guided.at(guide[:, c : c + 1], SIGMA)(step[:, c : c + 1], SIGMA) for c in range(2)]
    again = torch.cat(parts, dim=1).clamp(-1, 1)
    assert float((again - solution.x).norm() / solution.x.norm()) < 2e-5


def test_the_slices_of_a_stack_are_guided_each_by_itself() -> None:
    guided, physics = guided_denoiser(), Denoising()
    y = image(4, 1, 1, 2, SIDE, SIDE)
    options: dict[str, Any] = {"tol": 1e-5, "box": (0, 1), "max_iter": 300}
    stack = ForwardBackward(guided, SIGMA, **options).solve(y, physics)
    assert isinstance(stack, GuidedSolution)
    assert stack.guaranteed
    guide, plan = stack.stages[0].x, stack.plan
    for k in range(2):
        x = stack.x[:, :, k]
        step = x - plan.stepsize * (x - y[:, :, k])
        again = guided.at(guide[:, :, k], SIGMA)(step, SIGMA).clamp(0, 1)
        assert float((again - x).norm() / x.norm()) < 2e-5


def test_step_lengths_with_a_moving_guide_do_not_look_like_a_disproof() -> None:
    guided, (y, physics) = guided_denoiser(5), problem(3)
    solver = ForwardBackward(
        guided, SIGMA, tol=1e-5, box=(0, 1), max_iter=3000, guide=Adaptive(1, 1.0, 2.05)
    )
    solution = solver.solve(y, physics)
    growth = solution.growth
    assert growth is None or not growth.proved
    assert solution.guaranteed
