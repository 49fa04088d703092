"""Plug-and-Play in stages: a theorem for every stage, and reports that say what it covers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deepinv.optim.data_fidelity import L1
from deepinv.physics import BlurFFT, Inpainting
from torch import Tensor, nn

from pnp_lip import GuidedDenoiser, LipschitzDenoiser
from pnp_lip.constraints import project
from pnp_lip.errors import InputError
from pnp_lip.solvers import (
    ADMM,
    ForwardBackward,
    GuidedPlugAndPlay,
    GuidedSolution,
    HypothesisViolated,
    PlugAndPlay,
    PrimalDual,
)
from pnp_lip.weights import weight_hash

SIGMA, SIDE = 0.05, 16


def guided_denoiser(seed: int = 0) -> GuidedDenoiser:
    torch.manual_seed(seed)
    plain = LipschitzDenoiser(1, depth=2, nf=5, kernel_size=3, pretrained=None)
    guided = GuidedDenoiser.starting_from(plain, channels=6, blocks=1).eval()
    with torch.no_grad():
        for step in (*guided.plain.steps, *guided.denoiser.steps):
            step.weight.normal_()
        guided.mask.head.weight.normal_(0, 2.0)
    project(guided, averagedness=0.8)
    return guided


def problem(seed: int = 0) -> tuple[Tensor, Inpainting]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 1, SIDE, SIDE, generator=generator)
    mask = (torch.rand(1, 1, SIDE, SIDE, generator=generator) < 0.7).float()
    physics = Inpainting((1, SIDE, SIDE), mask=mask[0])
    return mask * (x + 0.02 * torch.randn(x.shape, generator=generator)), physics


def forward_backward(denoiser: nn.Module, tol: float) -> PlugAndPlay:
    return ForwardBackward(denoiser, SIGMA, tol=tol, box=(0, 1), max_iter=2000)


def admm(denoiser: nn.Module, tol: float) -> PlugAndPlay:
    return ADMM(denoiser, SIGMA, tol=tol, max_iter=2000)


def primal_dual(denoiser: nn.Module, tol: float) -> PlugAndPlay:
    return PrimalDual(denoiser, SIGMA, data_fidelity=L1(), tol=tol, max_iter=2000)


@pytest.mark.parametrize("build", [forward_backward, admm, primal_dual])
def test_every_stage_has_its_own_theorem_and_converges(build: Any) -> None:
    y, physics = problem()
    solution = GuidedPlugAndPlay(guided_denoiser(), build, guide_updates=2).solve(y, physics)
    assert [stage.status.name for stage in solution.stages] == ["CONVERGED"] * 3
    assert all(stage.plan.theorem is not None for stage in solution.stages)
    assert all(stage.growth is None for stage in solution.stages)
    assert solution.guaranteed
    assert solution.iterations == sum(stage.iterations for stage in solution.stages)
    assert not torch.equal(solution.stages[0].x, solution.x)


def test_the_result_is_a_fixed_point_of_the_map_with_the_reported_guide() -> None:
    guided, (y, physics) = guided_denoiser(), problem()
    solver = GuidedPlugAndPlay(guided, forward_backward, tol=1e-6)
    solution = solver.solve(y, physics)
    guide = solution.stages[0].x
    assert solution.guides == (weight_hash({"guide": guide}),)
    fixed, x = guided.at(guide, SIGMA), solution.x
    step = solution.plan.stepsize * physics.A_adjoint(physics.A(x) - y)
    with torch.no_grad():
        again, plain = (D(x - step, SIGMA).clamp(0, 1) for D in (fixed, guided.plain))
    assert float(torch.linalg.vector_norm(again - x) / torch.linalg.vector_norm(x)) < 2e-6
    assert float(torch.linalg.vector_norm(plain - x) / torch.linalg.vector_norm(x)) > 1e-3


def test_at_dial_0_the_last_stage_is_the_plain_solve() -> None:
    guided, (y, physics) = guided_denoiser(), problem()
    guided.dial = 0.0
    staged = GuidedPlugAndPlay(guided, forward_backward, tol=1e-6).solve(y, physics)
    plain = forward_backward(guided.denoiser, 1e-6).solve(y, physics, init=staged.stages[0].x)
    torch.testing.assert_close(staged.x, plain.x, rtol=0, atol=1e-6)


def test_the_stages_before_the_last_stop_early() -> None:
    y, physics = problem()
    solution = GuidedPlugAndPlay(
        guided_denoiser(), forward_backward, tol=1e-6, loose=1e-2, guide_updates=2
    ).solve(y, physics)
    residuals = [stage.residual for stage in solution.stages]
    assert all(1e-4 < residual <= 1e-2 for residual in residuals[:2])
    assert residuals[2] <= 1e-6


def test_the_report_names_plans_guides_and_what_no_theorem_covers() -> None:
    y, physics = problem()
    solution = GuidedPlugAndPlay(guided_denoiser(), forward_backward).solve(y, physics)
    report, words = solution.to_dict(), solution.summary()
    assert [stage["guide_sha256"] for stage in report["stages"]] == [None, solution.guides[0]]
    assert all(stage["plan"]["theorem"] for stage in report["stages"])
    assert "nothing is claimed about how the result depends on the observation" in report["remark"]
    assert words.count("theorem:") == 2
    assert solution.guides[0][:12] in words


@pytest.mark.parametrize("kind", [ForwardBackward, ADMM, PrimalDual])
def test_a_solver_takes_a_guided_denoiser_and_solves_in_stages(kind: Any) -> None:
    guided, (y, physics) = guided_denoiser(), problem()
    build = {ForwardBackward: forward_backward, ADMM: admm, PrimalDual: primal_dual}[kind]
    direct = build(guided, 1e-4)
    solution = direct.solve(y, physics)
    expected = GuidedPlugAndPlay(guided, build, tol=1e-4).solve(y, physics)
    assert isinstance(solution, GuidedSolution)
    assert solution.guaranteed
    assert solution.guides == expected.guides
    assert torch.equal(solution.x, expected.x)
    assert torch.equal(direct(y, physics), expected.x)
    assert direct.denoiser is guided


def test_gradients_through_a_guide_are_refused() -> None:
    y, physics = problem()
    solver = ForwardBackward(guided_denoiser(), SIGMA, box=(0, 1), differentiable=True)
    with pytest.raises(InputError, match="needs a fixed guide"):
        solver(y, physics)


def test_only_the_stages_get_the_guide_not_the_plan_of_a_moving_one() -> None:
    y, physics = problem()
    solver = forward_backward(guided_denoiser(), 1e-4)
    plan = solver.plan(solver.data_term(y, physics), y)
    assert not plan.guaranteed
    assert "computes its guide from its input" in plan.summary()


def test_filters_beyond_their_bound_stop_the_guided_stage() -> None:
    guided, (y, physics) = guided_denoiser(), problem()
    with torch.no_grad():
        guided.denoiser.steps[0].weight.mul_(3)
    with pytest.raises(HypothesisViolated, match="must be nonexpansive"):
        GuidedPlugAndPlay(guided, forward_backward).solve(y, physics)


def test_in_a_pipeline_it_is_a_reconstructor() -> None:
    kernel = torch.ones(1, 1, 3, 3) / 9
    physics = BlurFFT((1, SIDE, SIDE), kernel)
    y = physics(torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3)))
    solver = GuidedPlugAndPlay(guided_denoiser(), forward_backward)
    assert torch.equal(solver(y, physics), solver.solve(y, physics).x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"guide_updates": 0}, "expected at least 1 guide, got guide_updates=0"),
        ({"tol": 0.0}, "expected positive tolerances, got tol=0.0"),
        ({"loose": float("nan")}, "expected positive tolerances"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GuidedPlugAndPlay(guided_denoiser(), forward_backward, **options)
