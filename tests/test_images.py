"""Images come back as they went, and files that are no images are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import png
import pytest
import torch
from skimage import io

from pnp_lip.data.images import ImageFileError, read_image, to_channels, write_image
from pnp_lip.files import atomic_path, require_writable, write_text


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel_and_the_bit_depth(
    tmp_path: Path, suffix: str, dtype: type[np.integer], channels: int
) -> None:
    shape = (7, 9) if channels == 1 else (7, 9, 3)
    stored = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, stored)
    elif suffix == ".png" and dtype == np.uint16:
        mode = "L;16" if channels == 1 else "RGB;16"
        png.from_array(stored.reshape(7, -1), mode).save(str(path))
    else:
        io.imsave(path, stored, check_contrast=False)
    image = read_image(path)
    assert image.pixels.shape == (1, channels, 7, 9)
    assert image.dtype == dtype
    again = tmp_path / f"again{suffix}"
    write_image(again, image.pixels, image.dtype)
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
        (np.full((3, 3), 7.0), r"must lie in \[0, 1\], got \[7, 7\]"),
        (np.zeros((3, 3), np.int64), "8-bit, 16-bit or floating-point"),
        (np.zeros((2, 3, 3, 3), np.uint8), "expected an image of shape"),
        (np.zeros((0, 3), np.uint8), "expected an image of shape"),
    ],
)
def test_arrays_that_are_no_images_are_refused(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "array.npy"
    np.save(path, array)
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_image(path)


def test_missing_unknown_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="no such file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageFileError, match=r"unknown suffix '\.gif'"):
        read_image(tmp_path / "image.gif")
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"not a picture")
    with pytest.raises(ImageFileError, match="cannot be read as an image"):
        read_image(damaged)


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


def test_an_unwritable_place_is_noticed_beforehand(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (tmp_path, file / "below.png"):
        with pytest.raises(OSError, match=r"folder|File exists|directory"):
            require_writable(path)
    require_writable(tmp_path / "new" / "fine.png")
    assert list((tmp_path / "new").iterdir()) == []
