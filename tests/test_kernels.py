"""Kernels of any unit and format have sum 1; where their mass lies and which way they turn is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from tifffile import imwrite
from torch import Tensor

from pnp_lip.data.images import ImageFileError
from pnp_lip.data.kernels import centred, displacement, kernel_remarks, normalised, read_kernel
from pnp_lip.errors import InputError
from pnp_lip.recipes import deblur

COUNTS = np.random.default_rng(0).integers(0, 200, (5, 7))


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "deep.png",
        "a.tif",
        "a.npy",
        "float.npy",
        "a.npz",
        "a.mat",
        "few.npz:psf",
        "few.mat:psf",
    ],
)
def test_kernels_of_any_unit_and_format_are_scaled_to_sum_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.partition(":")[0]
    scalars: dict[str, Any] = (
        {"sigma": np.array(0.3), "truth": np.ones((9, 9))} if "few" in name else {}
    )
    if name == "a.png":
        Image.fromarray(COUNTS.astype(np.uint8)).save(path)
    elif name == "deep.png":
        Image.fromarray(COUNTS.astype(np.uint16)).save(path)
    elif name == "a.tif":
        imwrite(path, COUNTS.astype(np.int32))
    elif path.suffix == ".npy":
        np.save(path, COUNTS * (0.37 if name == "float.npy" else 1))
    elif path.suffix == ".npz":
        np.savez(path, psf=COUNTS, **scalars)
    else:
        savemat(path, {"psf": COUNTS, **scalars})
    kernel = read_kernel(tmp_path / name)
    np.testing.assert_allclose(kernel[0, 0].numpy(), COUNTS / COUNTS.sum(), rtol=1e-6)
    assert float(kernel.double().sum()) == pytest.approx(1, abs=1e-6)


def test_of_several_arrays_one_must_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 3)), f=np.ones((5, 5)))
    with pytest.raises(ImageFileError, match=r"x \(3, 3\), f \(5, 5\): name the one .*FILE:NAME"):
        read_kernel(tmp_path / "a.npz")
    with pytest.raises(ImageFileError, match="no numeric array 'g'"):
        read_kernel(f"{tmp_path / 'a.npz'}:g")
    savemat(tmp_path / "a.mat", {"text": "words", "psf": np.ones((3, 3)), "cell": {"a": 1}})
    assert read_kernel(tmp_path / "a.mat").shape == (1, 1, 3, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 5, 5)), "one image, this is a stack of 3 pages"),
        (np.full((3, 3), np.inf), "NaN or infinity"),
        (-np.ones((3, 3)), "negative entries .*set them to zero"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.ones((3, 3), complex), "expected real numbers"),
    ],
)
def test_impossible_kernel_files_are_refused(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageFileError, match=message):
        read_kernel(tmp_path / "a.npy")


def test_a_kernel_of_three_dimensions_is_refused(tmp_path: Path) -> None:
    imwrite(tmp_path / "a.tif", np.ones((4, 5, 5), np.float32), photometric="minisblack")
    with pytest.raises(ImageFileError, match="a kernel is one image, this is a stack of 4 pages"):
        read_kernel(tmp_path / "a.tif")
    with pytest.raises(
        InputError, match=r"must be a grey image or volume, got shape \(1, 3, 3, 3\)"
    ):
        normalised(torch.ones(1, 3, 3, 3))


def point(row: int, column: int, shape: tuple[int, int] = (7, 8)) -> Tensor:
    kernel = torch.zeros(1, 1, *shape)
    kernel[0, 0, row, column] = 1
    return kernel


def test_a_point_beside_the_centre_pixel_is_named_with_its_direction() -> None:
    assert displacement(point(3, 4)) == (0, 0)
    assert displacement(point(5, 1)) == (2, -3)
    assert kernel_remarks(point(3, 4)) == ()
    remark = kernel_remarks(point(5, 1))[0]
    assert "2.0 rows below and 3.0 columns left of its centre pixel (3, 4)" in remark
    assert "--centre-kernel" in remark


@pytest.mark.parametrize("seed", range(20))
def test_centring_loses_no_mass_and_leaves_half_a_pixel(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    height, width = (int(torch.randint(1, 9, (1,), generator=generator)) for _ in range(2))
    kernel = torch.rand(1, 1, height, width, generator=generator)
    kernel *= torch.rand(1, 1, height, width, generator=generator) < 0.4
    kernel[0, 0, 0, 0] += 0.01
    moved = centred(kernel)
    assert all(side % 2 == 1 for side in moved.shape[2:])
    assert max(map(abs, displacement(moved))) <= 0.5 + 1e-6
    assert float(moved.sum()) == pytest.approx(float(kernel.sum()), rel=1e-6)
    np.testing.assert_array_equal(moved[moved > 0].numpy(), kernel[kernel > 0].numpy())


def test_a_constant_background_is_named_and_a_box_is_none() -> None:
    kernel = torch.full((1, 1, 9, 9), 0.25)
    assert kernel_remarks(kernel) == ()
    assert kernel_remarks(torch.ones(1, 1, 8, 6)) == ()
    kernel[0, 0, 3:6, 3:6] = 2.25
    remark = kernel_remarks(kernel)[0]
    assert f"a constant background that holds {100 * 81 * 0.25 / (81 * 0.25 + 18):.3g} %" in remark


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (5, 4), (2, 7), (1, 5)])
def test_the_kernel_is_convolved_about_half_its_size(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    kernel = normalised(torch.rand(1, 1, *shape, generator=generator))
    x = torch.rand(1, 1, 20, 22, generator=generator)
    expected = torch.zeros_like(x[0, 0])
    for (row, column), weight in np.ndenumerate(kernel[0, 0].numpy()):
        shift = (row - shape[0] // 2, column - shape[1] // 2)
        expected += float(weight) * x[0, 0].roll(shift, (0, 1))
    impulse = torch.zeros_like(x)
    impulse[0, 0, 9, 10] = 1
    simulated = deblur.simulated(impulse, kernel, 0.0, 0).y[0, 0]
    top, left = 9 - shape[0] // 2, 10 - shape[1] // 2
    window = simulated[top : top + shape[0], left : left + shape[1]]
    assert torch.allclose(window, kernel[0, 0], atol=1e-6)
    blurred = deblur.simulated(x, kernel, 0.0, 0).y[0, 0]
    assert torch.allclose(blurred, expected, atol=1e-6)
    problem = deblur.observed(x, kernel, 0.0)
    scene = torch.zeros_like(problem.start)
    scene[0, 0, 10, 11] = 1
    seen = problem.physics.A(scene)[0, 0]
    row, column = 10 - (shape[0] - 1) // 2, 11 - (shape[1] - 1) // 2
    top, left = row - shape[0] // 2, column - shape[1] // 2
    window = seen[top : top + shape[0], left : left + shape[1]]
    assert torch.allclose(window, kernel[0, 0], atol=1e-6)
