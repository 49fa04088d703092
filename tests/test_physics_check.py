"""A physics that is not what the theorems assume is found out before the first step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deepinv.physics import (
    BlurFFT,
    CompressiveSpectralImaging,
    Inpainting,
    LinearPhysics,
    SequentialMRI,
    Tomography,
)
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.solvers import (
    ADMM,
    ForwardBackward,
    HypothesisViolated,
    NormSource,
    ObservationError,
    OperatorNorm,
)
from pnp_lip.solvers.physics_check import physics_violations

BOTH = pytest.mark.parametrize("kind", [ForwardBackward, ADMM])
Solver = type[ForwardBackward] | type[ADMM]


class Faulty(LinearPhysics):
    """An identity with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        draw = torch.Generator().manual_seed(3)
        self.noise = torch.randn(1, 1, 40, 48, generator=draw)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        if self.fault == "nonlinear":
            return x * x.abs()
        return x + 0.5 if self.fault == "affine" else x

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        if self.fault == "sign":
            return -y
        if self.fault == "thirty percent":
            return y + 0.3 * self.noise * y
        return y[..., :20] if self.fault == "shape" else y

    def A_adjoint_A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return 9 * x if self.fault == "normal" else x


@BOTH
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nonlinear", "A is not linear"),
        ("affine", "A is not linear"),
        ("sign", "A_adjoint is not the adjoint"),
        ("thirty percent", "A_adjoint is not the adjoint"),
        ("normal", "A_adjoint_A is not A_adjoint after A"),
        ("shape", "A does not give measurements of the shape of y"),
    ],
)
def test_a_physics_that_is_not_what_it_says_is_refused(
    kind: Solver, fault: str, message: str, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    with pytest.raises((HypothesisViolated, ObservationError), match=message):
        kind(small_denoiser, 0.05).solve(image, Faulty(fault), norm=1.0)


def test_a_wrong_norm_is_refused(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    blur = BlurFFT((1, 40, 48), filter=torch.ones(1, 1, 5, 5) / 25)
    with pytest.raises(HypothesisViolated, match=r"\|A\| <= 0\.5 is wrong"):
        ForwardBackward(small_denoiser, 0.05).solve(blur.A(image), blur, norm=0.5)


@BOTH
def test_deepinvs_own_wrong_adjoints_are_refused(
    kind: Solver, small_denoiser: LipschitzDenoiser
) -> None:
    draw = torch.Generator().manual_seed(0)
    mask = (torch.rand(1, 1, 2, 8, 8, generator=draw) > 0.4).float().repeat(1, 2, 1, 1, 1)
    frames = SequentialMRI(mask=mask, img_size=(2, 2, 8, 8))
    scan = Tomography(img_width=24, angles=12, normalize=True, adjoint_via_backprop=False)
    snapshot = CompressiveSpectralImaging((3, 12, 12))
    for physics, shape in (
        (frames, (1, 2, 8, 8)),
        (scan, (1, 1, 24, 24)),
        (snapshot, (1, 3, 12, 12)),
    ):
        y = physics.A(torch.rand(shape, generator=draw))
        with pytest.raises(HypothesisViolated, match=r"adjoint|A_adjoint"):
            kind(small_denoiser, 0.05).solve(y, physics, norm=2.0)


@BOTH
def test_a_physics_that_sees_nothing_is_refused(
    kind: Solver, small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics = Inpainting((1, 40, 48), mask=torch.zeros(1, 40, 48))
    with pytest.raises(ObservationError, match="y says nothing about the image"):
        kind(small_denoiser, 0.05).solve(image, physics)


def test_a_bound_below_what_power_steps_reached_is_refused() -> None:
    mask = torch.full((1, 12, 12), 0.1)
    mask[0, 3, 4] = 1.0
    x = torch.zeros(1, 1, 12, 12)
    for upper, wrong in ((0.9, 1), (1.0, 0)):
        norm = OperatorNorm(upper, NormSource.SINGULAR_VALUES, value=1.0)
        assert len(physics_violations(Inpainting((1, 12, 12), mask=mask), x, x, norm)) == wrong
