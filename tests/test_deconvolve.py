"""Microscope images and volumes: optics, axes, recipes and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.physics import Blur
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j1
from tifffile import TiffFile, imwrite
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.cli import main
from pnp_lip.data.cells import cells
from pnp_lip.data.images import ImageFileError, read_stack
from pnp_lip.data.kernels import centred, displacement, kernel_remarks, read_psf
from pnp_lip.data.psf import Optics
from pnp_lip.data.volumes import DepthAxis, depth_axis
from pnp_lip.errors import InputError
from pnp_lip.formats.tiff_scale import pixel_size
from pnp_lip.recipes import deconvolve, photons
from pnp_lip.recipes.denoise import add_noise, denoise
from pnp_lip.recipes.restoration import Options, restore
from pnp_lip.recipes.sections import crossing, sections
from pnp_lip.weights import write_weights


def kernel(*shape: int) -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(2)) + 0.1
    return (values / values.sum())[None, None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with small weights and two point spread functions."""
    monkeypatch.chdir(tmp_path)
    small = LipschitzDenoiser(1, depth=1, nf=4, kernel_size=3, pretrained=None)
    write_weights(small, "grey.safetensors")
    np.save("psf3.npy", kernel(3, 3, 5)[0, 0].numpy())
    np.save("psf2.npy", kernel(3, 5)[0, 0].numpy())
    return tmp_path


SMALL = ("--weights", "grey.safetensors", "--max-iter", "3", "--tol", "1e-9")


def run(*arguments: str) -> int:
    return main(list(arguments))


# Axes


@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_volumes_go_back_to_the_pages_they_came_from(shape: list[int], data: Any) -> None:
    axis = DepthAxis(tuple(shape), data.draw(st.integers(0, len(shape) - 1)))
    pages = torch.rand(int(np.prod(shape)), 3, 4, 5)
    volumes = axis.volumes(pages)
    assert len(volumes) == np.prod(shape) // shape[axis.position]
    assert all(v.shape == (1, 3, shape[axis.position], 4, 5) for v in volumes)
    assert torch.equal(axis.pages(volumes), pages)


def test_each_time_and_channel_is_a_volume_of_its_own(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 2, dtype=np.uint8).reshape(2, 3, 2, 1, 1) * np.ones((4, 6), np.uint8)
    imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    image = read_stack(tmp_path / "a.tif")
    volumes = depth_axis(image).volumes(image.pixels)
    seen = [(255 * v[0, 0, :, 0, 0]).round().int().tolist() for v in volumes]
    assert seen == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]


@pytest.mark.parametrize(
    ("axes", "name", "message"),
    [
        ("TYX", None, "no axis of the stack is called Z, it has T: .*--depth-axis T"),
        ("TYX", "Z", "the stack has the axes T besides rows and columns, no Z"),
        ("YX", None, "this is a single image"),
    ],
)
def test_time_is_not_taken_for_depth(
    tmp_path: Path, axes: str, name: str | None, message: str
) -> None:
    shape = (3, 8, 9)[3 - len(axes) :]
    imwrite(
        tmp_path / "a.tif",
        np.zeros(shape, np.uint8),
        photometric="minisblack",
        metadata={"axes": axes},
    )
    with pytest.raises(InputError, match=message):
        depth_axis(read_stack(tmp_path / "a.tif"), name)


def test_the_pages_of_a_plain_stack_are_slices(tmp_path: Path) -> None:
    pages = np.zeros((5, 8, 9), np.uint8)
    imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    assert depth_axis(read_stack(tmp_path / "a.tif")) == DepthAxis((5,), 0)


# Point spread functions


