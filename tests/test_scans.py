"""Scans: what is measured, how it is scaled, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import radon
from torch import Tensor

from pnp_lip.data.phantoms import PHANTOMS, phantom
from pnp_lip.data.photographs import photograph
from pnp_lip.data.rotation import axis_of_rotation
from pnp_lip.errors import InputError
from pnp_lip.recipes import coils, ct, mri, single_pixel
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, restore
from pnp_lip.solvers import Status

SIZE = 32


@pytest.fixture(scope="module")
def tissue() -> Tensor:
    return phantom("tissue", SIZE)


def posed(x: Tensor) -> dict[str, Problem]:
    """One problem of every kind."""
    return {
        "one coil": mri.simulated(x, 2, 0.01, 0),
        "four coils": mri.simulated(x, 2, 0.01, 0, coils=4),
        "four coils, maps estimated": mri.simulated(x, 2, 0.01, 0, coils=4, estimate=True),
        "parallel": ct.simulated(x, ct.evenly(20), 0.01, 0),
        "fan": ct.simulated(x, ct.evenly(20, fan=True), 0.01, 0, fan=ct.Fan.around(SIZE)),
        "low dose": ct.low_dose(x, ct.evenly(20), 1000, 0),
        "single pixel": single_pixel.simulated(x, 0.25, 0.01, 0),
    }


KINDS = tuple(posed(phantom("tissue", SIZE)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_adjoint_is_that_of_the_operator_and_the_norm_is_not_exceeded(
    tissue: Tensor, kind: str
) -> None:
    problem = posed(tissue)[kind]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(problem.start.shape, generator=generator)
    u = torch.randn(problem.y.shape, generator=generator)
    forward, back = problem.physics.A(x), problem.physics.A_adjoint(u)
    assert float((forward * u).sum()) == pytest.approx(float((x * back).sum()), rel=1e-3, abs=1e-3)
    plan = restore(problem, Options(0.02, max_iter=1)).solution.plan
    assert plan.guaranteed
    assert float(forward.norm()) <= plan.norm.upper * float(x.norm()) * (1 + 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_scan_gains_over_its_start_and_converges(tissue: Tensor, kind: str) -> None:
    problem = posed(tissue)[kind]
    sigma = 0.003 if problem.name == "computed tomography" else 0.015
    restoration = restore(problem, Options(sigma, tol=1e-3))
    report = restoration.to_dict()
    assert restoration.solution.status is Status.CONVERGED
    assert restoration.solution.plan.guaranteed
    assert restoration.image.shape == tissue.shape
    assert report["psnr_restoration"] > report["psnr_observation"] + 0.5


@pytest.mark.parametrize("name", PHANTOMS)
@pytest.mark.parametrize("size", [16, 33, 200])
def test_phantoms_lie_in_the_unit_range_and_in_the_circle(name: str, size: int) -> None:
    image = phantom(name, size)
    assert image.shape == (1, 1, size, size)
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    line = torch.linspace(-1, 1, size)
    outside = line[:, None] ** 2 + line[None, :] ** 2 > 1.1
    assert float(image[0, 0][outside].max()) < 0.02


def test_unknown_and_tiny_phantoms_are_refused() -> None:
    with pytest.raises(InputError, match="unknown phantom 'brain': expected one of shepp-logan"):
        phantom("brain")
    with pytest.raises(InputError, match="at least 16 pixels a side, got 8"):
        phantom("tissue", 8)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(8, 80), st.integers(8, 80), st.sampled_from([1, 2, 3.5, 4, 8]), st.integers(0, 9)
)
def test_a_mask_has_its_columns_and_its_middle(
    height: int, width: int, acceleration: float, seed: int
) -> None:
    mask = mri.cartesian_mask((height, width), acceleration, seed)
    assert mask.shape == (height, width)
    assert torch.equal(mask, mask[:1].expand_as(mask))
    assert int(mask[0].sum()) == max(1, round(width / acceleration))
    assert bool(mask[0, width // 2] == 1) or width / acceleration < 2


def kspace(x: Tensor, maps: Tensor | None = None) -> Tensor:
    """Fully sampled k-space ``[N, H, W]`` of an image."""
    images = x[0] if maps is None else maps[0] * x[0]
    shifted = torch.fft.ifftshift(images.to(torch.complex64), dim=(-2, -1))
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=(-2, -1))


def test_the_transform_is_the_one_of_the_physics(tissue: Tensor) -> None:
    problem = mri.observed(kspace(tissue), 0.0)
    image = problem.physics.A_adjoint(problem.y)[:, :1] * problem.settings["white"]
    assert torch.allclose(image, tissue, atol=1e-5)
    assert torch.allclose(coils.centred_ifft(kspace(tissue)).real, tissue[0], atol=1e-5)


@pytest.mark.parametrize("unit", [1e-6, 3.0, 1e4])
def test_the_unit_of_k_space_does_not_change_the_problem(tissue: Tensor, unit: float) -> None:
    maps = coils.ring_of_coils(3, (SIZE, SIZE))
    measured = kspace(tissue, maps) * mri.cartesian_mask((SIZE, SIZE), 2, 0)
    problems = [mri.observed(factor * measured, None) for factor in (1.0, unit)]
    assert torch.allclose(problems[0].y, problems[1].y, atol=1e-5)
    assert problems[0].noise == pytest.approx(problems[1].noise, rel=1e-3, abs=1e-7)
    assert problems[1].settings["white"] == pytest.approx(
        unit * problems[0].settings["white"], rel=1e-4
    )


def test_maps_from_the_middle_are_close_to_those_that_made_the_scan() -> None:
    maps = coils.ring_of_coils(4, (SIZE, SIZE))
    body, mask = phantom("tissue", SIZE), torch.zeros(SIZE, SIZE)
    mask[:, 10:23] = 1
    estimated = coils.estimated_maps(kspace(body, maps)[None] * mask, mask)
    inside = body > 0.2
    assert float(((estimated.abs() - maps.abs()).abs() * inside).max()) < 0.05
    # Phases are those of the coils to each other; the phase of the image is in all of them.
    between, known = (m[:, :1].conj() * m for m in (estimated, maps))
    assert float(((between - known).abs() * inside).max()) < 0.12
    assert torch.allclose(estimated.abs().square().sum(1), torch.ones(1, SIZE, SIZE), atol=1e-5)


@pytest.mark.parametrize("level", [0.002, 0.05])
def test_the_noise_is_read_off_the_outer_k_space(level: float) -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.zeros(1, 1, 64, 64)
    smooth[..., 20:44, 20:44] = torch.outer(torch.hann_window(24), torch.hann_window(24))
    noise = torch.complex(*(level * torch.randn(2, 1, 64, 64, generator=generator)))
    problem = mri.observed(kspace(smooth) + noise)
    assert problem.noise * problem.settings["white"] == pytest.approx(level, rel=0.1)


def test_all_lines_of_a_scan_are_the_truth_for_some_of_them(tissue: Tensor) -> None:
    maps = coils.ring_of_coils(4, (SIZE, SIZE))
    problem = mri.undersampled(kspace(tissue, maps), 2, 0, 0.0)
    assert problem.truth is not None
    assert torch.allclose(problem.truth * problem.settings["white"], tissue, atol=1e-4)
    assert problem.settings["sampled"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kspace": torch.zeros(2, SIZE, SIZE)}, "expected complex k-space"),
        ({"kspace": torch.zeros(2, SIZE, SIZE) + 0j}, "k-space is zero everywhere"),
        ({"kspace": torch.full((2, SIZE, SIZE), float("nan")) + 0j}, "NaN or infinity"),
        ({"kspace": torch.zeros(SIZE, SIZE) + 1j}, r"\[coils, H, W\]"),
        ({"mask": torch.ones(SIZE, 3)}, "the mask has 32 x 3 entries, k-space 32 x 32"),
        ({"mask": torch.zeros(SIZE, SIZE)}, "the mask keeps nothing of k-space"),
        ({"maps": torch.ones(3, SIZE, SIZE)}, "the maps have shape"),
        ({"maps": torch.zeros(2, SIZE, SIZE)}, "coil maps are zero everywhere"),
        ({"noise": 25.0}, "divide by 255"),
    ],
)
def test_scans_that_cannot_be_used_are_refused(
    tissue: Tensor, change: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {
        "kspace": kspace(tissue, coils.ring_of_coils(2, (SIZE, SIZE))),
        "noise": 0.01,
    }
    with pytest.raises(InputError, match=message):
        mri.observed(**(given | change))


def test_a_zero_frequency_in_the_corner_is_refused(tissue: Tensor) -> None:
    corner = torch.fft.ifftshift(kspace(tissue), dim=(-2, -1))
    with pytest.raises(InputError, match=r"lies at \(0, 0\) and not near its middle \(16, 16\)"):
        mri.observed(corner)


def test_maps_need_a_sampled_middle(tissue: Tensor) -> None:
    measured = kspace(tissue, coils.ring_of_coils(2, (SIZE, SIZE)))
    mask = torch.zeros(SIZE, SIZE)
    mask[:, ::2] = 1
    with pytest.raises(InputError, match="give the maps"):
        mri.observed(measured * mask)


def test_a_scan_of_every_line_is_said_to_be_one(tissue: Tensor) -> None:
    assert "nothing is missing" in mri.observed(kspace(tissue), 0.0).remarks[-1]
    half = mri.observed(kspace(tissue) * mri.cartesian_mask((SIZE, SIZE), 2, 0), 0.0)
    assert half.remarks == ("measured 50.0 % of k-space (one coil)",)


def test_sinograms_of_scikit_image_come_out_upright() -> None:
    x = phantom("shepp-logan", 48)
    x[..., 8:15, 26:32] = 1  # something that is not symmetric
    angles = ct.evenly(60)
    sinogram = torch.from_numpy(radon(x[0, 0].numpy(), angles.numpy(), circle=True)).float()
    # scikit-image turns an image of even side about a pixel, half a pixel beside the middle.
    problem = ct.observed(sinogram, angles, 0.01, axis=24)
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1)) / problem.settings["white"]
    exact = problem.physics.A(padded) - problem.y
    assert float(exact.norm()) < 1e-4 * float(problem.y.norm())
    assert problem.remarks == ()
    beside = ct.observed(sinogram, angles, 0.01)
    (remark,) = beside.remarks
    assert "row 23.5, the middle" in remark
    assert remark.endswith("--axis 24")
    difference = beside.physics.A(x / beside.settings["white"]) - beside.y
    assert float(difference.norm()) > 0.1 * float(beside.y.norm())


@pytest.mark.parametrize("axis", [0, 3.5, 8, 15])
def test_rows_of_air_bring_the_axis_to_the_middle(axis: float) -> None:
    sinogram = torch.rand(16, 5, generator=torch.Generator().manual_seed(0))
    rows = ct.observed(sinogram, ct.evenly(5), 0.0, axis=axis).y[0, 0]
    start = int((rows.abs().sum(1) > 0).nonzero()[0])
    assert start + axis == (len(rows) - 1) / 2
    assert len(rows) == 16 + abs(round(2 * axis - 15))


@given(
    axis=st.floats(6, 9),
    points=st.lists(st.tuples(st.floats(0.1, 1), st.floats(-4, 4), st.floats(-3, 3)), min_size=1),
    views=st.integers(5, 12),
)
@settings(max_examples=40, deadline=None)
def test_the_axis_of_rotation_is_found_from_the_shadows_of_points(
    axis: float, points: list[tuple[float, float, float]], views: int
) -> None:
    angles = ct.evenly(views)
    sinogram = torch.zeros(16, views, dtype=torch.float64)
    for mass, x, y in points:
        theta = torch.deg2rad(angles.double())
        row = axis + x * theta.cos() + y * theta.sin()  # shared by the two pixels beside it
        low = row.floor().long()
        sinogram[low, torch.arange(views)] += mass * (1 - (row - low))
        sinogram[low + 1, torch.arange(views)] += mass * (row - low)
    found = axis_of_rotation(sinogram, angles)
    assert found is not None
    assert found[0] == pytest.approx(axis, abs=1e-5)
    assert found[1] < 1e-5


def test_no_axis_is_named_where_views_do_not_see_the_whole_object_or_noise_hides_it(
    tissue: Tensor,
) -> None:
    whole = ct.simulated(tissue, ct.evenly(20), 0.0, 0).y[0, 0]
    assert axis_of_rotation(whole[:20], ct.evenly(20)) is None
    assert axis_of_rotation(whole[:, :4], ct.evenly(20)[:4]) is None
    assert axis_of_rotation(torch.zeros(9, 20), ct.evenly(20)) is None
    for noise in (0.0, 0.01, 0.05):
        noisy = ct.simulated(tissue, ct.evenly(20), noise, 0)
        assert ct.observed(noisy.y[0, 0], ct.evenly(20), noise).remarks == ()


def test_counts_become_weights_and_line_integrals(tissue: Tensor) -> None:
    many = ct.low_dose(tissue, ct.evenly(12), 1e9, 0)
    exact = ct.simulated(tissue, ct.evenly(12), 0.0, 0)
    assert torch.allclose(many.y, exact.y, atol=1e-3)
    few = ct.low_dose(tissue, ct.evenly(12), 5, 0)
    assert few.fidelity is not None
    weights = torch.as_tensor(few.fidelity.norm)
    assert float(weights.max()) == pytest.approx(1, abs=1e-5)
    assert 0 < float(weights.min()) < 1
    assert bool(few.y.isfinite().all())


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (lambda x: ct.simulated(x[..., :20, :], ct.evenly(4), 0.0, 0), "one square grey image"),
        (lambda x: ct.evenly(0), "at least one view"),
        (lambda x: ct.low_dose(x, ct.evenly(4), 0.5, 0), "at least one photon"),
        (lambda x: ct.observed(x[0], ct.evenly(4), 0.0), "expected a real sinogram"),
        (lambda x: ct.observed(x[0, 0], ct.evenly(4), 0.0), "has 32 columns for 4 angles"),
        (lambda x: ct.observed(x[0, 0] * torch.nan, ct.evenly(32), 0.0), "NaN or infinity"),
        (lambda x: ct.observed(x[0, 0], ct.evenly(32), 0.0, size=20), "got size 20"),
        (lambda x: ct.observed(0 * x[0, 0], ct.evenly(32), 0.0), "dark everywhere"),
        (lambda x: ct.observed(x[0, 0], ct.evenly(32), 0.0, axis=32), "a row between 0 and 31"),
        (lambda x: ct.observed(-x[0, 0], ct.evenly(32), 0.0, photons=9), "not negative"),
        (lambda x: ct.Fan(1.0, 1.0, -1.0, 1.0), "spacing must be a positive length"),
        (lambda x: ct.Fan(1.0, 1.0, 1.0, 1.0).detectors(9), "lies inside the image"),
        (lambda x: mri.cartesian_mask((8, 8), 9, 0), "between 1 and the 8 columns"),
        (lambda x: mri.simulated(x.expand(1, 3, -1, -1), 4, 0.0, 0), "one grey image"),
        (lambda x: coils.ring_of_coils(0, (8, 8)), "at least one coil"),
        (lambda x: single_pixel.simulated(x[..., :20, :], 0.5, 0.0, 0), "powers of 2"),
        (lambda x: single_pixel.simulated(x, 0.0, 0.0, 0), "share of the patterns"),
        (lambda x: single_pixel.observed(x[0, 0, 0], x[0], 0.0), "as many patterns"),
        (lambda x: single_pixel.observed(torch.zeros(1), x[0], 0.0), "zero everywhere"),
    ],
)
def test_measurements_that_do_not_fit_are_refused(tissue: Tensor, pose: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pose(tissue)


@pytest.mark.parametrize("unit", [1.0, 1e4])
def test_numbers_of_a_single_pixel_camera_of_any_unit_give_the_scene(unit: float) -> None:
    x = photograph("camera", 8)
    patterns = torch.randn(96, 8, 8, generator=torch.Generator().manual_seed(0))
    y = unit * (patterns * x[0]).sum(dim=(1, 2))
    problem = single_pixel.observed(y, patterns, 0.0)
    assert torch.allclose(problem.start * problem.settings["white"] / unit, x, atol=1e-3)
    assert torch.allclose(problem.physics.A(problem.start), problem.y, atol=1e-4)
    assert restore(problem, Options(0.01, max_iter=1)).solution.plan.guaranteed
