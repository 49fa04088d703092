"""Recipes restore the embedded photograph as well as they promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.recipes import deblur, inpaint
from pnp_lip.recipes.denoise import add_noise, denoise
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, Restoration, restore
from pnp_lip.solvers import HypothesisViolated, Status

REPORT = {
    "psnr_observation",
    "psnr_restoration",
    "ssim_observation",
    "ssim_restoration",
    "lipschitz_upper",
    "averagedness",
    "theorem",
    "solver",
    "stepsize",
    "sigma",
    "iterations",
    "residual",
    "status",
    "seed",
    "versions",
}


@pytest.fixture(scope="module")
def camera() -> Tensor:
    return photograph("camera")


def gain(restoration: Restoration) -> float:
    report = restoration.to_dict()
    return float(report["psnr_restoration"] - report["psnr_observation"])


@pytest.mark.parametrize("solver", ["forward-backward", "admm"])
def test_deblurring_gains_six_decibels_and_reaches_its_tolerance(
    camera: Tensor, solver: str
) -> None:
    problem = deblur.simulated(camera, deblur.motion_kernel(), 0.01, seed=0)
    restoration = restore(problem, Options(deblur.STRENGTH[solver] * 0.01, solver))
    assert restoration.solution.status is Status.CONVERGED
    assert restoration.solution.plan.guaranteed
    assert gain(restoration) >= 6


@pytest.mark.parametrize("solver", ["forward-backward", "admm"])
def test_inpainting_half_of_the_pixels_reaches_26_decibels(camera: Tensor, solver: str) -> None:
    problem = inpaint.simulated(camera, inpaint.random_mask(camera, 0.5, 0), 0.0, seed=0)
    restoration = restore(problem, Options(inpaint.STRENGTH[solver], solver))
    assert restoration.solution.status is Status.CONVERGED
    assert restoration.to_dict()["psnr_restoration"] >= 26


def test_a_colour_photograph_is_deblurred() -> None:
    x = photograph("astronaut")[..., 32:160, 40:168].contiguous()
    problem = deblur.simulated(x, deblur.motion_kernel(15), 0.01, seed=0)
    restoration = restore(problem, Options(deblur.STRENGTH["forward-backward"] * 0.01))
    assert restoration.image.shape == x.shape
    assert gain(restoration) >= 4


@pytest.fixture(scope="module")
def small_problem(camera: Tensor) -> Problem:
    x = camera[..., 60:108, 90:154].contiguous()
    return deblur.simulated(x, deblur.motion_kernel(9), 0.01, seed=0)


def test_a_report_repeats_the_run(small_problem: Problem, tmp_path: Path) -> None:
    options = Options(0.01, max_iter=10, seed=3)
    paths = restore(small_problem, options).save(tmp_path / "x.png")
    assert [path.name for path in paths] == ["x.png", "x.figure.png", "x.json"]
    assert all(path.stat().st_size > 0 for path in paths)
    report = json.loads(paths[2].read_text())
    assert set(report) >= REPORT
    kernel = torch.tensor(report["settings"]["kernel"])[None, None]
    assert small_problem.truth is not None
    problem = deblur.simulated(small_problem.truth, kernel, report["noise"], seed=0)
    again = restore(problem, Options(**report["options"])).to_dict()
    assert again["psnr_restoration"] == pytest.approx(report["psnr_restoration"], abs=1e-4)
    assert again["weights_sha256"] == report["weights_sha256"]


def test_the_psnr_curve_ends_at_the_result(small_problem: Problem) -> None:
    restoration = restore(small_problem, Options(0.01, max_iter=10))
    assert len(restoration.psnr_curve) == restoration.solution.iterations
    assert restoration.psnr_curve[-1] == pytest.approx(restoration.to_dict()["psnr_restoration"])


def test_a_recipe_refuses_what_the_theorem_does_not_cover(small_problem: Problem) -> None:
    with pytest.raises(HypothesisViolated, match="stepsize must be below"):
        restore(small_problem, Options(0.01, stepsize=3.0))


def test_a_real_observation_is_restored_in_its_frame(camera: Tensor) -> None:
    y = camera[..., 60:108, 90:154].contiguous()
    problem = deblur.observed(y, deblur.motion_kernel(9), 0.01)
    assert problem.start.shape == (1, 1, 56, 72)
    restoration = restore(problem, Options(0.01, max_iter=5))
    assert restoration.image.shape == y.shape
    assert restoration.to_dict()["psnr_restoration"] is None
    assert restoration.psnr_curve == ()


def test_the_observed_blur_and_its_frame_agree(camera: Tensor) -> None:
    kernel = torch.zeros(1, 1, 5, 7)
    kernel[0, 0, 2, 3] = 1
    y = camera[..., :20, :30]
    problem = deblur.observed(y, kernel, 0.0)
    assert torch.allclose(problem.in_frame(problem.start), y)
    assert torch.allclose(problem.physics.A(problem.start), y, atol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (-torch.ones(1, 1, 3, 3), "negative entries"),
        (torch.zeros(1, 1, 3, 3), "zero everywhere"),
        (torch.full((1, 1, 3, 3), float("nan")), "NaN or infinity"),
        (torch.ones(1, 1, 9, 99), "9 x 99 pixels is larger than the image of 20 x 30"),
        (torch.ones(1, 3, 3, 3), "must be a grey image"),
    ],
)
def test_impossible_kernels_are_refused(kernel: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deblur.check_kernel(kernel, torch.zeros(1, 1, 20, 30))


def test_kernels_are_scaled_to_sum_one() -> None:
    kernel = deblur.check_kernel(torch.rand(1, 1, 3, 3), torch.zeros(1, 1, 9, 9))
    assert float(kernel.sum()) == pytest.approx(1)
    assert float(deblur.motion_kernel().sum()) == pytest.approx(1, abs=1e-5)


def test_impossible_masks_are_refused() -> None:
    x = torch.rand(1, 1, 8, 9)
    with pytest.raises(ValueError, match="mask has 8 x 8 pixels, the image 8 x 9"):
        inpaint.check_mask(torch.ones(1, 1, 8, 8), x)
    with pytest.raises(ValueError, match="white is known, black is missing"):
        inpaint.check_mask(torch.zeros(1, 1, 8, 9), x)
    with pytest.raises(ValueError, match="share of missing pixels"):
        inpaint.random_mask(x, 1.0, 0)


def test_known_pixels_without_noise_are_the_truth() -> None:
    x = torch.rand(1, 3, 8, 9)
    problem = inpaint.simulated(x, inpaint.random_mask(x, 0.3, 1), 0.0, 0)
    known = problem.y != 0
    assert torch.equal(problem.y[known], x[known])
    assert problem.settings["missing"] == pytest.approx(0.3, abs=0.2)


def test_inpainting_starts_from_the_nearest_known_pixels() -> None:
    x = torch.rand(1, 3, 6, 7)
    mask = torch.zeros(1, 1, 6, 7)
    mask[..., 0, 0] = mask[..., 5, 6] = 1
    start = inpaint.observed(x, mask, 0.0).start
    assert torch.equal(start[..., 1, 1], x[..., 0, 0])
    assert torch.equal(start[..., 4, 6], x[..., 5, 6])


def test_denoising_reports_its_gain_and_bound(camera: Tensor) -> None:
    clean = camera[..., :96, :96].contiguous()
    result = denoise(add_noise(clean, 0.1, 0), 0.1, truth=clean)
    report = result.to_dict()
    assert report["psnr_restoration"] > report["psnr_observation"] + 6
    assert report["lipschitz_upper"] == 1
    assert "proved" in result.summary()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_packaged_photographs_are_small_images_in_the_unit_range(name: str) -> None:
    image = photograph(name)
    assert image.shape[1] in (1, 3)
    assert max(image.shape[2:]) <= 256
    assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_unknown_photographs_and_solvers_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown photograph 'nobody'"):
        photograph("nobody")
    with pytest.raises(ValueError, match="expected forward-backward or admm"):
        Options(0.1, solver="magic")