def test_the_focus_of_an_objective_is_airys_pattern() -> None:
    pytest.importorskip("psf")
    optics = Optics(wavelength=500, aperture=0.2, pixel=100, index=1.0)
    found = optics.kernel()[0, 0].double()
    middle = found.shape[-1] // 2
    v = 2 * torch.pi * 0.2 / 500 * 100 * torch.arange(1, middle + 1).double().numpy()
    line = (found[middle, middle + 1 :] / found[middle, middle]).numpy()
    np.testing.assert_allclose(line, (2 * j1(v) / v) ** 2, atol=6e-3)
    assert optics.airy_radius == pytest.approx(0.61 * 500 / 0.2)


def test_an_objective_in_three_dimensions_is_symmetric_and_dark_at_its_depth() -> None:
    pytest.importorskip("psf")
    optics = Optics(wavelength=520, aperture=0.5, pixel=200, step=200, index=1.0)
    found = optics.kernel()
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    for axis in (2, 3, 4):
        torch.testing.assert_close(found, found.flip(axis))
    assert max(map(abs, displacement(found))) < 1e-5
    _, _, depth, height, width = found.shape
    line = found[0, 0, depth // 2 :, height // 2, width // 2]
    dark = next(
        i for i in range(1, len(line) - 1) if line[i] <= line[i - 1] and line[i] < line[i + 1]
    )
    assert abs(dark * 200 - optics.depth) <= 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aperture": 1.6}, "must be below the refractive index"),
        ({"pixel": 0.1}, "nanometres, got 0.1: multiply micrometres by 1000"),
        ({"wavelength": 0.52}, "nanometres, got 0.52"),
        ({"step": -1.0}, "step must be a positive number"),
        ({"pixel": float("nan")}, "pixel must be a positive number"),
    ],
)
def test_impossible_optics_are_refused(change: dict[str, float], message: str) -> None:
    given = {"wavelength": 520.0, "aperture": 0.9, "pixel": 100.0} | change
    with pytest.raises(InputError, match=message):
        Optics(**given)


def test_units_that_make_a_huge_kernel_are_named() -> None:
    pytest.importorskip("psf")
    with pytest.raises(InputError, match="is step 1 in nanometres"):
        Optics(520, 0.5, 200, 1.0, 1.0).kernel()


def test_coarse_pixels_are_said() -> None:
    assert Optics(520, 0.5, 200, index=1.0).remarks() == ()
    assert "coarser than 260 nm" in Optics(520, 0.5, 300, index=1.0).remarks()[0]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psf", None)
    with pytest.raises(InputError, match=r"pip install 'pnp-lip\[microscopy\]'"):
        Optics(520, 0.5, 200, index=1.0).kernel()


