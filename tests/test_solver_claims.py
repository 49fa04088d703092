"""A solver names a theorem only where its hypotheses hold for what runs, and proves only in float64."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    Denoising,
    Downsampling,
    Inpainting,
    LinearPhysics,
)
from torch import Tensor, nn

from pnp_lip import Frozen, LipschitzDenoiser
from pnp_lip.certifier import Statement
from pnp_lip.solvers import (
    ADMM,
    Anderson,
    ForwardBackward,
    Halpern,
    HypothesisViolated,
    KrasnoselskiiMann,
    MapError,
    PlugAndPlay,
    Status,
)
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.growth import Watch, norms
from pnp_lip.solvers.iteration import StoppingRule, iterate
from pnp_lip.solvers.linear_system import solve_shifted
from pnp_lip.solvers.rates import residual_bound

BOTH = pytest.mark.parametrize("kind", [ForwardBackward, ADMM])
Solver = type[ForwardBackward] | type[ADMM]


def blur(shape: tuple[int, ...] = (1, 40, 48)) -> BlurFFT:
    return BlurFFT(shape, filter=torch.ones(1, 1, 3, 3) / 9)


def noisy(physics: LinearPhysics, image: Tensor) -> Tensor:
    y: Tensor = physics.A(image)
    return y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))


# --- Growth ---------------------------------------------------------------------------------------


def test_bfloat16_kernels_are_never_taken_for_a_proof_of_expansion(image: Tensor) -> None:
    denoiser = LipschitzDenoiser(1)
    physics = blur()
    frozen = Frozen(denoiser, 0.01, dtype=torch.bfloat16)
    for scheme in ("krasnoselskii-mann", "anderson"):
        solver = ForwardBackward(frozen, 0.01, max_iter=60, scheme=scheme)
        solution = solver.solve(noisy(physics, image), physics)
        assert solution.status is not Status.EXPANSION
        assert solution.growth is None or not solution.growth.proved
        assert "proves" not in solution.message


def test_a_growth_that_rounding_explains_is_not_a_growth() -> None:
    def coarse(w: Tensor) -> Tensor:
        return (0.999 * w + 0.5).bfloat16().to(w.dtype)

    rule = StoppingRule(80, 0.0)
    start = torch.linspace(0, 1, 64).view(1, 64)
    ended = iterate(coarse, start, rule, exact=lambda: lambda w: 0.999 * w + 0.5)
    assert ended.growth is None
    suspected = iterate(coarse, start, rule)
    assert suspected.growth is not None, "without an evaluation in float64 it stays a suspicion"
    assert not suspected.growth.proved
    assert suspected.status is not Status.EXPANSION


def test_a_growth_beyond_rounding_is_proved_in_float64() -> None:
    ended = iterate(
        lambda w: 1.01 * w,
        torch.ones(1, 8),
        StoppingRule(50, 0.0),
        exact=lambda: lambda w: 1.01 * w,
    )
    assert ended.status is Status.EXPANSION
    assert ended.growth is not None
    assert ended.growth.proved
    assert ended.growth.ratio == pytest.approx(1.01)


def test_accelerated_steps_may_grow_without_a_growth_of_the_map() -> None:
    draw = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=draw, dtype=torch.float64))[0]
    step = lambda w: 0.5 * w + 0.5 * (w @ rotation)  # noqa: E731
    start = torch.randn(1, 12, generator=draw, dtype=torch.float64)
    ended = iterate(step, start, StoppingRule(100, 1e-12), scheme=Anderson())
    assert ended.growth is None


def test_few_suspicions_are_looked_at() -> None:
    calls = []

    def exact(w: Tensor) -> Tensor:
        calls.append(1)
        return w

    watch = Watch(lambda: exact)
    for k in range(100):
        pair = (torch.zeros(1, 4), torch.ones(1, 4))
        watch.look(k, lambda: pair, np.array([2.0 + 0.001 * k]), np.array([1.0]))  # noqa: B023
    assert len(calls) <= 16
    assert watch.growth is None


# --- Endings --------------------------------------------------------------------------------------


def test_a_tiny_step_is_not_convergence(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    solver = ForwardBackward(small_denoiser, 0.0, stepsize=1e-5, max_iter=50, tol=1e-4)
    solution = solver.solve(image, Denoising(), init=torch.zeros_like(image) + 0.01)
    assert solution.status is not Status.CONVERGED or float(norms(solution.x - image)) < 0.1
    plain = ForwardBackward(
        small_denoiser, 0.0, stepsize=1e-5, max_iter=50, tol=1e-4, scheme="krasnoselskii-mann"
    ).solve(image, Denoising(), init=torch.zeros_like(image) + 0.01)
    assert plain.status is Status.MAX_ITERATIONS, "existence is proved here"


def test_no_fixed_point_is_never_said_where_one_is_proved(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    for options in ({"box": (0.0, 1.0)}, {"stepsize": 1e-5}, {"anchor": 0.01}):
        solver = ForwardBackward(
            small_denoiser, 0.0, max_iter=30, tol=0.0, scheme="krasnoselskii-mann", **options
        )
        solution = solver.solve(image, Denoising())
        assert solution.plan.exists
        assert solution.status is not Status.NO_FIXED_POINT


def test_a_denoiser_that_works_in_place_is_found_out(image: Tensor) -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor, sigma: float) -> Tensor:
            return x.mul_(0.5)

    with pytest.raises(MapError, match="changed its argument in place"):
        ADMM(InPlace(), 0.1, unproved=True).solve(image, Denoising())


# --- Theorems -------------------------------------------------------------------------------------


def test_a_contraction_below_rounding_is_not_named(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = BlurFFT((1, 40, 48), filter=torch.ones(1, 1, 7, 7) / 49)
    data = DataTerm(noisy(physics, image), physics)
    plan = ForwardBackward(small_denoiser, 0.05).plan(data, image)
    assert plan.theorem is not None
    assert "averaged" in plan.theorem.name
    assert "only fixed point" in plan.theorem.conclusion
    assert plan.contraction is None
    assert plan.exists


def test_constants_multiply_also_above_one(image: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, sigma: float) -> Tensor:
            return 1.2 * x

    expansive = Statement("for the test", 1.2, None)
    monkeypatch.setattr("pnp_lip.solvers.hypotheses.statement_of", lambda *_: expansive)
    solution = ForwardBackward(Scaled(), 0.1, stepsize=0.5, tol=1e-6).solve(image, Denoising())
    assert solution.plan.contraction == pytest.approx(0.6)
    assert torch.allclose(solution.x, 0.6 * image / 0.4, atol=1e-5), "x = 1.2 (x + y) / 2"
    with pytest.raises(HypothesisViolated, match=r"only Lip <= 1\.2 is proved"):
        ForwardBackward(Scaled(), 0.1, stepsize=0.1).solve(image, Denoising())


@BOTH
def test_an_anchor_makes_the_solution_unique_and_its_distance_certified(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Inpainting((1, 40, 48), mask=torch.ones(1, 40, 48).tril())
    y = noisy(physics, image)
    loose = kind(small_denoiser, 0.02, anchor=0.05, tol=1e-3).solve(y, physics)
    tight = kind(small_denoiser.double(), 0.02, anchor=0.05, tol=1e-12).solve(y, physics.double())
    assert loose.plan.theorem is not None
    assert "Banach" in loose.plan.theorem.name
    assert loose.distance is not None
    assert tight.distance is not None
    assert tight.distance < 1e-6
    if kind is ForwardBackward:
        assert float(norms(loose.x.double() - tight.x)) <= loose.distance + tight.distance


def test_the_stability_bound_holds(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    physics = Inpainting((1, 40, 48), mask=torch.ones(1, 40, 48).tril())
    y = physics.A(image)
    solver = ForwardBackward(small_denoiser, 0.02, anchor=0.1, tol=1e-7)
    first = solver.solve(y, physics, init=image)
    assert first.plan.stability is not None
    for seed in range(3):
        change = 0.1 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
        other = solver.solve(y + change, physics, init=image)
        moved = float(norms(other.x - first.x))
        assert moved <= first.plan.stability * float(norms(change)) + 1e-4
        assert moved > 0.01 * float(norms(change)), "the bound is not about nothing"


def test_both_methods_find_the_same_image_with_the_same_step_and_denoiser(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    # A kernel without zeros in its spectrum, so that the solution is unique.
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]).view(1, 1, 3, 3)
    circular = BlurFFT((1, 40, 48), filter=kernel.double())
    for physics in (circular, Blur(kernel, padding="reflect").double()):
        y = noisy(physics, image.double())
        denoiser = copy.deepcopy(small_denoiser).double()
        options: dict[str, Any] = {"stepsize": 1.2, "tol": 1e-10, "max_iter": 2000}
        first = ForwardBackward(denoiser, 0.05, firm=True, **options).solve(y, physics)
        second = ADMM(denoiser, 0.05, **options).solve(y, physics)
        assert first.status is second.status is Status.CONVERGED
        assert torch.allclose(first.x, second.x, atol=1e-7)


def test_a_looser_bound_moves_no_solution(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    physics = blur()
    y = noisy(physics, image)
    for kind in (ForwardBackward, ADMM):
        solver = kind(small_denoiser, 0.05)
        tight, loose = solver.solve(y, physics), solver.solve(y, physics, norm=1.02)
        assert tight.plan.stepsize == loose.plan.stepsize
        assert torch.equal(tight.x, loose.x)
    with pytest.raises(HypothesisViolated, match="use ADMM, which converges with every stepsize"):
        ForwardBackward(small_denoiser, 0.05).solve(y, physics, norm=3.0)


def test_rates_bound_the_residuals_of_their_schemes() -> None:
    draw = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=draw, dtype=torch.float64))[0]
    start = torch.randn(1, 16, generator=draw, dtype=torch.float64)
    distance = float(norms(start))
    for scheme in (Halpern(), KrasnoselskiiMann(0.5)):
        ended = iterate(lambda w: w @ rotation, start, StoppingRule(200, 0.0), scheme=scheme)
        lengths = ended.residuals[:, 0]
        assert len(lengths) == 200
        bound = residual_bound(scheme, 1.0, distance, 199)
        assert bound is not None
        assert float(ended.lengths) <= bound
    assert residual_bound(KrasnoselskiiMann(1.0), 1.0, 1.0, 5) is None
    assert residual_bound(Anderson(), 0.5, 1.0, 5) is None


def test_printed_bounds_are_not_below_what_is_proved(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    data = DataTerm(image, Denoising())
    plan = ForwardBackward(small_denoiser, 0.05, stepsize=0.3333333).plan(
        data, image, norm=1.0000001
    )
    text = plan.summary()
    printed = float(text.split("|A| <= ")[1].split(":")[0])
    assert printed >= 1.0000001
    assert plan.contraction is not None
    assert float(text.split("q <= ")[1].split(",")[0]) >= plan.contraction


# --- The proximity operator -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "physics",
    [
        Downsampling((1, 12, 15), factor=2, padding="circular", filter="gaussian"),
        Downsampling((1, 12, 16), factor=2, filter=None),
        Blur(torch.rand(1, 1, 3, 3), padding="valid"),
        Blur(torch.rand(1, 1, 3, 3), padding="circular").stack(Denoising()),
    ],
    ids=["side no multiple", "unfiltered", "valid", "stack"],
)
def test_the_proximity_operator_is_right_where_deepinv_fails(physics: LinearPhysics) -> None:
    x = torch.rand(1, 1, 12, 15 if "15" in str(getattr(physics, "imsize", "")) else 16)
    if getattr(physics, "imsize", None) is not None:
        x = torch.rand(1, *physics.imsize)
    data = DataTerm(physics.A(x), physics)
    z = torch.rand(x.shape)
    for gamma in (0.1, 1.0, 10.0):
        p = data.prox(z, gamma)
        defect = norms(p - z + gamma * data.gradient(p))
        assert float(defect) <= 4e-6 * float(norms(z + gamma * data.adjoint_of_y))
    assert data.missed == 0


def test_the_errors_of_the_proximity_operator_are_summable() -> None:
    physics = Blur(torch.rand(1, 1, 3, 3) / 9, padding="valid").double()
    data = DataTerm(physics.A(torch.rand(1, 1, 16, 16).double()), physics, prox_error=1e-4)
    z = torch.rand(1, 1, 16, 16).double()
    for k in range(1, 200):
        p = data.prox(z + 0.1 * math.sin(k), 1.0)
        error = norms(p - (z + 0.1 * math.sin(k)) + data.gradient(p))
        assert float(error) <= 1e-4 * float(norms(z + 0.1 * math.sin(1))) * k**-1.1 * (1 + 1e-6)


def test_a_proximity_operator_that_misses_its_accuracy_withdraws_the_claim(
    small_denoiser: LipschitzDenoiser, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    physics = Blur(torch.ones(1, 1, 3, 3) / 9, padding="valid")
    y = noisy(physics, image)
    assert ADMM(small_denoiser, 0.05, max_iter=30).solve(y, physics).guaranteed
    lazy = lambda normal, b, start, tolerance, **_: (start, norms(b - start - normal(start)))  # noqa: E731
    monkeypatch.setattr("pnp_lip.solvers.proximity.solve_shifted", lazy)
    solution = ADMM(small_denoiser, 0.05, max_iter=30).solve(y, physics)
    assert solution.plan.guaranteed
    assert not solution.guaranteed
    assert "so nothing is claimed" in solution.message


def test_conjugate_gradients_bound_their_error() -> None:
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(3, 8, 8, generator=draw, dtype=torch.float64)
    normal = root.transpose(1, 2) @ root
    b = torch.randn(3, 8, generator=draw, dtype=torch.float64)
    apply = lambda x: torch.einsum("bij,bj->bi", normal, x)  # noqa: E731
    exact = torch.linalg.solve(torch.eye(8, dtype=b.dtype) + normal, b)
    for tolerance in (1e-1, 1e-4, 1e-9):
        x, error = solve_shifted(
            apply, b, torch.zeros_like(b), torch.full((3,), tolerance).double()
        )
        assert bool((norms(x - exact) <= error * (1 + 1e-9)).all())
        assert bool((error <= tolerance).all())


def test_the_callers_physics_is_left_as_it_was(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Blur(torch.ones(1, 1, 3, 3) / 9, padding="valid", solver="lsqr")
    before = (physics.solver, physics.tol, physics.max_iter, physics.filter.clone())
    ADMM(small_denoiser, 0.05, max_iter=5).solve(noisy(physics, image), physics)
    assert (physics.solver, physics.tol, physics.max_iter) == before[:3]
    assert torch.equal(physics.filter, before[3])


# --- Proofs of what runs --------------------------------------------------------------------------


def test_a_denoiser_changed_between_two_solves_is_proved_again(image: Tensor) -> None:
    denoiser = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None).eval()
    solver = ForwardBackward(denoiser, 0.05, max_iter=5)
    assert solver.solve(image, Denoising()).guaranteed
    denoiser.layers[0].activation = nn.Identity()
    denoiser.register_forward_hook(lambda module, inputs, output: 3 * output)
    with pytest.raises(HypothesisViolated, match="denoiser"):
        solver.solve(image, Denoising())


def test_noise_levels_of_the_fidelity_weigh_every_pixel() -> None:
    draw = torch.Generator().manual_seed(0)
    sigma = 0.5 + torch.rand(2, 1, 6, 7, generator=draw)
    x, y = torch.rand(2, 2, 1, 6, 7, generator=draw)
    physics = Blur(torch.rand(1, 1, 3, 3, generator=draw), padding="circular")
    data = DataTerm(y, physics, L2(sigma=sigma))
    expected = physics.A_adjoint((physics.A(x) - y) / sigma**2)
    assert torch.allclose(data.gradient(x), expected, atol=1e-5)
    each = DataTerm(y, physics, L2(sigma=torch.tensor([0.5, 2.0])))
    assert torch.allclose(
        each.gradient(x)[1], (physics.A_adjoint(physics.A(x) - y) / 4)[1], atol=1e-5
    )
    assert each.weight == pytest.approx(4.0)


def test_mri_is_solved_by_a_grey_denoiser(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    physics = MRI(mask=(torch.rand(40, 48) > 0.3).float(), img_size=(2, 40, 48))
    x = torch.cat([image, 0.3 * image.flip(-1)], 1)
    for kind in (ForwardBackward, ADMM):
        solver: PlugAndPlay = kind(small_denoiser, 0.02, tol=1e-4)
        solution = solver.solve(noisy(physics, x), physics)
        assert solution.guaranteed
        assert solution.x.shape == x.shape
        assert float(norms(solution.x - x)) < 0.8 * float(
            norms(physics.A_adjoint(physics.A(x)) - x)
        )
