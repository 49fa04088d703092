"""What the command line makes of stacks, negatives, masks, kernels and units."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import COLOUR, GREY, run
from PIL import Image as PillowImage
from skimage import io
from tifffile import PHOTOMETRIC, TiffFile, imwrite

from pnp_lip.cli import main
from pnp_lip.data.images import write_image


def test_a_stack_is_denoised_page_by_page_and_keeps_its_axes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = np.random.default_rng(0).integers(0, 256, (3, 20, 24), dtype=np.uint8)
    imwrite(folder / "z.tif", pages, imagej=True, metadata={"axes": "ZYX", "spacing": 0.5})
    assert run("denoise", "z.tif", *GREY) == 0
    with TiffFile(folder / "denoise.tif") as file:
        assert file.series[0].axes == "ZYX"
        assert (file.imagej_metadata or {})["spacing"] == 0.5
        together = file.asarray()
    assert len(json.loads((folder / "denoise.json").read_text())["pages"]) == 3
    for page in (1, 2, 3):
        assert run("denoise", "z.tif", "--page", str(page), "-o", f"{page}.png", *GREY) == 0
        np.testing.assert_array_equal(io.imread(folder / f"{page}.png"), together[page - 1])
    capsys.readouterr()
    assert run("denoise", "z.tif", "--page", "4") == 2
    assert "there is no page 4: the pages are 1 to 3" in capsys.readouterr().err
    assert run("denoise", "z.tif", "--page", "0") == 2
    assert run("denoise", "z.tif", "-o", "z.png") == 2
    assert "cannot hold a stack of 3 pages" in capsys.readouterr().err


def test_a_negative_is_restored_as_shown_and_written_as_it_was(folder: Path) -> None:
    positive = io.imread(folder / "image.png")
    imwrite(folder / "negative.tif", 255 - positive, photometric="miniswhite")
    assert run("denoise", "negative.tif", "-o", "n.tif", *GREY) == 0
    assert run("denoise", "image.png", "-o", "p.tif", *GREY) == 0
    with TiffFile(folder / "n.tif") as file:
        assert file.pages.first.photometric == PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(255 - file.asarray(), io.imread(folder / "p.tif"))


def test_a_photograph_on_its_side_is_restored_upright(folder: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    with PillowImage.open(folder / "image.png") as image:
        image.save(folder / "side.png", exif=exif)
    mask = np.full((48, 40), 255, np.uint8)
    mask[3:9, 5:30] = 0
    PillowImage.fromarray(mask).save(folder / "shown.png")
    assert run("inpaint", "side.png", "--mask", "shown.png", "--max-iter", "1", *GREY) == 3
    assert io.imread(folder / "inpaint.png").shape == (48, 40)


def test_inks_are_restored_in_colour(folder: Path) -> None:
    with PillowImage.open(folder / "colour.tiff") as image:
        image.convert("CMYK").save(folder / "inks.jpg", quality=95)
    assert run("denoise", "inks.jpg", "--sigma", "0", *COLOUR) == 0
    restored, shown = io.imread(folder / "denoise.png"), io.imread(folder / "colour.tiff")
    assert np.abs(restored.mean((0, 1)) - shown.mean((0, 1))).max() < 3


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_said_to_be_dropped(
    folder: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "image.png" if mode == "LA" else "colour.tiff"
    with PillowImage.open(folder / source) as image:
        image.convert(mode).save(folder / "alpha.png")
    assert run("denoise", "alpha.png", *(GREY if mode == "LA" else COLOUR)) == 0
    assert "alpha channel (all of it opaque) is dropped" in capsys.readouterr().out


def _damaged(folder: Path) -> np.ndarray:
    """An image with black holes in ``damaged.png``, and where it is known."""
    known = np.random.default_rng(0).random((40, 48)) < 0.7
    damaged = io.imread(folder / "image.png") * known
    PillowImage.fromarray(damaged.astype(np.uint8)).save(folder / "damaged.png")
    return known


def test_a_mask_says_how_much_is_missing_and_whether_it_is_likely_inverted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = _damaged(folder)
    share = f"missing {100 * (1 - known.mean()):.1f} % of the pixels"
    np.save(folder / "known.npy", known)
    np.save(folder / "inverted.npy", ~known)
    arguments = ["inpaint", "damaged.png", "--max-iter", "2", *GREY]
    run(*arguments, "--mask", "inverted.npy")
    said = capsys.readouterr().out
    assert f"missing {100 * known.mean():.1f} % of the pixels" in said
    assert "warning: all known pixels have the value 0" in said
    assert "likely inverted" in said
    images = []
    for options in (["inverted.npy", "--invert-mask"], ["known.npy"]):
        run(*arguments, "--mask", *options)
        said = capsys.readouterr().out
        assert share in said
        assert "warning" not in said
        images.append(io.imread(folder / "inpaint.png"))
    np.testing.assert_array_equal(*images)
    np.save(folder / "all.npy", np.ones_like(known))
    run(*arguments, "--mask", "all.npy")
    said = capsys.readouterr().out
    assert "missing 0.0 % of the pixels" in said
    assert "warning: the mask marks no pixel as missing" in said
    run("inpaint", "image.png", "--simulate", "--mask", "known.npy", "--max-iter", "1", *GREY)
    assert share in capsys.readouterr().out


def test_transparent_pixels_of_the_image_are_its_mask(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = _damaged(folder)
    alpha = PillowImage.fromarray(np.where(known, 255, 0).astype(np.uint8))
    with PillowImage.open(folder / "damaged.png") as image:
        image.putalpha(alpha)
        image.save(folder / "holes.png")
    np.save(folder / "known.npy", known)
    arguments = ["--max-iter", "2", *GREY]
    run("inpaint", "holes.png", "-o", "a.png", *arguments)
    said = capsys.readouterr().out
    assert "transparent pixels count as missing" in said
    run("inpaint", "damaged.png", "--mask", "known.npy", "-o", "b.png", *arguments)
    np.testing.assert_array_equal(io.imread(folder / "a.png"), io.imread(folder / "b.png"))


def test_a_kernel_beside_its_centre_is_named_and_can_be_moved(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = np.zeros((9, 9))
    kernel[1:4, 1:4] = 400
    np.save(folder / "counts.npy", kernel)
    np.save(folder / "centred.npy", np.ones((3, 3)))
    arguments = ["deblur", "image.png", "--max-iter", "2", *GREY]
    run(*arguments, "--kernel", "counts.npy")
    assert (
        "2.0 rows above and 2.0 columns left of its centre pixel (4, 4)" in capsys.readouterr().out
    )
    images = []
    for options in (["counts.npy", "--centre-kernel"], ["centred.npy"]):
        run(*arguments, "--kernel", *options)
        assert "centre pixel" not in capsys.readouterr().out
        images.append(io.imread(folder / "deblur.png"))
    np.testing.assert_array_equal(*images)


def test_upper_case_suffixes_are_formats_too(folder: Path) -> None:
    (folder / "image.png").rename(folder / "IMAGE.PNG")
    assert run("denoise", "IMAGE.PNG", "-o", "O.NPY", *GREY) == 0
    assert np.load(folder / "O.NPY").dtype == np.uint8
    assert run("denoise", "O.NPY", "-o", "P.TIF", *GREY) == 0
    assert run("denoise", "P.TIF", "-o", "Q.JPG", *GREY) == 0


def test_an_image_too_small_for_a_similarity_has_a_report_without_it(folder: Path) -> None:
    write_image("tiny.png", torch.rand(1, 1, 5, 5))
    assert run("denoise", "tiny.png", "--simulate", *GREY) == 0
    report = json.loads((folder / "denoise.json").read_text())
    assert report["ssim_restoration"] is None
    assert report["psnr_restoration"] is not None
    assert run("inpaint", "tiny.png", "--simulate", "--max-iter", "1", *GREY) == 3


def test_twelve_bits_stay_twelve_bits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = (io.imread(folder / "image.png") * (4095 / 255)).astype(np.uint16)
    imwrite(folder / "twelve.tif", camera)
    assert run("denoise", "twelve.tif", "-o", "dark.tif", *GREY) == 0
    assert "--white-level 4095" in capsys.readouterr().out
    assert run("denoise", "twelve.tif", "--white-level", "4095", "-o", "fine.tif", *GREY) == 0
    assert "--white-level" not in capsys.readouterr().out
    assert run("denoise", "image.png", "-o", "eight.tif", *GREY) == 0
    fine, eight = io.imread(folder / "fine.tif"), io.imread(folder / "eight.tif")
    assert fine.dtype == np.uint16
    np.testing.assert_allclose(fine / 4095, eight / 255, atol=0.01)


def test_an_image_written_as_png_can_be_read_by_others(folder: Path) -> None:
    assert io.imread("image.png").shape == (40, 48)


def test_the_noise_of_a_stack_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = (
        torch.randn(3, 32, 32, generator=generator)
        * torch.tensor([0.02, 0.05, 0.03])[:, None, None]
    )
    imwrite(tmp_path / "z.tif", (0.5 + noise).clamp(0, 1).numpy(), imagej=True)
    assert (
        main(["denoise", str(tmp_path / "z.tif"), "--sigma", "auto", "-o", str(tmp_path / "o.tif")])
        == 0
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if "noise estimated" in line]
    assert len(lines) == 1
    assert re.search(r"0\.0(19|2\d*) to 0\.0[45]", lines[0])