def test_a_bead_is_read_from_pages_and_from_arrays(tmp_path: Path) -> None:
    values = (1000 * kernel(3, 5, 7)[0, 0].numpy()).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    for name in ("a.npy", "a.tif"):
        torch.testing.assert_close(read_psf(tmp_path / name), kernel(3, 5, 7), rtol=1e-5, atol=0)
    imwrite(tmp_path / "b.tif", values[None].repeat(2, 0), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(
        ImageFileError, match="one axis besides rows and columns, this stack has TZ"
    ):
        read_psf(tmp_path / "b.tif")


def test_a_bead_beside_the_centre_is_named_and_centred() -> None:
    bead = torch.zeros(1, 1, 5, 7, 9)
    bead[0, 0, 4, 1, 4] = 1
    assert displacement(bead) == (2, -2, 0)
    assert "2.0 slices behind, 2.0 rows above and 0.0 columns left" in kernel_remarks(bead)[0]
    assert centred(bead).shape == (1, 1, 1, 1, 1)


# Recipes


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)])
def test_a_volume_is_observed_through_a_true_convolution(shape: tuple[int, ...]) -> None:
    """One bright point shows the kernel around it, in both boundary conditions."""
    k = kernel(*shape)
    x = torch.zeros(1, 1, *(9,) * len(shape))
    x[0, 0, *(4,) * len(shape)] = 1
    y = deconvolve.simulated(x, k, noise=0.0).y
    for axis, n in enumerate(shape, 2):
        y = y.narrow(axis, 4 - n // 2, n)
    torch.testing.assert_close(y, k, rtol=0, atol=1e-6)
    y = torch.rand(1, 1, *(9,) * len(shape))
    seen = deconvolve.observed(y, k)
    assert isinstance(seen.physics, Blur)
    assert seen.start.shape[2:] == tuple(n + m - 1 for n, m in zip(y.shape[2:], shape, strict=True))
    assert torch.equal(seen.in_frame(seen.start), y)


def test_large_kernels_go_through_fourier_transforms_with_the_same_result() -> None:
    x, k = cells((12, 20, 20)), kernel(3, 7, 7)
    for padding in ("valid", "circular"):
        fast, slow = (Blur(k, padding=padding, use_fft=fft) for fft in (True, False))
        torch.testing.assert_close(fast.A(x), slow.A(x), rtol=0, atol=1e-5)
        y = fast.A(x)
        torch.testing.assert_close(fast.A_adjoint(y), slow.A_adjoint(y), rtol=0, atol=1e-5)
    assert deconvolve.observed(x, k).physics.use_fft
    assert not deconvolve.observed(x, kernel(3, 3, 3)).physics.use_fft


@pytest.mark.parametrize(
    ("photons", "solver"), [(None, "forward-backward"), (100.0, "primal-dual")]
)
def test_a_volume_is_restored_under_a_theorem(photons: float | None, solver: str) -> None:
    x = cells((8, 24, 24), seed=1)
    problem = deconvolve.simulated(x, kernel(3, 5, 5), noise=0.02, photons=photons, seed=1)
    options = Options(deconvolve.STRENGTH["photons"] * problem.noise, solver, max_iter=60, tol=1e-3)
    found = restore(problem, options)
    report = found.to_dict()
    assert report["theorem"] is not None
    assert report["status"] == "CONVERGED"
    assert report["psnr_restoration"] > report["psnr_observation"] + 1.5
    assert found.image.shape == x.shape


def test_a_real_volume_is_restored_in_its_frame(tmp_path: Path) -> None:
    problem = deconvolve.observed(cells((8, 20, 20)), kernel(3, 5, 5), noise=0.01)
    found = restore(problem, Options(0.01, max_iter=2))
    assert found.image.shape == (1, 1, 8, 20, 20)
    found.draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_a_guided_solve_of_a_volume_is_refused() -> None:
    problem = deconvolve.observed(cells((8, 20, 20)), kernel(3, 5, 5), noise=0.01)
    with pytest.raises(InputError, match="a volume has no guided solve"):
        restore(problem, Options(0.01, guided=True))
    with pytest.raises(InputError, match="a volume is denoised plainly"):
        denoise(cells((8, 20, 20)), 0.1, guided=True)


@pytest.mark.parametrize(
    ("shape", "k", "message"),
    [
        ((1, 1, 9, 9), kernel(3, 3, 3), "the kernel is a volume, what is to be restored an image"),
        ((1, 1, 9, 9, 9), kernel(3, 3), "the kernel is an image, what is to be restored a volume"),
    ],
)
def test_kernels_that_do_not_fit_are_refused(
    shape: tuple[int, ...], k: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        deconvolve.observed(torch.zeros(shape), k)


def test_a_kernel_may_have_more_slices_than_the_stack_but_not_of_a_simulation() -> None:
    x, k = torch.rand(1, 1, 2, 9, 9), kernel(5, 3, 3)
    seen = deconvolve.observed(x, k)
    assert seen.start.shape[2:] == (6, 11, 11)
    assert torch.equal(seen.in_frame(seen.start), x)
    assert seen.physics.A(seen.start).shape == x.shape
    with pytest.raises(InputError, match="5 x 3 x 3 pixels is larger than the image of 2 x 9 x 9"):
        deconvolve.simulated(x, k)


@pytest.mark.parametrize("photons", [0.0, -3.0, float("nan"), float("inf")])
def test_impossible_numbers_of_photons_are_refused(photons: float) -> None:
    with pytest.raises(InputError, match="photons at white is at least 1"):
        deconvolve.simulated(torch.zeros(1, 1, 9, 9), kernel(3, 3), photons=photons)


def test_photons_have_the_mean_and_the_variance_of_photons() -> None:
    x = torch.full((1, 1, 200, 200), 0.4)
    y = deconvolve.simulated(x, kernel(1, 1), photons=50, seed=3).y
    assert float(y.mean()) == pytest.approx(0.4, abs=2e-3)
    assert float(y.var()) == pytest.approx(0.4 / 50, rel=0.05)
    assert deconvolve.noise_of_photons(y, 50) == pytest.approx(float(y.std()), rel=0.05)


def test_three_planes_of_a_volume_are_shown_together() -> None:
    volume = torch.zeros(1, 1, 3, 5, 7)
    volume[0, 0, 1, 2, 4] = 1
    assert crossing(volume) == (1, 2, 4)
    picture = sections(volume, (1, 2, 4))[0, 0]
    assert picture.shape == (5 + 2 + 3, 7 + 2 + 3)
    assert float(picture[2, 4]) == float(picture[5 + 2 + 1, 4]) == float(picture[2, 7 + 2 + 1]) == 1
    assert float(picture[:5, :7].sum()) == 1


def test_neighbouring_slices_help_a_denoiser() -> None:
    x = cells((12, 24, 24), seed=2)
    noisy = add_noise(x, 0.05, seed=0)
    whole = denoise(noisy, 0.06, truth=x)
    slices = torch.cat([denoise(page, 0.06).image for page in noisy[0].movedim(1, 0).split(1)])
    error = (slices.movedim(0, 1)[None] - x).square().mean()
    assert float((whole.image - x).square().mean()) < float(error)
    assert whole.to_dict()["lipschitz_upper"] == 1.0


def test_photons_of_a_volume_are_denoised_along_its_planes() -> None:
    x = torch.nn.functional.avg_pool3d(cells((16, 40, 44)), 2)
    y = photons.counted(x, 20, seed=0)
    found = photons.denoise(y, 20, truth=x)
    pages = [photons.denoise(page, 20).image for page in y[0].movedim(1, 0).split(1)]
    whole, slices, noisy = (
        float((image - x).square().mean())
        for image in (found.image, torch.cat(pages).movedim(0, 1)[None], y)
    )
    assert whole < slices < 0.5 * noisy


# The command


def test_a_hyperstack_is_restored_as_volumes_and_keeps_its_axes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = (4000 * cells((8, 16, 18))[0, 0].numpy()).astype(np.uint16)
    both = np.stack([stack, stack // 2], axis=1)
    imwrite("a.tif", both, imagej=True, metadata={"axes": "ZCYX", "spacing": 0.3, "unit": "um"})
    code = run("deconvolve", "a.tif", "--psf", "psf3.npy", "--white-level", "4095", *SMALL)
    assert code == 3
    printed = capsys.readouterr().out
    assert "2 volumes: 2 MAX_ITERATIONS" in printed
    with TiffFile("deconvolve.tif") as file:
        assert file.series[0].axes == "ZCYX"
        assert file.series[0].shape == both.shape
        assert (file.imagej_metadata or {})["spacing"] == 0.3
        found = file.asarray()
    assert found.dtype == np.uint16
    one, other = (found[:, channel].astype(float).mean() for channel in range(2))
    assert one == pytest.approx(2 * other, rel=0.05)
    report = json.loads(Path("deconvolve.json").read_text())
    assert report["pages"][0]["settings"]["kernel_shape"] == [3, 3, 5]


@pytest.mark.parametrize(
    ("written", "nanometres"),
    [
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "um"}}, 200),
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "\\u00B5m"}}, 200),
        ({"imagej": True, "resolution": (5, 4), "metadata": {"unit": "um"}}, None),
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "parsec"}}, None),
        ({"imagej": True}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}}, 200),
        (
            {"ome": True, "metadata": {"PhysicalSizeX": 65.0, "PhysicalSizeXUnit": "nm"}},
            None,
        ),
        ({"resolution": (72, 72), "resolutionunit": 2}, None),
    ],
)
def test_the_size_of_a_pixel_is_what_imagej_and_ome_say_and_no_resolution_of_a_screen(
    tmp_path: Path, written: dict[str, Any], nanometres: float | None
) -> None:
    imwrite(tmp_path / "a.tif", np.zeros((16, 18), np.uint8), **written)
    found = pixel_size(read_stack(tmp_path / "a.tif").storage.scale)
    assert found == (None if nanometres is None else pytest.approx(nanometres))


