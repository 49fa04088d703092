"""What deepinv hands over: lists, types, complex images, frames, noise levels, gradients."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.optim.data_fidelity import L2, StackedPhysicsDataFidelity
from deepinv.physics import (
    Blur,
    BlurFFT,
    CompressedSensing,
    Denoising,
    DynamicMRI,
    Inpainting,
    LinearPhysics,
    Pansharpen,
    StructuredRandom,
)
from torch import Tensor, nn

from pnp_lip import Frozen, LipschitzDenoiser
from pnp_lip.certifier import Refusal, Statement
from pnp_lip.solvers import ADMM, ForwardBackward, ImageError, ObservationError
from pnp_lip.solvers.execution import folded, unfolded
from pnp_lip.solvers.images import Blocks, to_native, to_real

Solver = type[ForwardBackward] | type[ADMM]
BOTH = pytest.mark.parametrize("kind", [ForwardBackward, ADMM])
FAST: dict[str, Any] = {"tol": 1e-3, "max_iter": 60}


def blur() -> BlurFFT:
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]).view(1, 1, 3, 3)
    return BlurFFT((1, 40, 48), filter=kernel)


@BOTH
def test_lists_of_measurements_are_one_observation(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = blur().stack(Inpainting((1, 40, 48), mask=0.5))
    solution = kind(small_denoiser, 0.02, **FAST).solve(physics.A(image), physics)
    assert solution.guaranteed
    colour = torch.cat([image, image.flip(-1), image.flip(-2)], 1)
    pan = Pansharpen((3, 40, 48))
    assert kind(small_denoiser, 0.02, **FAST).solve(pan.A(colour), pan).guaranteed


def test_fidelities_of_a_stack_weigh_its_parts(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Denoising().stack(Denoising())
    y = physics.A(image)
    y[1] = y[1] + 0.1
    even = ADMM(small_denoiser, 0.0, stepsize=100.0, tol=1e-6)
    trusting = ADMM(
        small_denoiser,
        0.0,
        stepsize=100.0,
        tol=1e-6,
        data_fidelity=StackedPhysicsDataFidelity([L2(sigma=1.0), L2(sigma=0.1)]),
    )
    assert float((even.solve(y, physics).x - image).mean()) == pytest.approx(0.05, abs=1e-3)
    assert float((trusting.solve(y, physics).x - image).mean()) == pytest.approx(0.099, abs=1e-3)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32, torch.bool])
def test_observations_of_other_types_are_converted(
    kind: Solver, dtype: torch.dtype, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    mask = torch.ones(1, 40, 48).tril().bool()
    physics = Inpainting((1, 40, 48), mask=mask)
    y = (image * mask).to(dtype)
    solution = kind(small_denoiser, 0.02, **FAST).solve(y, physics)
    assert solution.guaranteed
    assert solution.x.dtype == torch.float32


@BOTH
def test_complex_images_are_restored_part_by_part(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    small = torch.complex(image, 0.5 * image.flip(-1))[..., :12, :12]
    physics = CompressedSensing(160, (1, 12, 12), dtype=torch.cfloat)
    solution = kind(small_denoiser, 0.01, tol=1e-4).solve(physics.A(small), physics)
    assert solution.guaranteed
    assert solution.x.dtype == torch.complex64
    assert float((solution.x - small).abs().max()) < 0.3


def test_real_variables_carry_the_inner_product_of_complex_images() -> None:
    x, z = torch.randn(2, 3, 1, 4, 5, dtype=torch.complex64)
    assert to_real(x).shape == (3, 2, 1, 4, 5)
    assert torch.equal(to_native(to_real(x), True), x)
    assert torch.allclose((to_real(x) * to_real(z)).sum(), (x.conj() * z).real.sum(), atol=1e-4)


@BOTH
def test_frames_are_images_of_their_own(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    mask = (torch.rand(3, 40, 48) > 0.3).float()
    physics = DynamicMRI(mask=mask, img_size=(2, 3, 40, 48))
    x = torch.stack([image.expand(1, 2, 40, 48) * s for s in (1.0, 0.8, 0.6)], 2)
    solution = kind(small_denoiser, 0.02, **FAST).solve(physics.A(x), physics)
    assert solution.guaranteed
    assert solution.x.shape == x.shape


def test_blocks_are_those_of_the_denoiser(small_denoiser: LipschitzDenoiser) -> None:
    w = torch.rand(2, 2, 3, 8, 9)
    sigma = torch.tensor([0.05, 0.2])
    out = Blocks.of(small_denoiser, sigma, w)(w)
    for b in range(2):
        for c in range(2):
            for t in range(3):
                alone = small_denoiser(w[b, c, t][None, None], float(sigma[b]))
                assert torch.allclose(out[b, c, t], alone[0, 0], atol=1e-6)
    colour = LipschitzDenoiser(3, depth=1, nf=24, kernel_size=3, pretrained=None)
    video = torch.rand(2, 3, 4, 8, 9)
    moved = Blocks.of(colour, 0.1, video)(video)
    assert torch.allclose(moved[:, :, 1], colour(video[:, :, 1], 0.1), atol=1e-6)
    with pytest.raises(ImageError, match=r"expected images \[B, 3, H, W\], .* got \(2, 2, 8, 9\)"):
        Blocks.of(colour, 0.1, torch.rand(2, 2, 8, 9))


@BOTH
def test_every_image_of_a_batch_may_have_its_own_noise_level(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    y = torch.cat([image, image]) + 0.05 * torch.randn(2, 1, 40, 48)
    options: dict[str, Any] = {"stepsize": 0.5, "max_iter": 12, "tol": 0.0}
    both = kind(small_denoiser, torch.tensor([0.02, 0.2]), **options).solve(y, Denoising())
    alone = kind(small_denoiser, 0.2, **options).solve(y[1:], Denoising())
    assert torch.allclose(both.x[1:], alone.x, atol=1e-4)
    assert both.converged.shape == (2,)


@pytest.mark.parametrize("sigma", [np.float32(0.05), np.float64(0.05), torch.tensor(0.05)])
def test_noise_levels_may_be_numbers_of_any_library(
    sigma: Any, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    assert ForwardBackward(small_denoiser, sigma).sigma == pytest.approx(0.05)


@pytest.mark.parametrize("sigma", [[0.1, 0.05], torch.tensor([[0.1]]), torch.tensor([0.1, -1.0])])
def test_schedules_and_senseless_noise_levels_are_refused(
    sigma: Any, small_denoiser: LipschitzDenoiser
) -> None:
    with pytest.raises(ValueError, match="sigma must be"):
        ForwardBackward(small_denoiser, sigma)


@BOTH
def test_a_first_image_is_checked(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    solver = kind(small_denoiser, 0.02, **FAST)
    with pytest.raises(
        ObservationError, match=r"first image of shape \(1, 1, 40, 48\), got \(1, 1, 8, 8\)"
    ):
        solver.solve(image, Denoising(), init=torch.zeros(1, 1, 8, 8))
    with pytest.raises(ObservationError, match="first image contains NaN"):
        solver.solve(image, Denoising(), init=image * float("nan"))
    again = solver.solve(image, Denoising(), init=solver.solve(image, Denoising()).x.double())
    assert again.guaranteed


def test_other_keywords_of_deepinv_are_accepted(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    solver = ForwardBackward(small_denoiser, 0.02, **FAST)
    assert solver(image, Denoising(), update_parameters=True).shape == image.shape


@BOTH
def test_unnormalised_operators_start_at_the_right_scale(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    class Bright(LinearPhysics):
        def A(self, x: Tensor, **kwargs: Any) -> Tensor:
            return 40 * x

        def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
            return 40 * y

    seen: list[Tensor] = []
    solver = kind(small_denoiser, 0.0, **FAST)
    solver.solve(40 * image, Bright(), norm=40.0, callback=lambda k, x: seen.append(x))
    assert torch.allclose(seen[0], image, atol=1e-3)


# --- Execution ------------------------------------------------------------------------------------


def test_a_proved_denoiser_is_folded_and_an_unproved_one_is_not(
    small_denoiser: LipschitzDenoiser, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = folded(small_denoiser, 0.05, None)
    assert isinstance(frozen, Frozen)
    assert unfolded(frozen) is small_denoiser
    assert torch.allclose(frozen(image), small_denoiser(image, 0.05), atol=1e-6)
    assert folded(small_denoiser, torch.tensor([0.1, 0.2]), None) is small_denoiser
    other = nn.Identity()
    assert folded(other, 0.05, None) is other
    built = []
    monkeypatch.setattr(Frozen, "__init__", lambda *a, **k: built.append(1))

    def refuse(*_: Any) -> Statement:
        raise Refusal("for the test")

    monkeypatch.setattr("pnp_lip.solvers.hypotheses.statement_of", refuse)
    ForwardBackward(small_denoiser, 0.05, unproved=True, max_iter=2).solve(image, Denoising())
    assert not built


# --- Gradients ------------------------------------------------------------------------------------


@BOTH
def test_gradients_at_the_fixed_point_are_those_of_finite_differences(
    kind: Solver,
    small_denoiser: LipschitzDenoiser,
    image: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    denoiser = copy.deepcopy(small_denoiser).double()
    # The relaxation that ADMM takes from the certificate is a constant of the derivative.
    kept = kind(denoiser, 0.1).statement()
    monkeypatch.setattr("pnp_lip.solvers.hypotheses.statement_of", lambda *_: kept)
    small = image[..., :10, :12].double()
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]).view(1, 1, 3, 3)
    physics = BlurFFT((1, 10, 12), filter=kernel.double())
    y = physics.A(small)
    target = torch.rand_like(small)
    weight = next(iter(denoiser.parameters())).requires_grad_()
    solver = kind(denoiser, 0.1, stepsize=0.8, tol=1e-12, max_iter=2000, differentiable=True)

    def loss() -> Tensor:
        return (solver(y, physics) - target).square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn_like(weight)
    expected = float((gradient * direction).sum())
    step = 1e-5
    with torch.no_grad():
        weight += step * direction
        after = float(loss())
        weight -= 2 * step * direction
        before = float(loss())
        weight += step * direction
    assert (after - before) / (2 * step) == pytest.approx(expected, rel=1e-3)


def test_without_being_asked_no_gradient_is_kept(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    denoiser = copy.deepcopy(small_denoiser).requires_grad_()
    assert not ForwardBackward(denoiser, 0.1, **FAST)(image, Denoising()).requires_grad
    out = ForwardBackward(denoiser, 0.1, differentiable=True, **FAST)(image, Denoising())
    out.sum().backward()
    assert all(p.grad is not None for p in denoiser.parameters())


@BOTH
def test_structured_and_valid_physics_are_under_a_theorem(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    cases: list[LinearPhysics] = [
        StructuredRandom((1, 40, 48), (1, 20, 24)),
        Blur(torch.rand(1, 1, 3, 3), padding="valid"),
    ]
    for physics in cases:
        assert kind(small_denoiser, 0.02, **FAST).solve(physics.A(image), physics).guaranteed
