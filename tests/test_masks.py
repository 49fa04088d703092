"""However a program stores which pixels are known, the mask means the same, or says what it means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from tifffile import imwrite

from pnp_lip.data.images import ImageFileError
from pnp_lip.data.masks import mask_of_alpha, read_mask

KNOWN = np.random.default_rng(0).random((13, 17)) < 0.7
BYTES = np.where(KNOWN, 255, 0).astype(np.uint8)


def _save(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, mask=array)
    elif path.suffix == ".mat":
        savemat(path, {"mask": array})
    elif path.suffix == ".tif":
        imwrite(path, array)
    else:
        Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("255.png", BYTES),
        ("01.png", BYTES // 255),
        ("bit.png", KNOWN),
        ("16.png", BYTES.astype(np.uint16) * 257),
        ("colour.png", np.stack([BYTES, BYTES, BYTES], axis=-1)),
        ("01.tif", BYTES // 255),
        ("bool.tif", KNOWN),
        ("float.tif", KNOWN.astype(np.float32)),
        ("bool.npy", KNOWN),
        ("int64.npy", KNOWN.astype(np.int64)),
        ("uint16.npy", KNOWN.astype(np.uint16)),
        ("float64.npy", KNOWN.astype(float)),
        ("counts.npy", KNOWN * 1000.0),
        ("mask.npz", KNOWN),
        ("mask.mat", KNOWN.astype(np.uint8)),
    ],
)
def test_of_two_values_the_larger_is_known(tmp_path: Path, name: str, array: np.ndarray) -> None:
    _save(tmp_path / name, array)
    mask = read_mask(tmp_path / name)
    np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)
    assert mask.notes == ()
    assert mask.known.dtype == torch.float32


@pytest.mark.parametrize("background", [0, 255, 90])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_mark_what_is_missing(tmp_path: Path, background: int, suffix: str) -> None:
    """As annotation programs do, in a palette or in full colour, with one mark or several."""
    index = np.where(KNOWN, 0, np.random.default_rng(1).integers(1, 3, KNOWN.shape))
    colours = np.array([[background] * 3, [255, 0, 0], [0, 128, 128]], np.uint8)
    palette = Image.fromarray(index.astype(np.uint8))
    palette.putpalette(colours.flatten().tolist())
    palette.save(tmp_path / f"palette{suffix}")
    Image.fromarray(colours[index]).save(tmp_path / f"colours{suffix}")
    for name in ("palette", "colours"):
        mask = read_mask(tmp_path / f"{name}{suffix}")
        np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)
        assert "coloured pixels count as missing" in mask.notes[0]


def test_a_palette_of_black_and_white_goes_by_its_brightness(tmp_path: Path) -> None:
    image = Image.fromarray(np.where(KNOWN, 0, 1).astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)
    assert mask.notes == ()


def test_labels_are_known_where_they_are_not_zero(tmp_path: Path) -> None:
    labels = np.where(KNOWN, np.random.default_rng(1).integers(1, 5, KNOWN.shape), 0)
    for name, array in (("labels.png", labels.astype(np.uint8)), ("labels.npy", labels)):
        _save(tmp_path / name, array)
        mask = read_mask(tmp_path / name)
        np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)
        assert "labels 0 to 4: 0 counts as missing" in mask.notes[0]


def test_two_values_above_zero_are_named(tmp_path: Path) -> None:
    _save(tmp_path / "mask.png", np.where(KNOWN, 255, 128).astype(np.uint8))
    mask = read_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)
    assert "its two values are 128 and 255" in mask.notes[0]


def test_a_photograph_as_mask_is_named(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (13, 17), dtype=np.uint8)
    _save(tmp_path / "mask.png", grey)
    mask = read_mask(tmp_path / "mask.png")
    assert "not two-valued" in mask.notes[0]
    np.testing.assert_array_equal(mask.known[0, 0].numpy(), grey > 127)


def test_soft_edges_count_as_known_above_one_half(tmp_path: Path) -> None:
    soft = BYTES.astype(float) / 255
    soft[0, :3] = 0.2, 0.7, 0.4
    for name, array in (("a.npy", soft), ("a.png", np.round(soft * 255).astype(np.uint8))):
        _save(tmp_path / name, array)
        mask = read_mask(tmp_path / name)
        np.testing.assert_array_equal(mask.known[0, 0].numpy(), soft > 0.5)
        assert "not two-valued" in mask.notes[0]


@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_in_the_alpha_channel_is_used(tmp_path: Path, colour: int) -> None:
    plain = np.full_like(BYTES, colour)
    Image.fromarray(np.stack([plain, plain, plain, BYTES], axis=-1)).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)
    assert "in the alpha channel" in mask.notes[0]


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    full = np.full_like(BYTES, 255)
    Image.fromarray(np.stack([BYTES, BYTES, BYTES, full], axis=-1)).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask.known[0, 0].numpy(), KNOWN)


def test_colours_and_alpha_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    samples = np.stack([BYTES, BYTES, BYTES, BYTES[::-1]], axis=-1)
    Image.fromarray(samples).save(tmp_path / "mask.png")
    with pytest.raises(ImageFileError, match="name different pixels: save the mask without alpha"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_numbers_that_are_no_mask_are_refused(tmp_path: Path, value: float) -> None:
    array = KNOWN.astype(float)
    array[2, 3] = value
    np.save(tmp_path / "mask.npy", array)
    with pytest.raises(ImageFileError, match="a mask holds finite numbers >= 0"):
        read_mask(tmp_path / "mask.npy")


def test_a_stack_is_no_mask(tmp_path: Path) -> None:
    imwrite(tmp_path / "mask.tif", np.stack([BYTES, BYTES]), photometric="minisblack")
    with pytest.raises(ImageFileError, match="this is a stack of 2 pages"):
        read_mask(tmp_path / "mask.tif")


def test_inverting_exchanges_known_and_missing() -> None:
    mask = mask_of_alpha(torch.from_numpy(KNOWN.astype(np.float32))[None, None])
    assert mask is not None
    np.testing.assert_array_equal(mask.inverted().known[0, 0].numpy(), ~KNOWN)
    assert mask_of_alpha(torch.ones(1, 1, 3, 3)) is None