def test_the_size_of_a_pixel_from_the_file_is_said_and_another_one_is_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psf")
    scale: dict[str, Any] = {"resolution": (2.5, 2.5), "metadata": {"unit": "um"}}
    imwrite(
        "a.tif", (255 * cells((8, 32, 32))[0, 0, 4].numpy()).astype(np.uint8), imagej=True, **scale
    )
    optics = ["--wavelength", "520", "--na", "0.4", "--index", "1"]
    assert run("deconvolve", "a.tif", *optics, *SMALL) == 3
    assert "a pixel is 400 nm, as the file says" in capsys.readouterr().out
    assert run("deconvolve", "a.tif", *optics, "--pixel", "300", *SMALL) == 3
    assert "a pixel is 400 nm in the file, and 300 nm by --pixel" in capsys.readouterr().out


def test_a_flat_point_spread_function_restores_slice_by_slice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imwrite("a.tif", (255 * cells((8, 16, 18))[0, 0].numpy()).astype(np.uint8), ome=True)
    assert run("deconvolve", "a.tif", "--psf", "psf2.npy", "--photons", "100", *SMALL) == 3
    assert "8 pages" in capsys.readouterr().out
    report = json.loads(Path("deconvolve.json").read_text())
    assert {page["solver"] for page in report["pages"]} == {"primal-dual"}
    with TiffFile("deconvolve.tif") as file:
        assert file.is_ome


