"""A denoiser that is watched while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.models import Denoiser
from deepinv.optim import PGD, PnP
from deepinv.optim.data_fidelity import L2
from deepinv.physics import Denoising, GaussianNoise
from torch import Tensor, nn

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.denoisers import Guard, GuardViolation


class Amplifier(Denoiser):
    """``factor * x``, in the precision of its input."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        return self.factor * x


def test_a_violation_is_raised_with_its_pair_ratio_and_bound(image: Tensor) -> None:
    guard = Guard(Amplifier(1.5))
    guard(image, 0.1)
    with pytest.raises(GuardViolation, match=r"expected .* <= 1 .*, got the ratio 1.5") as caught:
        guard(image + 0.1, 0.1)
    violation = caught.value.violation
    assert violation.ratio == pytest.approx(1.5, rel=1e-6)
    assert torch.equal(violation.y, image)
    assert (violation.bound, violation.sigma) == (1.0, 0.1)


def test_a_violation_is_recorded_and_the_run_goes_on(image: Tensor, tmp_path: Path) -> None:
    guard = Guard(Amplifier(1.5), on_violation="record")
    for shift in (0.0, 0.1, 0.3):
        guard(image + shift, 0.1)
    assert len(guard.violations) == 2
    guard.violations[0].save(tmp_path)
    assert np.array_equal(np.load(tmp_path / "counterexample_y.npy"), image.numpy())


def test_a_pair_is_judged_as_it_can_be_repeated(image: Tensor) -> None:
    class Second(Denoiser):
        """Scales the second image of a batch."""

        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            return x * torch.tensor([1.0, 2.0][: len(x)]).view(-1, 1, 1, 1)

    guard = Guard(Second(), on_violation="record")
    batch = image.repeat(2, 1, 1, 1)
    guard(batch, torch.tensor([0.1, 0.2]))
    guard(batch + 0.5, torch.tensor([0.1, 0.2]))
    # Alone, the second image is scaled by 1: the pair is judged as the guard can repeat it.
    assert guard.violations == []
    assert guard.explained == 1


def test_a_violation_in_one_image_of_a_batch_keeps_its_noise_level(image: Tensor) -> None:
    class Loud(Denoiser):
        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
            return x * torch.where(level > 0.15, 2.0, 1.0)

    guard = Guard(Loud(), on_violation="record")
    batch = image.repeat(2, 1, 1, 1)
    for shift in (0.0, 0.5):
        guard(batch + shift, torch.tensor([0.1, 0.2]))
    (violation,) = guard.violations
    assert violation.sigma == pytest.approx(0.2)
    assert violation.x.shape == image.shape


def test_rounding_is_not_taken_for_a_violation(small_denoiser: LipschitzDenoiser) -> None:
    """Iterates as close as float32 can tell apart."""
    guard, generator = Guard(small_denoiser), torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 32, 32, generator=generator)
    for _ in range(20):
        guard(x, 0.05)
        x = torch.nextafter(x, torch.rand(x.shape, generator=generator))
    assert guard.checked == 19


def test_an_excess_of_float32_alone_is_explained(image: Tensor) -> None:
    class Coarse(Denoiser):
        """The identity, but for a rounding in float32 much larger than it need be."""

        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            return (x * 1024).round() / 1024 if x.dtype == torch.float32 else x

    guard = Guard(Coarse())
    guard(image, 0.1)
    guard(image + 0.6 / 1024, 0.1)
    assert guard.explained == 1


def test_only_calls_of_the_same_shape_and_noise_level_are_compared(image: Tensor) -> None:
    guard = Guard(Amplifier(9.0))
    guard(image, 0.1)
    guard(image + 1, 0.2)
    guard(image[..., :-1] + 2, 0.2)
    guard.reset()
    guard(image[..., :-1] + 3, 0.2)
    assert guard.checked == 0


