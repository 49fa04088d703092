"""Recipes restore the embedded photograph as well as they promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.errors import InputError
from pnp_lip.recipes import deblur, inpaint, superresolve
from pnp_lip.recipes.denoise import add_noise, denoise
from pnp_lip.recipes.figure import before_and_after, residual_curve, save_figure
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
    with pytest.raises(ValueError, match="expected one of forward-backward, admm, primal-dual"):
        Options(0.1, solver="magic")


POSED = {
    "deblurring": lambda y: deblur.observed(y, torch.ones(1, 1, 3, 3), 0.01),
    "inpainting": lambda y: inpaint.observed(y, torch.eye(12)[None, None], 0.01),
    "simulated deblurring": lambda x: deblur.simulated(x, torch.ones(1, 1, 3, 3), 0.01, 0),
    "simulated inpainting": lambda x: inpaint.simulated(x, torch.eye(12)[None, None], 0.01, 0),
    "denoising": lambda y: denoise(y, 0.01),
    "simulated denoising": lambda x: add_noise(x, 0.01, 0),
}


@pytest.mark.parametrize("task", POSED)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            torch.linspace(0, 255, 144).reshape(1, 1, 12, 12),
            r"got \[0, 255\]: divide by the number",
        ),
        (torch.linspace(-3, 1, 144).reshape(1, 1, 12, 12), r"got \[-3, 1\]: divide by the number"),
        (torch.full((1, 1, 12, 12), float("nan")), "NaN or infinity"),
        (torch.zeros(1, 1, 12, 12, dtype=torch.uint8), "expected floats in .* got torch.uint8"),
        (torch.zeros(12, 12), r"expected images \[B, C, H, W\]"),
        (torch.zeros(1, 2, 12, 12), r"with C = 1 or 3, got \(1, 2, 12, 12\)"),
    ],
)
def test_images_of_other_units_and_shapes_are_refused(
    task: str, image: Tensor, message: str
) -> None:
    if "inpainting" in task and image.ndim == 2:
        pytest.skip("refused for its mask")
    with pytest.raises(InputError, match=message):
        POSED[task](image)


@pytest.mark.parametrize("task", POSED)
def test_images_of_float64_are_taken(task: str) -> None:
    posed = POSED[task](torch.rand(1, 1, 12, 12, dtype=torch.float64))
    images = [posed.y, posed.start] if isinstance(posed, Problem) else [posed]
    for image in images:
        if isinstance(image, Tensor):
            assert image.dtype == torch.float32


@pytest.mark.parametrize("noise", [25, 1.0, -0.1, float("nan"), float("inf")])
def test_noise_levels_of_other_units_are_refused(noise: float) -> None:
    x, kernel = torch.rand(1, 1, 12, 12), torch.ones(1, 1, 3, 3)
    message = "divide by 255" if noise >= 1 and noise < 100 else r"deviation in \[0, 1\)"
    for pose in (
        lambda: deblur.observed(x, kernel, noise),
        lambda: inpaint.simulated(x, torch.ones_like(x), noise, 0),
        lambda: denoise(x, noise),
        lambda: Options(noise),
    ):
        with pytest.raises(InputError, match=message):
            pose()


def test_noise_may_carry_an_observation_out_of_the_range() -> None:
    y = torch.rand(1, 1, 12, 12) + 0.3 * torch.randn(1, 1, 12, 12)
    assert torch.equal(deblur.observed(y, torch.ones(1, 1, 3, 3), 0.3).y, y)


def test_what_stands_in_the_place_of_missing_pixels_is_not_read() -> None:
    y, mask = torch.rand(1, 1, 12, 12), torch.ones(1, 1, 12, 12)
    mask[..., 3:5, 4:9] = 0
    holes = y.clone()
    holes[mask == 0] = float("nan")
    expected, problem = inpaint.observed(y, mask, 0.0), inpaint.observed(holes, mask, 0.0)
    assert torch.equal(problem.y, expected.y)
    assert torch.equal(problem.start, expected.start)
    boolean = inpaint.observed(holes, mask.bool(), 0.0)
    assert torch.equal(boolean.y, expected.y)


def test_a_mask_that_keeps_only_the_holes_is_named() -> None:
    y = torch.rand(1, 3, 12, 12)
    y[..., 3:5, 4:9] = 0.25
    holes = torch.zeros(1, 1, 12, 12)
    holes[..., 3:5, 4:9] = 1
    share = f"missing {100 * (1 - 10 / 144):.1f} % of the pixels"
    remarks = inpaint.observed(y, holes, 0.0).remarks
    assert remarks[0] == share
    assert "likely inverted" in remarks[1]
    assert inpaint.observed(y, 1 - holes, 0.0).remarks == (
        f"missing {1000 / 144:.1f} % of the pixels",
    )
    assert "marks no pixel as missing" in inpaint.observed(y, holes * 0 + 1, 0.0).remarks[1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (60, 2), (9, 300)])
def test_flat_and_odd_images_are_drawn_without_a_warning(
    tmp_path: Path, shape: tuple[int, int], recwarn: pytest.WarningsRecorder
) -> None:
    image = torch.zeros(1, 1, *shape)
    plots = (residual_curve(torch.zeros(0, 1), 1e-4), residual_curve(torch.zeros(3, 1), 1e-4))
    save_figure(
        before_and_after(image, image, None), tmp_path / "a.png", plots, torch.ones(1, 1, 3, 3) / 9
    )
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("blur", superresolve.BLURS)
@pytest.mark.parametrize("factor", superresolve.FACTORS)
def test_a_small_pixel_sits_in_the_middle_of_those_it_stands_for(factor: int, blur: str) -> None:
    ramp = torch.linspace(0, 1, 12 * factor)[:, None].expand(1, 1, 12 * factor, 12 * factor)
    problem = superresolve.simulated(ramp, factor, 0.0, 0, blur=blur)
    middles = torch.nn.functional.avg_pool2d(ramp, factor)
    assert torch.allclose(problem.y[..., 3:-3, 3:-3], middles[..., 3:-3, 3:-3], atol=1e-6)
    # The interpolation bends a ramp a little, to both sides of each middle.
    interpolated = torch.nn.functional.avg_pool2d(problem.start, factor)
    assert torch.allclose(interpolated[..., 5:-5, 5:-5], middles[..., 5:-5, 5:-5], atol=1e-4)
    assert float(superresolve.sampling_kernel(factor, blur).sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(13, 17), (5, 8), (3, 4)])
@pytest.mark.parametrize("factor", superresolve.FACTORS)
def test_images_of_any_size_become_larger(shape: tuple[int, int], factor: int) -> None:
    y = torch.rand(1, 3, *shape)
    problem = superresolve.observed(y, factor, 0.01)
    assert problem.start.shape == (1, 3, shape[0] * factor, shape[1] * factor)
    assert problem.physics.A(problem.start).shape == y.shape
    flat = superresolve.observed(torch.full_like(y, 0.3), factor, 0.01)
    assert torch.allclose(flat.physics.A(flat.start), flat.y, atol=1e-6)


def test_what_cannot_be_made_larger_or_smaller_is_refused() -> None:
    x = torch.rand(1, 1, 8, 8)
    with pytest.raises(InputError, match="unknown blur 'box': expected one of gaussian, bicubic"):
        superresolve.observed(x, 2, 0.01, blur="box")
    with pytest.raises(InputError, match="the factor is 2, 3 or 4, got 5"):
        superresolve.observed(x, 5, 0.01)
    with pytest.raises(InputError, match="2 x 8 pixels cannot be made smaller"):
        superresolve.simulated(x[..., :2, :], 3, 0.01, 0)
    with pytest.raises(InputError, match="divide by the number that stands for white"):
        superresolve.observed(255 * x, 2, 0.01)


@pytest.mark.parametrize("blur", superresolve.BLURS)
def test_super_resolution_gains_over_interpolation(camera: Tensor, blur: str) -> None:
    x = camera[..., 60:124, 90:154].contiguous()
    problem = superresolve.simulated(x, 2, 0.01, seed=0, blur=blur)
    restoration = restore(problem, Options(superresolve.STRENGTH[2] * 0.01))
    assert restoration.solution.plan.guaranteed
    assert gain(restoration) >= 1


def test_a_guided_restoration_gains_over_the_plain_one_it_starts_from(
    camera: Tensor, tmp_path: Path
) -> None:
    problem = deblur.simulated(camera[..., 64:192, 64:192], deblur.motion_kernel(), 0.01, seed=0)
    restoration = restore(problem, Options(0.0075, guided=True))
    report = restoration.to_dict()
    assert report["psnr_restoration"] > report["guided"]["psnr_plain"] + 0.5
    first, second = report["guided"]["stages"]
    assert first["guide_sha256"] is None
    assert len(second["guide_sha256"]) == 64
    assert all("Krasnosel" in stage["plan"]["theorem"] for stage in (first, second))
    assert "nothing is claimed" in report["guided"]["remark"]
    assert "guided by" in restoration.summary()
    restoration.save(tmp_path / "guided.png")
    assert json.loads((tmp_path / "guided.json").read_text())["guided"]["stages"][1] == second


def test_guided_denoising_keeps_the_plain_result_beside_it(camera: Tensor) -> None:
    clean = camera[..., 64:160, 64:160]
    noisy = add_noise(clean, 0.1, seed=0)
    plain, guided = (denoise(noisy, 0.1, truth=clean, guided=guide) for guide in (False, True))
    assert guided.plain is not None
    assert guided.to_dict()["psnr_restoration"] > plain.to_dict()["psnr_restoration"] + 0.2
    assert guided.statement.upper == 1
    assert "nothing is claimed from data to result" in guided.summary()


def test_there_is_no_large_guided_network() -> None:
    with pytest.raises(InputError, match="the guided network has one size"):
        Options(0.01, weights="large", guided=True)