def test_the_offset_of_a_camera_is_taken_off(folder: Path) -> None:
    flat = np.full((16, 18), 300, np.uint16)
    imwrite("a.tif", flat)
    arguments = ["deconvolve", "a.tif", "--psf", "psf2.npy", "--white-level", "1100", *SMALL]
    assert run(*arguments, "--offset", "100", "--sigma", "0", "-o", "sharp.tif") in (0, 3)
    found = read_stack("sharp.tif", white_level=1100).pixels
    assert float(found[..., 6:-6, 6:-6].mean()) == pytest.approx(200 / 1100, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.tif"], "a real image needs its point spread function"),
        (
            ["a.tif", "--psf", "psf3.npy", "--na", "0.5"],
            "state --psf or the optics (--na), not both",
        ),
        (["a.tif", "--na", "0.5", "--wavelength", "520"], "the optics lack --pixel"),
        (["a.tif", "--psf", "psf3.npy"], "no axis of the stack is called Z, it has T"),
        (["a.tif", "--psf", "psf2.npy", "--offset", "300"], "not below the white level"),
        (["--simulate", "--psf", "psf3.npy", "--offset", "3"], "a simulation has none"),
        (["a.tif", "--psf", "psf2.npy", "--strengths", "1,x"], "'x' is not a number"),
        (["a.tif", "--psf", "psf2.npy", "--strengths", "1", "--sigma", "0.1"], "not allowed with"),
    ],
)
def test_what_does_not_fit_ends_in_one_sentence(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    imwrite("a.tif", np.zeros((6, 16, 18), np.uint8), metadata={"axes": "TYX"})
    assert run("deconvolve", *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not Path("deconvolve.tif").exists()
