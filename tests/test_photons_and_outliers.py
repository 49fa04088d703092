"""Counts, wrong pixels, blocks of JPEG and mosaics: what is posed, what is claimed, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pnp_lip.data.photographs import photograph
from pnp_lip.errors import InputError
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur, demosaic, outliers, photons
from pnp_lip.recipes.restoration import Options, restore
from pnp_lip.solvers import DataTermError, Status


@pytest.fixture(scope="module")
def camera() -> Tensor:
    return photograph("camera")[..., 60:108, 90:138].contiguous()


@pytest.mark.parametrize("count", [5, 100])
def test_counting_keeps_the_mean_and_has_the_variance_of_photons(count: int) -> None:
    x = torch.full((1, 1, 200, 200), 0.4)
    y = photons.counted(x, count, 0)
    assert float(y.mean()) == pytest.approx(0.4, rel=0.02)
    assert float(y.var()) == pytest.approx(0.4 / count, rel=0.05)
    assert torch.equal(y, photons.counted(x, count, 0))


def test_denoising_through_the_root_gains_and_claims_only_the_roots(camera: Tensor) -> None:
    y = photons.counted(camera, 30, 0)
    result = photons.denoise(y, 30, truth=camera)
    report = result.to_dict()
    assert report["psnr_restoration"] > report["psnr_observation"] + 3
    assert "from counts to counts nothing is claimed" in result.summary()
    assert report["remarks"] == result.remarks


def test_the_root_and_its_inverse_keep_a_flat_image() -> None:
    for level in (0.05, 0.5, 0.9):
        x = torch.full((1, 1, 48, 48), level)
        found = photons.denoise(photons.counted(x, 200, 0), 200).image
        assert float(found.mean()) == pytest.approx(level, abs=0.004)


def test_from_counts_to_counts_the_map_expands() -> None:
    """Why nothing is claimed: one photon more in dark pixels is a large step of their roots, which the
    network spreads over bright neighbours, where it is many photons."""
    bright = torch.ones(1, 1, 36, 36)
    dark, other = bright.clone(), bright.clone()
    dark[..., ::3, ::3], other[..., ::3, ::3] = 0.0, 0.01
    moved = photons.denoise(dark, 100).image - photons.denoise(other, 100).image
    assert float(moved.norm()) > 2 * float((dark - other).norm())


def test_a_deconvolution_of_counts_converges_under_its_theorem(camera: Tensor) -> None:
    problem = photons.simulated(camera, torch.ones(1, 1, 3, 3), 100, 0)
    options = Options(photons.strength(problem.y, 100), "primal-dual", tol=1e-3)
    restoration = restore(problem, options)
    assert restoration.solution.status is Status.CONVERGED
    assert "Condat" in restoration.to_dict()["theorem"]
    report = restoration.to_dict()
    assert report["psnr_restoration"] > report["psnr_observation"] + 2


def test_the_likelihood_of_counts_needs_the_primal_dual_method(camera: Tensor) -> None:
    problem = photons.simulated(camera, torch.ones(1, 1, 3, 3), 100, 0)
    with pytest.raises(DataTermError, match="PrimalDual takes other convex fidelities"):
        restore(problem, Options(0.05))


def test_real_counts_are_restored_in_their_frame(camera: Tensor) -> None:
    y = photons.counted(camera, 50, 0)
    problem = photons.observed(y, deblur.motion_kernel(5), 50)
    assert problem.start.shape == (1, 1, 52, 52)
    assert restore(problem, Options(0.05, "primal-dual", max_iter=3)).image.shape == y.shape


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_salt_and_pepper_take_their_share(share: float) -> None:
    x = torch.full((1, 3, 100, 100), 0.5)
    y = outliers.salted(x, share, 0)
    assert float((y == 0).double().mean()) == pytest.approx(share / 2, abs=0.01)
    assert float((y == 1).double().mean()) == pytest.approx(share / 2, abs=0.01)
    assert bool(((y == 0) | (y == 1) | (y == 0.5)).all())


def test_wrong_pixels_are_removed_better_by_the_modulus_than_by_the_square(camera: Tensor) -> None:
    y = outliers.salted(camera, 0.1, 0)
    problem = outliers.simulated(camera, y)
    options = Options(outliers.strength(0.1), "primal-dual", stepsize=outliers.STEP, tol=1e-3)
    found = restore(problem, options)
    assert found.solution.plan.guaranteed
    assert psnr(found.image, camera) > psnr(y, camera) + 8
    square = replace(problem, fidelity=None)
    best = max(
        psnr(restore(square, Options(sigma, "primal-dual", tol=1e-3)).image, camera)
        for sigma in (0.05, 0.1, 0.2)
    )
    assert psnr(found.image, camera) > best + 1


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_loses_less_at_a_higher_quality(channels: int) -> None:
    x = photograph("astronaut" if channels == 3 else "camera")[..., 40:72, 90:138]
    scores = [psnr(outliers.compressed(x, quality), x) for quality in (5, 30, 90)]
    assert scores == sorted(scores)
    assert outliers.compressed(x, 50).shape == x.shape


def test_a_mosaic_keeps_what_the_sensor_saw_and_restores_flat_colours() -> None:
    flat = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1).expand(1, 3, 9, 12).contiguous()
    assert torch.allclose(demosaic.simulated(flat, 0.0, 0).start, flat, atol=1e-6)
    x = photograph("astronaut")[..., 40:64, 90:114].contiguous()
    problem = demosaic.simulated(x, 0.0, 0)
    mask = problem.physics.mask
    assert torch.equal(mask.sum(dim=-3), torch.ones_like(mask.sum(dim=-3)))
    assert torch.equal((mask * problem.start), (mask * x))
    mosaic = problem.y.sum(dim=1, keepdim=True)
    again = demosaic.observed(mosaic, 0.0)
    assert torch.equal(again.y, problem.y)
    assert torch.equal(again.start, problem.start)


def test_colours_of_a_mosaic_gain_over_interpolation() -> None:
    x = photograph("astronaut")[..., 40:104, 90:154].contiguous()
    problem = demosaic.simulated(x, 0.005, 0)
    restoration = restore(problem, Options(demosaic.strength(0.005), tol=1e-3))
    report = restoration.to_dict()
    assert restoration.solution.plan.guaranteed
    assert report["psnr_restoration"] > report["psnr_observation"] + 2


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (lambda x: photons.denoise(x, 0.5), "number of photons at white is at least 1"),
        (lambda x: photons.denoise(x - 0.9, 10), "photon counts are not negative"),
        (lambda x: photons.denoise(255 * x, 10), "divide by the number that stands for white"),
        (lambda x: photons.observed(x, -torch.ones(1, 1, 3, 3), 10), "negative entries"),
        (lambda x: outliers.salted(x, 1.0, 0), "share of wrong pixels"),
        (lambda x: outliers.compressed(x, 0), "between 1 and 100, got 0"),
        (lambda x: outliers.compressed(x.expand(2, -1, -1, -1), 9), "expected one image"),
        (lambda x: outliers.observed(255 * x), "divide by the number that stands for white"),
        (lambda x: demosaic.simulated(x, 0.0, 0), "expected a colour image"),
        (lambda x: demosaic.observed(x.expand(-1, 3, -1, -1), 0.0), "filled in already"),
        (lambda x: demosaic.observed(x[..., :1, :], 0.0), "at least 2 x 2 pixels"),
    ],
)
def test_what_cannot_be_posed_is_refused(camera: Tensor, pose: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pose(camera)
