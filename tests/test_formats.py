"""What a file says about its colours, its axes and its orientation is believed, or refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from tifffile import PHOTOMETRIC, TiffFile, TiffWriter, imread, imwrite
from torch import Tensor

from pnp_lip.data.images import ImageFileError, read_image, read_stack, write_image
from pnp_lip.formats.raster import upright

COLOUR = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (9, 12), dtype=np.uint8)


def tensor(array: np.ndarray, white: float = 255) -> Tensor:
    """``[H, W]`` or ``[H, W, 3]`` as ``[1, C, H, W]``."""
    values = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(values / white).permute(2, 0, 1)[None].float()


def equal(pixels: Tensor, array: np.ndarray, white: float = 255) -> bool:
    expected = tensor(array, white)
    return pixels.shape == expected.shape and bool(torch.allclose(pixels, expected, atol=1e-6))


def _shown(path: Path, mode: str) -> np.ndarray:
    """What Pillow makes of a file."""
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


# Colours


def test_cmyk_is_converted_to_the_colours_a_viewer_shows(tmp_path: Path) -> None:
    path = tmp_path / "inks.jpg"
    smooth = Image.fromarray(COLOUR).resize((64, 48))
    smooth.convert("CMYK").save(path, quality=95)
    image = read_image(path)
    shown = _shown(path, "RGB")
    assert equal(image.pixels, shown)
    assert np.abs(shown.astype(float) - np.asarray(smooth)).mean() < 8
    assert "converted from CMYK" in image.notes[0]


def test_cmyk_without_its_profile_is_not_taken_for_rgb_and_alpha_in_tiff(tmp_path: Path) -> None:
    path = tmp_path / "inks.tif"
    Image.fromarray(COLOUR).convert("CMYK").save(path)
    assert equal(read_image(path).pixels, COLOUR)


def test_a_profile_of_other_colours_is_carried_over(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name in ("a.png", "a.tif", "a.jpg"):
        Image.fromarray(COLOUR).save(tmp_path / name, icc_profile=profile)
        image = read_image(tmp_path / name)
        assert any("colour profile" in note for note in image.notes) or name == "a.tif"
        write_image(tmp_path / ("b" + name), image.pixels, image.storage)
        with Image.open(tmp_path / ("b" + name)) as again:
            assert again.info["icc_profile"] == profile
    deep = tmp_path / "deep.png"
    storage = read_image(tmp_path / "a.png").storage
    write_image(deep, tensor(COLOUR), type(storage)(np.dtype(np.uint16), 65535.0, profile=profile))
    assert read_image(deep).storage.profile == profile
    assert equal(read_image(deep).pixels, COLOUR)


def test_the_common_profile_needs_no_word(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=profile)
    assert read_image(tmp_path / "a.png").notes == ()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_is_read_as_its_colours(tmp_path: Path, suffix: str) -> None:
    indexed = Image.fromarray(GREY % 7)
    indexed.putpalette([*range(0, 63, 3), *range(100, 121)][:21])
    indexed.save(tmp_path / f"a{suffix}")
    shown = _shown(tmp_path / f"a{suffix}", "RGB")
    assert equal(read_image(tmp_path / f"a{suffix}").pixels, shown)


def test_a_grey_palette_is_grey(tmp_path: Path) -> None:
    indexed = Image.fromarray(GREY % 5)
    indexed.putpalette([level for level in (0, 60, 120, 180, 240) for _ in range(3)])
    for name in ("a.png", "a.tif"):
        indexed.save(tmp_path / name)
        assert equal(read_image(tmp_path / name).pixels, GREY % 5 * 60)


@pytest.mark.parametrize("deep", [False, True])
def test_a_negative_is_read_as_shown_and_written_back_as_it_was(tmp_path: Path, deep: bool) -> None:
    stored = GREY.astype(np.uint16) * 257 if deep else GREY
    white = 65535 if deep else 255
    path, again = tmp_path / "negative.tif", tmp_path / "again.tif"
    imwrite(path, stored, photometric="miniswhite")
    image = read_image(path)
    assert equal(image.pixels, white - stored.astype(float), white)
    assert "MinIsWhite" in image.notes[0]
    write_image(again, image.pixels, image.storage)
    np.testing.assert_array_equal(imread(again), stored)
    with TiffFile(again) as file:
        assert file.pages.first.photometric == PHOTOMETRIC.MINISWHITE
    write_image(tmp_path / "again.png", image.pixels, image.storage)
    shown = read_image(tmp_path / "again.png").pixels
    assert torch.allclose(shown, image.pixels, atol=1e-6)


def test_a_compressed_negative_is_read_as_shown_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fax.tif"
    bits = Image.fromarray(GREY > 128)
    bits.save(path, compression="group4", tiffinfo={262: 0})
    shown = _shown(path, "1").astype(np.uint8)
    assert equal(read_image(path).pixels, shown, 1)


def test_booleans_that_tifffile_wrote_are_what_they_were(tmp_path: Path) -> None:
    imwrite(tmp_path / "mask.tif", GREY > 99)
    assert equal(read_image(tmp_path / "mask.tif").pixels, (GREY > 99).astype(float), 1)


@pytest.mark.parametrize("model", ["cielab", "icclab", "itulab", "logluv", "cfa"])
def test_colours_that_are_not_understood_are_refused_by_name(tmp_path: Path, model: str) -> None:
    samples = GREY if model == "cfa" else COLOUR
    imwrite(tmp_path / "a.tif", samples, photometric=model)
    with pytest.raises(ImageFileError, match=f"its colours are {model.upper()}: save it as RGB"):
        read_image(tmp_path / "a.tif")


def test_ycbcr_is_converted(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).convert("YCbCr")
    image.save(tmp_path / "a.tif")
    assert equal(read_image(tmp_path / "a.tif").pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept_apart_from_the_colours(tmp_path: Path, suffix: str, mode: str) -> None:
    image = Image.fromarray(COLOUR).convert("L" if mode == "LA" else "RGB")
    array = np.asarray(image)
    image.putalpha(Image.fromarray(GREY))
    image.save(tmp_path / f"a{suffix}")
    read = read_image(tmp_path / f"a{suffix}")
    assert equal(read.pixels, array)
    assert read.alpha is not None
    assert equal(read.alpha, GREY)


def test_alpha_of_sixteen_bits_is_kept_apart(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (5, 6, 4)).astype(np.uint16)
    png.from_array(samples.reshape(5, -1), "RGBA;16").save(str(tmp_path / "a.png"))
    image = read_image(tmp_path / "a.png")
    assert equal(image.pixels, samples[..., :3], 65535)
    assert image.alpha is not None
    assert equal(image.alpha, samples[..., 3], 65535)


@pytest.mark.parametrize(
    "options",
    [{"planarconfig": "separate"}, {"planarconfig": "contig"}],
)
def test_samples_without_a_meaning_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    samples = COLOUR if options["planarconfig"] == "contig" else COLOUR.transpose(2, 0, 1)
    imwrite(tmp_path / "a.tif", samples, photometric="minisblack", **options)
    with pytest.raises(ImageFileError, match="3 samples a pixel, but only 1 of them are grey"):
        read_image(tmp_path / "a.tif")


# Axes


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pages_are_no_colours(tmp_path: Path, count: int) -> None:
    pages = np.random.default_rng(0).integers(0, 256, (count, 9, 12), dtype=np.uint8)
    imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    image = read_stack(tmp_path / "stack.tif")
    assert image.pixels.shape == (count, 1, 9, 12)
    for page in range(count):
        assert equal(image.pixels[page : page + 1], pages[page])


STACKS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((5, 9, 12), {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.3, "unit": "um"}}),
    ((2, 3, 9, 12), {"imagej": True, "metadata": {"axes": "TCYX"}, "resolution": (5.0, 4.0)}),
    ((2, 3, 9, 12), {"ome": True, "metadata": {"axes": "ZCYX", "PhysicalSizeX": 0.25}}),
    ((4, 9, 12, 3), {"photometric": "rgb"}),
    ((3, 2, 9, 12), {"photometric": "minisblack"}),
    ((6, 32, 32), {"photometric": "minisblack", "tile": (16, 16)}),
]


@pytest.mark.parametrize(("shape", "options"), STACKS)
def test_a_stack_comes_back_with_its_axes_and_its_scale(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path, again = tmp_path / "stack.tif", tmp_path / "again.tif"
    imwrite(path, values, **options)
    image = read_stack(path)
    write_image(again, image.pixels, image.storage)
    with TiffFile(path) as before, TiffFile(again) as after:
        np.testing.assert_array_equal(after.series[0].asarray(), values)
        assert after.series[0].axes == before.series[0].axes
        assert (after.is_imagej, after.is_ome) == (before.is_imagej, before.is_ome)
        for code in (282, 283, 296):
            first, second = (file.pages.first.tags.valueof(code) for file in (before, after))
            assert first == second
        if before.is_imagej:
            told, kept = before.imagej_metadata or {}, after.imagej_metadata or {}
            for key in ("spacing", "unit"):
                assert told.get(key) == kept.get(key)
        if before.is_ome:
            assert 'PhysicalSizeX="0.25"' in (after.ome_metadata or "")


@pytest.mark.parametrize(("shape", "options"), STACKS[:3])
def test_an_enlarged_stack_says_that_its_pixels_are_smaller(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    path, again = tmp_path / "stack.tif", tmp_path / "again.tif"
    imwrite(path, np.zeros(shape, np.uint8), **options)
    image = read_stack(path)
    large = image.pixels.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    write_image(again, large, image.storage.enlarged(2))
    small = read_stack(path).storage.scale
    scale = read_stack(again).storage.scale
    assert scale["resolution"] == tuple(2 * density for density in small["resolution"])
    assert scale["metadata"].get("spacing") == small["metadata"].get("spacing")
    if "ome" in options:
        assert scale["metadata"]["PhysicalSizeX"] == 0.125


def test_thumbnails_and_pyramids_do_not_count_as_pages(tmp_path: Path) -> None:
    with TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, photometric="minisblack", subifds=1)
        file.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
    assert equal(read_image(tmp_path / "a.tif").pixels, GREY)
    with TiffWriter(tmp_path / "b.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
    assert equal(read_image(tmp_path / "b.tif").pixels, GREY)


def test_images_of_several_sizes_in_one_file_are_refused(tmp_path: Path) -> None:
    with TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[:5], photometric="minisblack")
    with pytest.raises(ImageFileError, match=r"2 images of several kinds .*by itself"):
        read_stack(tmp_path / "a.tif")


def test_rows_saved_as_pages_deserve_a_word(tmp_path: Path) -> None:
    imwrite(tmp_path / "a.tif", COLOUR.repeat(3, axis=1), photometric="minisblack")
    assert "save it with photometric='rgb'" in read_stack(tmp_path / "a.tif").notes[0]


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageFileError, match="is an animation"):
        read_image(tmp_path / "a.png")


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "deep", "tif", "lzw"])
def test_images_are_turned_as_a_viewer_shows_them(
    tmp_path: Path, orientation: int, kind: str
) -> None:
    stored = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, np.ones((8, 8), np.uint8))
    path = tmp_path / f"a.{'png' if kind == 'deep' else 'tif' if kind == 'lzw' else kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "tif":
        imwrite(path, stored, extratags=[(274, 3, 1, orientation, True)])
    elif kind == "lzw":
        Image.fromarray(stored).save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    elif kind == "deep":
        _deep_png_with_exif(path, stored, exif)
    else:
        Image.fromarray(stored).save(path, exif=exif)
    source = Image.fromarray(stored)
    source.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(source))
    read = read_image(path)
    assert read.pixels.shape[2:] == shown.shape
    tolerance = 0.03 if kind == "jpg" else 1e-6
    assert torch.allclose(read.pixels, tensor(shown), atol=tolerance)
    assert ("turned" in "".join(read.notes)) == (orientation > 1)


def _deep_png_with_exif(path: Path, stored: np.ndarray, exif: Image.Exif) -> None:
    buffer = io.BytesIO()
    png.from_array(stored.astype(np.uint16) * 257, "L;16").write(buffer)
    buffer.seek(0)
    header, *others = png.Reader(file=buffer).chunks()
    with path.open("wb") as file:
        png.write_chunks(file, [header, (b"eXIf", exif.tobytes()[6:]), *others])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_pillow(orientation: int) -> None:
    image = Image.fromarray(COLOUR)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(
        upright(COLOUR[None], orientation)[0], np.asarray(ImageOps.exif_transpose(image))
    )


# Compression and depth


@pytest.mark.parametrize(
    ("compression", "mode"),
    [
        ("tiff_lzw", "L"),
        ("tiff_lzw", "RGB"),
        ("tiff_lzw", "I;16"),
        ("packbits", "L"),
        ("tiff_adobe_deflate", "RGB"),
        ("group3", "1"),
        ("group4", "1"),
    ],
)
def test_compressed_tiff_is_read(tmp_path: Path, compression: str, mode: str) -> None:
    deep = GREY.astype(np.uint16) * 257
    image = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(COLOUR).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    white = {"1": 1, "I;16": 65535}.get(mode, 255)
    read = read_image(tmp_path / "a.tif")
    assert equal(read.pixels, np.asarray(image).astype(float), white)
    assert read.storage.white == white


def test_a_compressed_stack_is_read_page_by_page(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY), Image.fromarray(GREY // 2)]
    path = tmp_path / "a.tif"
    frames[0].save(path, compression="tiff_lzw", save_all=True, append_images=frames[1:])
    pixels = read_stack(path).pixels
    for page, frame in enumerate(frames):
        assert equal(pixels[page : page + 1], np.asarray(frame))


def test_a_jpeg_of_several_pictures_is_its_first(tmp_path: Path) -> None:
    first, second = (Image.fromarray(COLOUR).resize((32, 32)) for _ in range(2))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.jpg").pixels.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("start", [b"<html>404</html>", b"P6\n1 1\n255\n\0\0\0", b"GIF89a", b"x"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_file_that_is_not_what_its_name_says_is_named(
    tmp_path: Path, start: bytes, name: str
) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(ImageFileError, match=f"{name} is no PNG, JPEG or TIFF file"):
        read_image(tmp_path / name)
