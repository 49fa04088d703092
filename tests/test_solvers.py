"""Solvers run what the theory covers, refuse the rest in words, and keep their promises."""

from __future__ import annotations

import itertools
import math
from typing import Any

import deepinv as dinv
import pytest
import torch
from deepinv.models import DnCNN, Reconstructor
from deepinv.optim.data_fidelity import L1, L2
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    Decolorize,
    Denoising,
    Inpainting,
    LinearPhysics,
)
from torch import Tensor, nn

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import Statement
from pnp_lip.quality import psnr
from pnp_lip.solvers import (
    ADMM,
    ForwardBackward,
    HypothesisViolated,
    NormSource,
    PlugAndPlay,
    Status,
)
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.images import Blocks

Solver = type[ForwardBackward] | type[ADMM]
BOTH = pytest.mark.parametrize("kind", [ForwardBackward, ADMM])


def box_blur(shape: tuple[int, ...] = (1, 40, 48)) -> BlurFFT:
    return BlurFFT(shape, filter=torch.ones(1, 1, 3, 3) / 9)


def observe(physics: LinearPhysics, image: Tensor) -> Tensor:
    noise = 0.01 * torch.randn(physics.A(image).shape, generator=torch.Generator().manual_seed(0))
    y: Tensor = physics.A(image) + noise
    return y


class Doubling(nn.Module):
    """An expansive denoiser that claims nothing."""

    def forward(self, x: Tensor, sigma: float, **kwargs: Any) -> Tensor:
        return 2 * x


class Reflection(nn.Module):
    """Nonexpansive but not averaged; a branch on data leaves the certifier without a graph."""

    def forward(self, x: Tensor, sigma: float, **kwargs: Any) -> Tensor:
        return 1 - x if float(x.sum()) > 0 else 1 - x  # noqa: RUF034  (it decides by its data)