def test_a_guard_is_transparent(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    guard = Guard(small_denoiser)
    assert torch.equal(guard(image, 0.1), small_denoiser(image, 0.1))
    assert prove(guard).averagedness == prove(small_denoiser).averagedness
    x = image.clone().requires_grad_()
    guard(x, 0.1).sum().backward()
    assert x.grad is not None


def _deepinv_run(denoiser: nn.Module, image: Tensor) -> Tensor:
    physics = Denoising(GaussianNoise(0.1))
    model = PGD(
        data_fidelity=L2(), prior=PnP(denoiser=denoiser), stepsize=0.9, sigma_denoiser=0.05,
        max_iter=8,
    )  # fmt: skip
    out: Tensor = model(physics(image), physics)
    return out


def test_a_guard_works_inside_deepinv(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    guard = Guard(small_denoiser)
    _deepinv_run(guard, image)
    assert guard.checked >= 6
    with pytest.raises(GuardViolation, match="the denoiser is not what was claimed"):
        _deepinv_run(Guard(Amplifier(3.0)), image)


def test_watching_runs_the_denoiser_once_and_in_float64_only_on_suspicion(image: Tensor) -> None:
    calls: list[torch.dtype] = []

    class Counted(Amplifier):
        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            calls.append(x.dtype)
            return super().forward(x, sigma)

    guard = Guard(Counted(0.9), on_violation="record")
    for shift in range(5):
        guard(image + shift, 0.1)
    assert calls == [torch.float32] * 5


def test_a_denoiser_that_works_in_place_is_seen(image: Tensor) -> None:
    class InPlace(Denoiser):
        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            return x.mul_(3)

    guard, before = Guard(InPlace()), image.clone()
    guard(image, 0.1)
    assert torch.equal(image, before)
    with pytest.raises(GuardViolation, match="got the ratio 3"):
        guard(image + 0.1, 0.1)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e38])
def test_an_output_that_is_not_finite_is_a_violation(factor: float, image: Tensor) -> None:
    guard = Guard(Amplifier(factor))
    guard(100 * image + 1, 0.1)
    with pytest.raises(GuardViolation, match="the denoiser is not what was claimed"):
        guard(100 * image + 2, 0.1)


@pytest.mark.parametrize("scale", [1e30, 1e-25])
def test_squares_neither_overflow_nor_vanish(scale: float, image: Tensor) -> None:
    guard = Guard(Amplifier(100.0))
    guard(scale * image, 0.1)
    with pytest.raises(GuardViolation, match=r"got the ratio (100|99\.9)"):
        guard(2 * scale * image, 0.1)


def test_an_input_that_is_not_finite_proves_nothing(image: Tensor) -> None:
    guard = Guard(Amplifier(0.5))
    guard(image, 0.1)
    guard(image / 0, 0.1)
    assert guard.violations == []


def test_weights_that_are_no_parameters_are_judged_in_their_own_precision(image: Tensor) -> None:
    class Plain(Denoiser):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.kernel = torch.full((1, 1, 1, 1), factor)

        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            return nn.functional.conv2d(x, self.kernel)

    guard = Guard(Plain(1.5), execution=1e-3)
    guard(image, 0.1)
    with pytest.raises(GuardViolation, match=r"got the ratio 1\.(5|4999)"):
        guard(image + 0.1, 0.1)


def test_images_of_two_sizes_in_turn_are_each_compared_with_their_own(image: Tensor) -> None:
    guard = Guard(Amplifier(0.5))
    for shift in range(3):
        guard(image + shift, 0.1)
        guard(image[..., :-1] + shift, 0.1)
    assert guard.checked == 4


@pytest.mark.parametrize("execution", [float("nan"), float("inf"), -1e9, "a", True])
def test_an_execution_error_that_is_no_number_is_refused(execution: Any) -> None:
    with pytest.raises(ValueError, match="execution must be a relative error"):
        Guard(nn.Identity(), execution=execution)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf")])
def test_a_bound_that_is_no_positive_number_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="bound must be a positive number"):
        Guard(nn.Identity(), bound)


def test_an_unknown_reaction_is_refused() -> None:
    with pytest.raises(ValueError, match="'raise' or 'record'"):
        Guard(nn.Identity(), on_violation="ignore")  # type: ignore[arg-type]
