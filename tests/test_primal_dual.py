"""The primal-dual method: proximity operators by their definition, its map, and what it agrees with."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from deepinv.optim.data_fidelity import (
    L1,
    L2,
    AmplitudeLoss,
    DataFidelity,
    IndicatorL2,
    PoissonLikelihood,
    StackedPhysicsDataFidelity,
    ZeroFidelity,
)
from deepinv.physics import MRI, Blur, BlurFFT, Denoising, LinearPhysics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.quality import psnr
from pnp_lip.solvers import ADMM, DataTermError, HypothesisViolated, PrimalDual, Status
from pnp_lip.solvers.fidelities import proximity_operators

POISSON = PoissonLikelihood(gain=0.2, bkg=0.05)


def value(fidelity: Any, v: float, y: float) -> float:
    """``g(v; y)`` for one entry, written down from its definition."""
    if isinstance(fidelity, L2):
        return (v - y) ** 2 * float(fidelity.norm) / 2
    if isinstance(fidelity, L1):
        return abs(v - y)
    if isinstance(fidelity, IndicatorL2):
        return 0.0 if abs(v - y) <= fidelity.d.radius + 1e-12 else math.inf
    if isinstance(fidelity, ZeroFidelity):
        return 0.0
    counts = y / fidelity.d.gain if fidelity.d.denormalize else y
    rate = v / fidelity.d.gain + fidelity.d.bkg
    rate = 0.0 if abs(rate) < 1e-12 else rate
    if rate < 0 or (rate == 0 and counts > 0):
        return math.inf
    return rate - (counts * math.log(rate) if counts > 0 else 0.0)


@pytest.mark.parametrize(
    "fidelity",
    [
        L2(sigma=0.4),
        L1(),
        IndicatorL2(radius=0.3),
        POISSON,
        PoissonLikelihood(gain=2.0, denormalize=False),
        ZeroFidelity(),
    ],
    ids=lambda f: type(f).__name__,
)
@settings(max_examples=25, deadline=None)
@given(v=st.floats(-3, 3), y=st.sampled_from([0.0, 0.01, 0.7, 2.0]), size=st.floats(0.01, 30))
def test_a_proximity_operator_minimises_its_definition(
    fidelity: DataFidelity, v: float, y: float, size: float
) -> None:
    (prox,) = proximity_operators(fidelity, [torch.full((1, 1), y, dtype=torch.float64)])
    found = float(prox(torch.full((1, 1), v, dtype=torch.float64), size))
    objective = lambda p: size * value(fidelity, p, y) + (p - v) ** 2 / 2  # noqa: E731
    least = objective(found)
    assert math.isfinite(least)
    low = y - 0.3 if isinstance(fidelity, IndicatorL2) else -8.0
    high = y + 0.3 if isinstance(fidelity, IndicatorL2) else 8.0
    if isinstance(fidelity, PoissonLikelihood):
        low = -fidelity.d.bkg * fidelity.d.gain
    best = minimize_scalar(objective, bounds=(low, high), method="bounded")
    assert least <= best.fun + 1e-9 * (1 + abs(best.fun))


@pytest.mark.parametrize(("gain", "background"), [(0.0, 0.1), (-1.0, 0.1), (1.0, -0.1)])
def test_photons_need_a_positive_gain_and_no_negative_background(
    gain: float, background: float
) -> None:
    fidelity = PoissonLikelihood(gain=gain, bkg=background, denormalize=False)
    with pytest.raises(DataTermError, match="gain > 0, background >= 0"):
        proximity_operators(fidelity, [torch.ones(1, 1)])


def test_fidelities_without_a_theorem_are_refused() -> None:
    y = torch.ones(1, 3)
    with pytest.raises(DataTermError, match=r"convex data fidelities .* got AmplitudeLoss"):
        proximity_operators(AmplitudeLoss(), [y])
    with pytest.raises(DataTermError, match="no negative observation"):
        proximity_operators(POISSON, [-y])
    with pytest.raises(DataTermError, match="radius >= 0"):
        proximity_operators(IndicatorL2(), [y])
    with pytest.raises(DataTermError, match="one data fidelity for each of 2"):
        proximity_operators(StackedPhysicsDataFidelity([L2()]), [y, y])


def blur() -> BlurFFT:
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]).view(1, 1, 3, 3)
    return BlurFFT((1, 40, 48), filter=kernel)


def observe(physics: LinearPhysics, x: Tensor) -> Tensor:
    y: Tensor = physics.A(x)
    return y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y)


@pytest.mark.parametrize(
    "fidelity", [POISSON, L1(), IndicatorL2(radius=0.5)], ids=lambda f: type(f).__name__
)
def test_the_map_is_firmly_nonexpansive_in_its_norm(
    fidelity: DataFidelity, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    denoiser = copy.deepcopy(small_denoiser).double()
    physics = Blur(torch.ones(1, 1, 3, 3) / 9, padding="valid").double()
    y = physics.A(image.double())
    solver = PrimalDual(denoiser, 0.05, data_fidelity=fidelity)
    data = solver.data_term(y, physics)
    fixed_point = solver.fixed_point_map(
        data, solver.plan(data, data.adjoint_of_y), data.adjoint_of_y
    )
    size = fixed_point.measure
    assert size is not None
    draw = torch.Generator().manual_seed(0)
    for scale in (0.01, 0.1, 1.0):
        a = fixed_point.start
        b = a + scale * torch.randn(a.shape, generator=draw, dtype=a.dtype)
        moved, rest = fixed_point.step(a) - fixed_point.step(b), a - b
        left = size(moved).square() + size(rest - moved).square()
        assert float(left) <= float(size(rest).square()) * (1 + 1e-9)


def test_with_a_square_it_finds_the_image_of_admm(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    denoiser = copy.deepcopy(small_denoiser).double()
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]).view(1, 1, 3, 3)
    physics = BlurFFT((1, 40, 48), filter=kernel.double())
    y = observe(physics, image.double())
    options: dict[str, Any] = {"stepsize": 0.8, "tol": 1e-11, "max_iter": 3000}
    first = PrimalDual(denoiser, 0.05, data_fidelity=L2(sigma=0.7), **options).solve(y, physics)
    second = ADMM(denoiser, 0.05, data_fidelity=L2(sigma=0.7), **options).solve(y, physics)
    assert first.status is second.status is Status.CONVERGED
    assert torch.allclose(first.x, second.x, atol=1e-7)


def test_the_noise_ball_is_respected(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    y = observe(blur(), image)
    radius = 0.01 * math.sqrt(image.numel())
    solver = PrimalDual(small_denoiser, 0.05, data_fidelity=IndicatorL2(radius=radius), tol=1e-6)
    solution = solver.solve(y, blur())
    assert solution.guaranteed
    assert float((blur().A(solution.x) - y).norm()) <= radius * (1 + 1e-3)


def test_the_modulus_removes_outliers_that_the_square_keeps(image: Tensor) -> None:
    y = image.clone()
    draws = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    y[draws < 0.1], y[draws > 0.9] = 0.0, 1.0
    denoiser = LipschitzDenoiser(1)
    robust = PrimalDual(denoiser, 0.1, data_fidelity=L1(), tol=1e-4).solve(y, Denoising())
    square = ADMM(denoiser, 0.1, tol=1e-4).solve(y, Denoising())
    assert robust.guaranteed
    assert psnr(robust.x, image) > psnr(square.x, image) + 2


def test_stacks_and_complex_images_are_taken(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = blur().stack(Denoising())
    fidelity = StackedPhysicsDataFidelity([POISSON, L1()])
    solution = PrimalDual(small_denoiser, 0.05, data_fidelity=fidelity, tol=1e-4).solve(
        physics.A(image), physics
    )
    assert solution.guaranteed
    assert solution.x.shape == image.shape
    scan = MRI(mask=(torch.rand(40, 48) > 0.3).float(), img_size=(2, 40, 48))
    both = torch.cat([image, image.flip(-1)], 1)
    seen = PrimalDual(small_denoiser, 0.02, data_fidelity=L1(), tol=1e-3).solve(scan.A(both), scan)
    assert seen.guaranteed
    assert seen.x.shape == both.shape


def test_a_loose_bound_of_the_norm_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    solver = PrimalDual(small_denoiser, 0.05, data_fidelity=L1())
    with pytest.raises(HypothesisViolated, match=r"tau sigma \|A\|\^2 < 1"):
        solver.solve(image, Denoising(), norm=2.0)
    with pytest.raises(ValueError, match="an anchor is not available"):
        PrimalDual(small_denoiser, 0.05, data_fidelity=L1(), anchor=0.1)