@BOTH
def test_a_guaranteed_run_converges_and_improves_the_image(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    y = observe(physics, image)
    solution = kind(small_denoiser, 0.01, max_iter=500, tol=1e-5).solve(y, physics)
    assert solution.status is Status.CONVERGED
    assert solution.plan.guaranteed
    assert solution.growth is None
    assert solution.residual <= 1e-5
    assert solution.residuals.shape == (solution.iterations, 1)
    assert psnr(solution.x, image) > psnr(y, image) + 1


@BOTH
def test_the_limit_satisfies_the_fixed_point_equation(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics, denoiser = box_blur().double(), small_denoiser.double()
    y = observe(physics, image).double()
    solver = kind(denoiser, 0.02, stepsize=0.8, max_iter=5000, tol=1e-10)
    solution = solver.solve(y, physics)
    x = solution.x
    gradient = physics.A_adjoint(physics.A(x) - y)
    if kind is ForwardBackward:
        assert torch.allclose(x, denoiser(x - 0.8 * gradient, 0.02), atol=1e-7)
        return
    # For ADMM, x = D(w) and x = prox(2x - w), so w = x - gamma grad f(x).
    w = x - 0.8 * gradient
    assert solution.plan.denoiser is not None
    firm = solver.fixed_point_map(DataTerm(y, physics), solution.plan, y)
    assert torch.allclose(firm.image(w), x, atol=1e-6)


@BOTH
def test_a_solver_is_a_deepinv_reconstructor(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    solver = kind(small_denoiser, 0.01, max_iter=20)
    assert isinstance(solver, Reconstructor)
    physics = box_blur()
    y = observe(physics, image)
    assert torch.equal(solver(y, physics), solver.solve(y, physics).x)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(image, y), batch_size=1)
    results = dinv.test(
        solver, loader, physics, metrics=dinv.metric.PSNR(), verbose=False, show_progress_bar=False
    )
    assert results["PSNR"] > psnr(y, image)


# Extrapolation multiplies the roundings in which batches of one and of two images differ.
@pytest.mark.parametrize(("scheme", "steps"), [("krasnoselskii-mann", 15), ("anderson", 8)])
@BOTH
def test_the_batch_gives_what_its_images_give_alone(
    kind: Solver, scheme: str, steps: int, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    y = torch.cat([observe(physics, image), observe(physics, image.flip(-1))])
    solver = kind(small_denoiser, 0.01, max_iter=steps, tol=0.0, scheme=scheme)
    together = solver.solve(y, physics)
    alone = solver.solve(y[1:], physics)
    assert torch.allclose(together.x[1:], alone.x, atol=1e-5)
    assert torch.allclose(together.residuals[:, 1], alone.residuals[:, 0], rtol=1e-2)


def per_image_masks() -> Inpainting:
    """Half of the pixels, other ones for every image of a batch of three."""
    return Inpainting((1, 40, 48), mask=(torch.rand(3, 1, 40, 48) > 0.5).float())


@pytest.mark.parametrize(
    ("physics", "dropped"),
    [
        (box_blur(), True),
        (Blur(torch.ones(1, 1, 3, 3) / 9, padding="valid"), True),
        (per_image_masks(), False),
    ],
    ids=["periodic blur", "valid blur", "other masks"],
)
@BOTH
def test_converged_images_are_dropped_and_the_others_end_as_they_would_alone(
    kind: Solver,
    physics: LinearPhysics,
    dropped: bool,
    small_denoiser: LipschitzDenoiser,
    image: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.cat([image, image.flip(-1), 0.5 + 0.1 * image])
    y, sizes = physics.A(x), []
    levels = torch.tensor([0.02, 0.3, 0.1])
    blocks = Blocks.__call__

    def counted(self: Blocks, w: Tensor) -> Tensor:
        sizes.append(len(w))
        return blocks(self, w)

    monkeypatch.setattr(Blocks, "__call__", counted)
    solver = kind(small_denoiser, levels, tol=1e-4, max_iter=400)
    together = solver.solve(y, physics)
    assert together.status.name == "CONVERGED"
    assert len(set(together.steps)) > 1
    # One evaluation finds that the map for fewer images is another one.
    assert (sum(size < 3 for size in sizes) > 1) == dropped
    with_callback = solver.solve(y, physics, callback=lambda iteration, shown: None)
    torch.testing.assert_close(together.x, with_callback.x, rtol=0, atol=2e-3)


def test_the_map_of_forward_backward_is_averaged_in_pairs(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    solver = ForwardBackward(small_denoiser, 0.05)
    data = DataTerm(observe(physics, image), physics)
    step = solver.fixed_point_map(data, solver.plan(data, image), image).step
    generator = torch.Generator().manual_seed(0)
    for scale in (0.01, 0.1, 1.0):
        other = image + scale * torch.randn(image.shape, generator=generator)
        gain = torch.linalg.vector_norm(step(image) - step(other))
        assert gain <= torch.linalg.vector_norm(image - other) * (1 + 1e-5)


def test_the_admm_map_is_firmly_nonexpansive(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    solver = ADMM(small_denoiser, 0.05)
    data = DataTerm(observe(physics, image), physics)
    step = solver.fixed_point_map(data, solver.plan(data, image), image).step
    generator = torch.Generator().manual_seed(0)
    for scale in (0.01, 0.1, 1.0):
        other = image + scale * torch.randn(image.shape, generator=generator)
        moved, start = step(image) - step(other), image - other
        assert moved.square().sum() <= (moved * start).sum() * (1 + 1e-4)


@pytest.mark.parametrize(
    "physics",
    [
        Denoising(),
        Inpainting((1, 12, 14), mask=0.5),
        BlurFFT((1, 12, 14), filter=torch.rand(1, 1, 3, 3)),
        Decolorize(),
        MRI(mask=(torch.rand(12, 14) > 0.5).float(), img_size=(2, 12, 14)),
    ],
    ids=lambda p: type(p).__name__,
)
def test_the_proximity_operator_satisfies_its_optimality_condition(physics: LinearPhysics) -> None:
    channels = {"Decolorize": 3, "MRI": 2}.get(type(physics).__name__, 1)
    physics = physics.double()
    y = physics.A(torch.rand(1, channels, 12, 14, dtype=torch.float64))
    for gamma in (0.1, 1.0, 10.0):
        assert DataTerm(y, physics, L2(sigma=0.5)).prox_residual(gamma) < 1e-5


def test_the_data_term_has_the_gradient_of_deepinv() -> None:
    physics = box_blur((1, 12, 14))
    y, x = torch.rand(2, 1, 1, 12, 14)
    fidelity = L2(sigma=0.3)
    assert torch.allclose(
        DataTerm(y, physics, fidelity).gradient(x), fidelity.grad(x, y, physics), atol=1e-4
    )


def test_too_large_a_step_is_refused_with_the_largest_one(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    with pytest.raises(
        HypothesisViolated, match=r"stepsize must be below 2/L = 1\.99999, got 2\.5"
    ):
        ForwardBackward(small_denoiser, 0.01, stepsize=2.5)(observe(physics, image), physics)


def test_the_step_scales_with_the_noise_of_the_fidelity(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    fidelity = L2(sigma=0.1)
    solution = ForwardBackward(small_denoiser, 0.01, data_fidelity=fidelity, max_iter=5).solve(
        observe(physics, image), physics
    )
    assert solution.plan.stepsize == pytest.approx(1.9 * 0.01, rel=1e-3)


@BOTH
def test_a_random_dncnn_is_refused(kind: Solver, image: Tensor) -> None:
    torch.manual_seed(0)
    network = DnCNN(1, 1, depth=4, nf=8, pretrained=None)
    physics = box_blur()
    with pytest.raises(HypothesisViolated, match=r"denoiser.*pass unproved=True"):
        kind(network, 0.01)(observe(physics, image), physics)


def test_a_forced_expansive_denoiser_is_caught_during_the_run(image: Tensor) -> None:
    physics = box_blur()
    solver = ForwardBackward(Doubling(), 0.01, unproved=True, max_iter=50)
    solution = solver.solve(observe(physics, image), physics)
    assert not solution.plan.guaranteed
    assert solution.plan.violations
    assert solution.status is Status.EXPANSION
    assert solution.growth is not None
    assert solution.growth.iteration <= 5
    assert "proves that the map is not nonexpansive" in solution.message


@BOTH
def test_a_forced_random_dncnn_is_caught_during_the_run(kind: Solver, image: Tensor) -> None:
    torch.manual_seed(0)
    network = DnCNN(1, 1, pretrained=None)
    physics = box_blur()
    solver = kind(network, 0.01, unproved=True, max_iter=30)
    solution = solver.solve(observe(physics, image), physics)
    assert solution.growth is not None
    assert solution.status in (Status.EXPANSION, Status.NON_FINITE)


def test_a_denoiser_without_a_rule_runs_only_when_forced(image: Tensor) -> None:
    physics = box_blur()
    y = observe(physics, image)
    with pytest.raises(HypothesisViolated, match="nothing is proved of the denoiser"):
        ForwardBackward(Reflection(), 0.01)(y, physics)
    solution = ForwardBackward(Reflection(), 0.01, unproved=True, max_iter=5).solve(y, physics)
    assert "NO GUARANTEE" in solution.plan.summary()


class Unknown(LinearPhysics):
    """A physics of a class without a rule: half the image."""

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return x / 2

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return y / 2


def test_an_estimated_norm_is_refused_until_the_caller_vouches_for_one(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Unknown()
    y = observe(physics, image)
    solver = ForwardBackward(small_denoiser, 0.01, max_iter=50)
    with pytest.raises(HypothesisViolated, match=r"only estimated: pass norm="):
        solver(y, physics)
    assert solver.solve(y, physics, norm=0.5).plan.norm.source is NormSource.GIVEN
    assert ADMM(small_denoiser, 0.01).solve(y, physics).guaranteed


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_norm_that_is_no_positive_number_is_refused(
    norm: float, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    with pytest.raises(ValueError, match="norm must be a positive bound"):
        ForwardBackward(small_denoiser, 0.01).solve(image, Denoising(), norm=norm)


def test_nan_in_the_observation_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    y = observe(physics, image)
    y[0, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="observation y contains NaN"):
        ForwardBackward(small_denoiser, 0.01)(y, physics)


def test_nan_in_the_weights_is_refused(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    next(iter(small_denoiser.parameters())).data[0] = float("nan")
    physics = box_blur()
    with pytest.raises(HypothesisViolated, match="NaN or infinity"):
        ForwardBackward(small_denoiser, 0.01)(observe(physics, image), physics)


def test_weights_changed_after_construction_are_proved_again(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = box_blur()
    y = observe(physics, image)
    solver = ForwardBackward(small_denoiser, 0.01, max_iter=5)
    solver(y, physics)
    for parameter in small_denoiser.parameters():
        parameter.data *= 5
    with pytest.raises(HypothesisViolated, match="only Lip <="):
        solver(y, physics)


def test_nonlinear_problems_are_refused(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    with pytest.raises(TypeError, match="expected a linear deepinv physics"):
        ForwardBackward(small_denoiser, 0.01)(image, dinv.physics.Haze())
    with pytest.raises(TypeError, match="expected deepinv's L2 data fidelity, got L1"):
        ForwardBackward(small_denoiser, 0.01, data_fidelity=L1())(image, Denoising())


@BOTH
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -1.0}, "sigma"),
        ({"sigma": 0.1, "stepsize": 0.0}, "stepsize must be positive"),
        ({"sigma": 0.1, "stepsize": float("nan")}, "stepsize must be positive"),
        ({"sigma": 0.1, "max_iter": 0}, "max_iter"),
    ],
)
def test_senseless_parameters_are_refused(
    kind: Solver, small_denoiser: LipschitzDenoiser, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(small_denoiser, **arguments)


def test_the_theorem_depends_on_what_is_known(
    small_denoiser: LipschitzDenoiser, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def theorem(denoiser: nn.Module, physics: LinearPhysics, **options: Any) -> str:
        solver: PlugAndPlay = ForwardBackward(denoiser, 0.01, **options)
        data = DataTerm(physics.A(image), physics)
        plan = solver.plan(data, image)
        assert plan.theorem is not None
        return f"{plan.theorem.name}: {plan.theorem.conclusion}; relaxation {plan.relaxation}"

    inpainting = Inpainting((1, 40, 48), mask=torch.ones(1, 40, 48).tril())
    averaged = theorem(small_denoiser, inpainting)
    assert "averaged maps" in averaged
    assert "relaxation 1.0" in averaged
    assert "because the images are kept in a box" in theorem(
        small_denoiser, inpainting, box=(0.0, 1.0)
    )
    assert "contracts with q <= 0.9," in theorem(small_denoiser, Denoising())
    assert "Banach" in theorem(small_denoiser, Denoising(), stepsize=0.5)
    weakly = theorem(small_denoiser, Denoising(), stepsize=1e-5)
    assert "averaged maps" in weakly
    assert "only fixed point" in weakly
    nonexpansive = Statement("for the test", 1.0, 1.0)
    monkeypatch.setattr("pnp_lip.solvers.hypotheses.statement_of", lambda *_: nonexpansive)
    assert "relaxation 0.5" in theorem(small_denoiser, inpainting)


def test_a_contraction_bounds_the_distance_to_its_fixed_point(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    solver = ForwardBackward(small_denoiser, 0.05, stepsize=0.5, max_iter=200, tol=1e-7)
    far: list[Tensor] = []
    solution = solver.solve(image, Denoising(), callback=lambda k, x: far.append(x))
    q = solution.plan.contraction
    assert q is not None
    assert q == pytest.approx(0.5, abs=1e-3)
    assert math.isfinite(solution.residual)
    for before, after in itertools.pairwise(far[:11]):
        bound = q / (1 - q) * torch.linalg.vector_norm(after - before)
        assert torch.linalg.vector_norm(after - solution.x) <= bound + 1e-5


def test_a_real_blur_without_boundary_assumption_converges_with_both_solvers(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Blur(torch.ones(1, 1, 3, 5) / 15, padding="valid")
    physics.tol, physics.max_iter = 1e-6, 100
    y = observe(physics, image)
    for kind in (ForwardBackward, ADMM):
        solution = kind(small_denoiser, 0.01, max_iter=400, tol=1e-4).solve(y, physics)
        assert solution.status is Status.CONVERGED, kind.__name__
        assert solution.growth is None
        assert psnr(solution.x[..., 1:-1, 2:-2], image[..., 1:-1, 2:-2]) > psnr(
            y, image[..., 1:-1, 2:-2]
        )
