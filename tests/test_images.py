"""Images come back as they went, and files that are no images are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import png
import pytest
import torch
from skimage import io

from pnp_lip.data.images import (
    ImageFileError,
    read_image,
    read_stack,
    to_channels,
    write_image,
)
from pnp_lip.files import atomic_path, require_writable, write_text


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".npy", ".NPY", ".TIF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel_and_the_bit_depth(
    tmp_path: Path, suffix: str, dtype: type[np.integer], channels: int
) -> None:
    shape = (7, 9) if channels == 1 else (7, 9, 3)
    stored = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    path = tmp_path / f"image{suffix}"
    if suffix.lower() == ".npy":
        with path.open("wb") as file:
            np.save(file, stored)
    elif suffix == ".png" and dtype == np.uint16:
        mode = "L;16" if channels == 1 else "RGB;16"
        png.from_array(stored.reshape(7, -1), mode).save(str(path))
    else:
        io.imsave(path, stored, check_contrast=False)
    image = read_image(path)
    assert image.pixels.shape == (1, channels, 7, 9)
    assert image.dtype == dtype
    again = tmp_path / f"again{suffix}"
    write_image(again, image.pixels, image.storage)
    assert [entry.name for entry in tmp_path.glob("again*")] == [again.name]
    assert again.read_bytes()[24] == path.read_bytes()[24]
    back = read_image(again)
    assert back.dtype == dtype
    assert torch.equal(back.pixels, image.pixels)
    expected = torch.from_numpy(stored / float(np.iinfo(dtype).max)).reshape(7, 9, channels)
    assert torch.allclose(back.pixels[0].permute(1, 2, 0), expected.float(), atol=1e-7)


def test_jpeg_is_read_and_written_with_eight_bits(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    write_image(path, torch.full((1, 3, 16, 16), 0.5), np.uint16)
    assert read_image(path).dtype == np.uint8
    assert float((read_image(path).pixels - 0.5).abs().max()) < 0.02


def test_an_alpha_channel_is_dropped_and_luminance_is_taken() -> None:
    array = np.random.default_rng(0).integers(0, 255, (4, 5, 4)).astype(np.uint8)
    assert to_channels(array).shape == (3, 4, 5)
    assert to_channels(array, 1).shape == (1, 4, 5)
    assert to_channels(array[..., 0], 3).shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 3), np.nan), "NaN or infinite"),
        (np.full((3, 3), 7.0), r"must lie in \[0, 1\], got \[7, 7\].*white-level"),
        (np.array([[0.0, 1.00001]]), r"got \[0, 1\.00001\]"),
        (np.array([[-0.01, 1.0]]), "subtract the smallest number first, here -0.01"),
        (np.full((3, 3), 255.0, np.float32), "divide by the number that stands for white"),
        (np.zeros((3, 3), np.int64), "8-bit, 16-bit or floating-point"),
        (np.zeros((3, 3), np.int16), "state the number that stands for white"),
        (np.zeros((3, 3), np.complex64), "expected real numbers"),
        (np.zeros((3, 3), "S4"), "expected real numbers"),
        (np.zeros((2, 3, 3, 3), np.uint8), "expected an image of shape"),
        (np.zeros((3, 7, 8), np.uint8), "channels come last"),
        (np.zeros((0, 3), np.uint8), "expected an image of shape"),
        (np.zeros(3), "expected an image of shape"),
    ],
)
def test_arrays_that_are_no_images_are_refused(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "array.npy"
    np.save(path, array)
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


def test_rounding_may_carry_floats_out_of_the_unit_range(tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    np.save(path, np.array([[-1e-9, 0.5], [1 + 2e-16, 1 + 5e-7]]))
    pixels = read_image(path).pixels
    assert torch.equal(pixels, torch.tensor([[[[0, 0.5], [1, 1]]]]))


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "float16", "float64"])
def test_any_byte_order_and_length_of_floats_is_read(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "image.npy"
    values = np.array([[0, 1], [1, 0]]) * (65535 if "u2" in dtype else 1)
    np.save(path, values.astype(dtype))
    assert read_image(path).pixels.flatten().tolist() == [0, 1, 1, 0]


def test_a_stated_white_level_is_the_unit_and_comes_back(tmp_path: Path) -> None:
    camera = np.array([[0, 4095], [1000, 2000]], np.uint16)
    path, again = tmp_path / "twelve.tif", tmp_path / "again.tif"
    io.imsave(path, camera, check_contrast=False)
    assert "white level (--white-level 4095)" in read_image(path).notes[0]
    image = read_image(path, white_level=4095)
    assert image.notes == ()
    assert float(image.pixels.max()) == 1
    write_image(again, image.pixels, image.storage)
    np.testing.assert_array_equal(io.imread(again), camera)
    with pytest.raises(ImageFileError, match="4095, above the white level 255"):
        read_image(path, white_level=255)
    with pytest.raises(ImageFileError, match="must be a positive number, got nan"):
        read_image(path, white_level=float("nan"))


def test_floats_of_another_unit_and_long_integers_need_a_white_level(tmp_path: Path) -> None:
    path, again = tmp_path / "image.npy", tmp_path / "again.npy"
    np.save(path, np.array([[0.0, 255.0]]))
    image = read_image(path, white_level=255)
    assert image.pixels.flatten().tolist() == [0, 1]
    write_image(again, image.pixels, image.storage)
    assert np.load(again).tolist() == [[0, 255]]
    np.save(path, np.array([[0, 1000]]))
    assert read_image(path, white_level=1000).pixels.flatten().tolist() == [0, 1]


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_image(path)
    archive = tmp_path / "objects.npz"
    np.savez(archive, a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ImageFileError, match="it holds none"):
        read_image(archive)


def test_missing_unknown_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="no such file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageFileError, match="there is no folder"):
        read_image(tmp_path / "no" / "nothing.png")
    with pytest.raises(ImageFileError, match=r"unknown suffix '\.gif'"):
        read_image(tmp_path / "image.gif")
    with pytest.raises(ImageFileError, match="is an address: download the file"):
        read_image("https://example.org/image.png")
    with pytest.raises(ImageFileError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"not a picture")
    with pytest.raises(ImageFileError, match=r"did you mean .*picture\.png"):
        read_image(tmp_path / "pictrue.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy", ".npz", ".mat"])
def test_empty_damaged_and_cut_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    path.write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"is empty \(0 bytes\)"):
        read_image(path)
    path.write_bytes(b"not a picture at all")
    with pytest.raises(ImageFileError, match="image"):
        read_image(path)
    if suffix in (".npz", ".mat"):
        return
    write_image(path, torch.rand(1, 1, 64, 64))
    whole = path.read_bytes()
    for part in (10, len(whole) // 2, len(whole) - 60):
        path.write_bytes(whole[:part])
        with pytest.raises(ImageFileError, match=r"cannot be read|cut off|is no PNG"):
            read_image(path)


def test_the_contents_decide_and_not_the_suffix(tmp_path: Path) -> None:
    pixels = torch.rand(1, 1, 9, 8)
    write_image(tmp_path / "image.png", pixels)
    for suffix in (".tif", ".npy"):
        write_image(tmp_path / f"image{suffix}", pixels)
        (tmp_path / f"image{suffix}").rename(tmp_path / "misnamed.png")
        assert torch.equal(
            read_image(tmp_path / "misnamed.png").pixels, read_image(tmp_path / "image.png").pixels
        )


def test_a_stack_is_read_whole_or_page_by_page(tmp_path: Path) -> None:
    pages = torch.rand(3, 1, 9, 8)
    path = tmp_path / "stack.tif"
    write_image(path, pages, np.float32)
    assert torch.equal(read_stack(path).pixels, pages)
    assert torch.equal(read_image(path, page=2).pixels, pages[2:])
    with pytest.raises(ImageFileError, match=r"a stack of 3 pages .*choose one, 0 to 2"):
        read_image(path)
    with pytest.raises(ImageFileError, match="has pages 0 to 2, got page 3"):
        read_image(path, page=3)
    with pytest.raises(ImageFileError, match="cannot hold a stack of 3 pages: write TIFF or NPY"):
        write_image(tmp_path / "stack.png", pages)


def _write_half(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("new but half")
        raise RuntimeError("cut")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="cut"):
        _write_half(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]


def test_an_unwritable_place_is_noticed_beforehand_and_no_folder_is_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (tmp_path, file / "below.png", tmp_path / "new" / "below.png"):
        with pytest.raises(OSError, match=r"folder"):
            require_writable(path)
    require_writable(tmp_path / "fine.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
