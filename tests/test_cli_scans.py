"""Scans and their kin from the command line: files in, images out, and one sentence for each failure."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cli_runs import COLOUR, GREY, run
from scipy.io import savemat

from pnp_lip.data.images import read_image, read_stack, write_image
from pnp_lip.data.phantoms import phantom
from pnp_lip.data.photographs import photograph
from pnp_lip.errors import MissingFileError
from pnp_lip.formats.measurements import read_measurement
from pnp_lip.formats.raster import ImageFileError
from pnp_lip.recipes import coils, ct, mri

SIZE = 32


QUICK = ["--tol", "1e-2"]


def report(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(f"{name}.json").read_text())
    return found


def kspace(count: int = 3, acceleration: float = 2) -> np.ndarray:
    """Half of the lines of a phantom seen by some coils."""
    maps = coils.ring_of_coils(count, (SIZE, SIZE))[0]
    images = torch.fft.ifftshift(maps * phantom("tissue", SIZE)[0], dim=(-2, -1))
    whole = torch.fft.fftshift(torch.fft.fft2(images, norm="ortho"), dim=(-2, -1))
    return (whole * mri.cartesian_mask((SIZE, SIZE), acceleration, 0)).numpy()


@pytest.mark.parametrize("command", ["mri", "ct", "singlepixel"])
def test_without_a_file_a_phantom_is_measured(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--size", "32", "--report", *GREY, *QUICK) == 0
    found = report(command)
    page = Path(f"{command}.html").read_text()
    assert str(found["theorem"]).replace("'", "&#x27;") in page
    assert found["psnr_observation"] is not None
    assert "theorem" in capsys.readouterr().out
    assert read_image(f"{command}.png").pixels.shape == (1, 1, 32, 32)
    assert Path(f"{command}.figure.png").stat().st_size > 0


@pytest.mark.parametrize("suffix", ["npy", "npz", "mat", "h5"])
def test_a_scan_of_several_coils_is_read_from_every_format(
    folder: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / f"scan.{suffix}"
    if suffix == "npy":
        np.save(file, kspace())
    elif suffix == "npz":
        np.savez(file, kspace=kspace(), other=np.ones((4, 4)))
    elif suffix == "mat":
        savemat(file, {"data": kspace()})
    else:
        with h5py.File(file, "w") as content:
            content["kspace"] = kspace()
            content["mask"] = np.ones(SIZE)
    assert run("mri", str(file), "-o", "x.npy", *GREY, *QUICK) == 0
    printed = capsys.readouterr().out
    assert "measured 50.0 % of k-space (3 coils)" in printed
    assert "noise estimated" in printed
    assert report("x")["settings"]["maps"] == "estimated from the middle of k-space"  # type: ignore[index]
    # In the units of the scan: the phantom reaches 1.
    assert 0.5 < np.load("x.npy").max() < 1.5


def test_slices_become_a_stack(folder: Path) -> None:
    np.save("slices.npy", np.stack([kspace(1)[0], 2 * kspace(1)[0]]))
    assert run("mri", "slices.npy", "--slices", *GREY, *QUICK) == 0
    assert read_stack("mri.tif").pixels.shape == (2, 1, SIZE, SIZE)
    assert run("mri", "slices.npy", "--slices", "-o", "one.png", *GREY) == 2


def test_given_maps_and_masks_are_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("scan.npy", kspace())
    np.save("maps.npy", coils.ring_of_coils(3, (SIZE, SIZE))[0].numpy())
    np.save("mask.npy", mri.cartesian_mask((SIZE, SIZE), 4, 0).numpy())
    given = ["--maps", "maps.npy", "--mask", "mask.npy"]
    assert run("mri", "scan.npy", *given, *GREY, *QUICK) == 0
    assert report("mri")["settings"]["maps"] == "given"  # type: ignore[index]
    np.save("maps.npy", np.ones((2, SIZE, SIZE)))
    assert run("mri", "scan.npy", *given, "--force", *GREY) == 2
    assert "their last axes must agree" in capsys.readouterr().err


def test_with_given_maps_of_many_coils_the_strength_follows_the_noise() -> None:
    truth = phantom("tissue", 96)
    few, many, estimated = (
        mri.simulated(truth, 4, 0.01, seed=0, coils=n, estimate=estimate)
        for n, estimate in ((2, False), (12, False), (12, True))
    )
    assert [mri.is_determined(problem) for problem in (few, many, estimated)] == [
        False,
        True,
        False,
    ]
    assert mri.strength(0.01, determined=True) == 0.01
    assert mri.strength(0.0, determined=True) > 0
    assert mri.strength(0.01) == 0.02


def test_a_full_scan_is_undersampled_and_compared(folder: Path) -> None:
    np.save("scan.npy", kspace(acceleration=1))
    assert run("mri", "scan.npy", "--acceleration", "2", *GREY, *QUICK) == 0
    assert report("mri")["psnr_restoration"] is not None


def test_a_sinogram_is_read_either_way_and_keeps_its_units(folder: Path) -> None:
    x = phantom("tissue", SIZE)
    physics = ct.simulated(x, ct.evenly(24), 0.0, 0).physics
    physics = type(physics)(angles=ct.evenly(24), img_width=SIZE, circle=True, normalize=False)
    sinogram = 0.02 * physics.A(x)[0, 0].numpy()
    np.save("sinogram.npy", sinogram)
    np.save("turned.npy", sinogram.T)
    np.save("angles.npy", ct.evenly(24).numpy())
    assert run("ct", "sinogram.npy", "-o", "a.npy", *GREY, *QUICK) == 0
    turned = ["turned.npy", "--transpose", "--angles", "angles.npy", "-o", "b.npy"]
    assert run("ct", *turned, *GREY, *QUICK) == 0
    np.testing.assert_allclose(np.load("a.npy"), np.load("b.npy"), atol=1e-6)
    assert np.load("a.npy").max() == pytest.approx(0.02, rel=0.4)
    np.save("counts.npy", np.random.default_rng(0).poisson(1e4 * np.exp(-sinogram)))
    assert run("ct", "counts.npy", "--photons", "1e4", "-o", "c.png", *GREY, *QUICK) == 0


def test_a_fan_is_simulated_and_needs_its_lengths_for_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ct", "--fan", "--views", "20", "--size", "32", *GREY, *QUICK) == 0
    np.save("sinogram.npy", np.ones((40, 20), np.float32))
    assert run("ct", "sinogram.npy", "--fan", "-o", "x.png") == 2
    assert "a fan needs its lengths: --source-distance" in capsys.readouterr().err
    assert run("ct", "sinogram.npy", "--source-distance", "3", "-o", "x.png") == 2
    lengths = ["--source-distance", "64", "--detector-distance", "64", "--detector-spacing", "2"]
    fan = ["--fan", *lengths, "--pixel-size", "1", "--size", "32"]
    assert run("ct", "sinogram.npy", *fan, "-o", "x.png", *GREY, *QUICK) == 0


def test_numbers_of_a_single_pixel_camera_come_with_their_patterns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patterns = np.random.default_rng(0).normal(size=(40, 8, 8))
    np.save("y.npy", (patterns * photograph("camera", 8)[0, 0].numpy()).sum((1, 2)))
    assert run("singlepixel", "y.npy", "-o", "x.png") == 2
    assert "--patterns FILE" in capsys.readouterr().err
    np.savez("patterns.npz", patterns=patterns)
    assert (
        run("singlepixel", "y.npy", "--patterns", "patterns.npz", "-o", "x.png", *GREY, *QUICK) == 0
    )
    assert read_image("x.png").pixels.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("command", ["saltpepper", "jpeg"])
def test_wrong_pixels_and_blocks_are_simulated_and_restored(folder: Path, command: str) -> None:
    write_image("image.png", photograph("camera")[..., 60:92, 90:122])
    assert run(command, "image.png", "--simulate", "-o", "a.png", *GREY, *QUICK) == 0
    assert report("a")["solver"] == "primal-dual"
    assert run(command, "image.png", "-o", "b.png", *GREY, *QUICK) == 0
    assert report("b")["psnr_restoration"] is None


def test_a_mosaic_becomes_a_photograph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image("mosaic.png", photograph("camera")[..., 60:92, 90:122])
    assert run("demosaic", "mosaic.png", "-o", "a.png", *COLOUR, *QUICK) == 0
    assert read_image("a.png").pixels.shape == (1, 3, 32, 32)
    write_image("photo.png", photograph("astronaut")[..., 60:92, 90:122])
    assert run("demosaic", "photo.png", "-o", "b.png", *COLOUR) == 2
    assert "its missing colours are filled in already" in capsys.readouterr().err
    assert run("demosaic", "photo.png", "--simulate", "-o", "b.png", *COLOUR, *QUICK) == 0


def test_counts_are_denoised_through_their_roots(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("image.png", photograph("camera")[..., 60:92, 90:122])
    assert run("denoise", "image.png", "--simulate", "--photons", "50", *GREY) == 0
    assert "from counts to counts nothing is claimed" in capsys.readouterr().out
    assert run("denoise", "image.png", "--photons", "50", "--guided", "-o", "b.png") == 2
    assert "--photons goes without --guided" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mri", "nothing.npy"], "no such file: nothing.npy"),
        (["mri", "nobody"], "the phantoms are shepp-logan, tissue"),
        (["mri", "real.npy"], "expected complex k-space"),
        (["mri", "text.npy"], "is not what numpy.save"),
        (["mri", "several.npz"], "name the one you mean"),
        (["mri", "several.npz:c"], "holds no numeric array 'c'"),
        (["mri", "five.npy"], "expected k-space [H, W]"),
        (["mri", "nan.npy"], "contains NaN or infinity"),
        (["mri", "https://example.org/scan.h5"], "is an address"),
        (["ct", "real.npy", "--angles", "nan.npy"], "contains NaN or infinity"),
        (["ct", "five.npy"], "expected a real sinogram"),
        (["mri", "--noise", "25"], "divide by 255"),
        (["singlepixel", "--share", "0"], "no share in (0, 1]"),
        (["mri", "real.npy", "-o", "real.npy"], "is the input"),
    ],
)
def test_each_failure_is_one_sentence(
    folder: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("real.npy", np.ones((1, 8, 8)))
    np.save("five.npy", np.ones((1, 1, 1, 8, 8), complex))
    np.save("nan.npy", np.full((1, 8, 8), np.nan, complex))
    np.savez("several.npz", a=np.ones((1, 8, 8), complex), b=np.ones((1, 8, 8), complex))
    Path("text.npy").write_text("hello")
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_hdf5_without_h5py_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scan.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_measurement("scan.h5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImageFileError, match="pip install 'pnp-lip\\[h5\\]'"):
        read_measurement("scan.h5")
    with pytest.raises(MissingFileError, match="no such file"):
        read_measurement("other.h5")
