"""The command line does the whole job, and says in one sentence what is wrong with its input."""

from __future__ import annotations

import csv
import dataclasses
import errno
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from skimage import io
from tifffile import PHOTOMETRIC, TiffFile, imwrite

from pnp_lip import LipschitzDenoiser
from pnp_lip.cli import main
from pnp_lip.cli.parser import COMMANDS, build_parser
from pnp_lip.data.images import read_image, write_image
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.recipes.restoration import Options
from pnp_lip.solvers import PlugAndPlay
from pnp_lip.weights import write_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a small photograph in 8 and 16 bits, and a kernel."""
    monkeypatch.chdir(tmp_path)
    image = photograph("camera")[..., 60:100, 90:138]
    write_image("image.png", image)
    write_image("deep.png", image, np.uint16)
    write_image("colour.tiff", photograph("astronaut")[..., 40:80, 90:130], np.uint8)
    write_image("kernel.png", torch.ones(1, 1, 3, 3))
    mask = torch.ones(1, 1, 40, 48)
    mask[..., 10:14, 10:30] = 0
    write_image("mask.png", mask)
    torch.manual_seed(0)
    for channels, name in ((1, "grey"), (3, "colour")):
        small = LipschitzDenoiser(channels, depth=1, nf=4, kernel_size=3, pretrained=None)
        write_weights(small, f"{name}.safetensors")
    return tmp_path


#: A small network, whose proof takes no time.
GREY, COLOUR = (["--weights", f"{name}.safetensors"] for name in ("grey", "colour"))


def run(*arguments: str) -> int:
    return main([*arguments])


def test_deblur_restores_a_real_observation_beside_figure_and_report(folder: Path) -> None:
    (folder / "out").mkdir()
    arguments = ["deblur", "image.png", "--kernel", "kernel.png", "-o", "out/sharp.png"]
    assert run(*arguments, "--max-iter", "5", *GREY) == 3
    report = json.loads((folder / "out" / "sharp.json").read_text())
    assert report["psnr_restoration"] is None
    assert report["settings"]["boundary"] == "valid"
    assert (folder / "out" / "sharp.figure.png").stat().st_size > 0
    assert read_image("out/sharp.png").pixels.shape == (1, 1, 40, 48)


@pytest.mark.parametrize("solver", ["forward-backward", "admm"])
def test_deblur_simulates_and_reports(
    folder: Path, solver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("deblur", "image.png", "--simulate", "--kernel", "kernel.png", "--solver", solver)
    assert code == 0
    report = json.loads((folder / "deblur.json").read_text())
    assert report["psnr_restoration"] > report["psnr_observation"]
    assert report["solver"] == solver
    assert report["status"] == "CONVERGED"
    printed = capsys.readouterr().out
    for word in ("PSNR", "SSIM", "Lip(D) <= 1 (proved)", "averagedness", "theorem", "iterations"):
        assert word in printed


def test_inpaint_fills_a_hole_and_keeps_sixteen_bits(folder: Path) -> None:
    code = run("inpaint", "deep.png", "--mask", "mask.png", "-o", "whole.png", "--max-iter", "20")
    assert code == 3
    before, after = read_image("deep.png"), read_image("whole.png")
    assert after.dtype == np.uint16
    # Far from the hole only the strength of the denoiser acts.
    assert float((before.pixels - after.pixels)[..., 30:, :].abs().mean()) < 0.02


def test_inpaint_simulates_missing_pixels_in_colour(folder: Path) -> None:
    assert run("inpaint", "colour.tiff", "--simulate", "--missing", "0.3", "--max-iter", "30") == 3
    report = json.loads((folder / "inpaint.json").read_text())
    assert report["psnr_restoration"] > report["psnr_observation"] + 5
    assert read_image("inpaint.png").pixels.shape == (1, 3, 40, 40)


def test_tiles_do_not_change_the_denoised_image(folder: Path) -> None:
    for name, tile in (("whole.npy", []), ("tiled.npy", ["--tile", "24"])):
        assert run("denoise", "image.png", "--sigma", "0.1", "-o", name, *tile) == 0
    whole, tiled = np.load(folder / "whole.npy"), np.load(folder / "tiled.npy")
    assert min(whole.shape) > 24
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1.01 / 255)


def test_denoise_simulates_and_reports(folder: Path) -> None:
    assert run("denoise", "image.png", "--simulate", "--sigma", "0.1", "-o", "clean.npy") == 0
    report = json.loads((folder / "clean.json").read_text())
    assert report["psnr_restoration"] > report["psnr_observation"]


def test_the_seed_decides_the_result(folder: Path) -> None:
    for name, seed in (("a.npy", "1"), ("b.npy", "1"), ("c.npy", "2")):
        run("denoise", "image.png", "--simulate", "--seed", seed, "-o", name)
    a, b, c = (read_image(f"{name}.npy").pixels for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_shipped_configuration_is_found_by_its_name(folder: Path) -> None:
    from pnp_lip.cli.train import _config
    from pnp_lip.training import GuidedConfig, TrainingConfig
    from pnp_lip.weights import shipped_configurations

    names = shipped_configurations()
    assert set(names) == {"grey", "colour", "grey_guided", "colour_guided"}
    for name, path in names.items():
        kind = GuidedConfig if "guided" in name else TrainingConfig
        assert _config(name) == kind.read(path)
    (folder / "grey").write_text("steps = 7\n")  # a file of that name goes first
    assert _config("grey").steps == 7


@pytest.fixture
def weights(folder: Path) -> LipschitzDenoiser:
    denoiser = LipschitzDenoiser(1, depth=1, nf=4, kernel_size=3, pretrained=None)
    write_weights(denoiser, folder / "good.safetensors")
    for parameter in denoiser.parameters():
        parameter.data *= 4
    write_weights(denoiser, folder / "expansive.safetensors")
    return denoiser


def test_certify_prints_both_bounds_and_writes_the_certificate(
    folder: Path, weights: LipschitzDenoiser, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("certify", "good.safetensors", "-o", "certificate.json") == 0
    printed = capsys.readouterr().out
    assert "upper (proved)    1\n" in printed
    assert "lower (measured)" in printed
    assert "layers.0" in printed
    assert "forward-backward  with any step below 2/L" in printed
    assert json.loads((folder / "certificate.json").read_text())["upper"] == 1


def test_certify_checks_a_certificate_again_and_rejects_another(
    folder: Path, weights: LipschitzDenoiser, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("certify", "good.safetensors", "-o", "good.json", "--witness", "pair") == 0
    assert len(list((folder / "pair").iterdir())) >= 2
    assert run("certify", "good.safetensors", "--check", "good.json") == 0
    assert run("certify", "expansive.safetensors", "--check", "good.json") == 1
    assert "REJECTED: the weights hash to" in capsys.readouterr().out


def test_certify_takes_a_module_of_the_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my_models.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef network():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3))\n\n\n"
        "expansive = nn.Conv2d(1, 1, 1)\nnn.init.constant_(expansive.weight, 3.0)\nnumber = 3\n"
    )
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    assert run("certify", "my_models:network", "--bound", "100", "-o", "mine.json") == 0
    assert run("certify", "my_models:network", "--check", "mine.json") == 0
    printed = capsys.readouterr().out
    assert "accepted: every bound of mine.json was proved again\non images with C == 1" in printed
    assert (
        "only read, not verified: the texts called rule, gap, versions, ways of calling" in printed
    )
    assert run("certify", "my_models:expansive") == 1
    assert "are a counterexample" in capsys.readouterr().out
    assert (folder / "counterexample").is_dir()
    assert run("certify", "my_models:number") == 2
    assert run("certify", "my_models:nothing") == 2
    assert "cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize("layer", ["Conv1d", "Conv3d", "ConvTranspose3d"])
def test_certify_takes_a_bare_layer_of_signals_and_volumes(
    folder: Path, layer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bare_layer.py").write_text(
        f"import torch\n\ntorch.manual_seed(0)\nnet = torch.nn.{layer}(1, 2, 3, padding=1)\n"
    )
    monkeypatch.delitem(sys.modules, "bare_layer", raising=False)
    assert run("certify", "bare_layer:net", "--bound", "100") == 0
    assert "lower (measured)  nan" not in capsys.readouterr().out


def test_certify_exits_with_one_where_the_bound_is_not_proved(
    weights: LipschitzDenoiser, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("certify", "expansive.safetensors") == 1
    assert "NOT proved" in capsys.readouterr().out
    assert run("certify", "expansive.safetensors", "--bound", "1000") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["deblur", "nothing.png", "--kernel", "kernel.png"], "no such file: nothing.png"),
        (["deblur", "image.gif", "--kernel", "kernel.png"], "unknown suffix '.gif'"),
        (
            ["denoise", "camara"],
            "no such file: camara (did you mean the packaged photograph camera?)",
        ),
        (["denoise", "https://example.org/a.png"], "https://example.org/a.png is an address"),
        (["denoise", "empty.npy"], "empty.npy is empty (0 bytes)"),
        (["deblur", "image.png"], "needs its --kernel"),
        (["deblur", "image.png", "--kernel", "empty.npy"], "empty.npy is empty"),
        (["deblur", "image.png", "--kernel", "image.png", "-o", "x.xyz"], "unknown suffix '.xyz'"),
        (["deblur", "kernel.png", "--kernel", "image.png"], "is larger than the image"),
        (["deblur", "nan.npy", "--kernel", "kernel.png"], "NaN or infinite pixels"),
        (["deblur", "image.png", "--kernel", "negative.npy"], "negative entries"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--noise", "-1"], "-1 is negative"),
        (
            ["deblur", "image.png", "--kernel", "kernel.png", "--noise", "25"],
            "divide by 255, 0.09804",
        ),
        (["inpaint", "image.png", "--mask", "mask.png", "--sigma", "2.55"], "divide by 255, 0.01"),
        (["denoise", "image.png", "--sigma", "25"], "divide by 255, 0.09804"),
        (["denoise", "image.png", "--sigma", "nan"], "nan is not a finite number"),
        (["denoise", "image.png", "--sigma", "0,1"], "write a decimal point"),
        (["denoise", "image.png", "--seed", "-1"], "-1 is less than 0"),
        (["denoise", "image.png", "--seed", str(2**64)], "is larger than"),
        (["denoise", "image.png", "--tile", "0"], "0 is less than 1"),
        (["denoise", "bytes.npy"], "divide by the number that stands for white"),
        (["denoise", "bytes.npy", "--white-level", "100"], "255, above the white level 100"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--stepsize", "9"], "must be below 2/L"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--stepsize", "0"], "not a positive"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--max-iter", "0"], "0 is less than 1"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--device", "moon"], "moon"),
        (["denoise", "image.png", "-o", "image.png/x.png"], "there is no folder image.png"),
        (["denoise", "image.png", "-o", "reslts/x.png"], "there is no folder reslts"),
        (["denoise", "image.png", "-o", "image.png"], "image.png is the input"),
        (
            ["denoise", "image.png", "-o", "deep.png"],
            "deep.png exists, and no run of pnp-lip wrote it",
        ),
        (["denoise", "image.png", "-o", "notes.png"], "notes.json exists, and no run of pnp-lip"),
        (["denoise", "image.png", "-o", "link.png"], "link.png is a link"),
        (["denoise", "image.png", "-o", "taken.png"], "taken.json is a folder"),
        (
            ["deblur", "image.png", "--kernel", "k.figure.png", "-o", "k.png"],
            "k.figure.png is the input",
        ),
        (
            ["deblur", "image.png", "--kernel", "kernel.png", "--weights", "no.safetensors"],
            "no weights",
        ),
        (["inpaint", "image.png"], "needs its --mask"),
        (
            ["inpaint", "image.png", "--mask", "kernel.png"],
            "mask has 3 x 3 pixels, the image 40 x 48",
        ),
        (["inpaint", "image.png", "--mask", "black.png"], "no pixel is known"),
        (["inpaint", "image.png", "--simulate", "--missing", "1.5"], "1.5 is no share in [0, 1)"),
        (["certify", "kernel.png"], "not a safetensors file"),
        (["certify", "--channels", "2"], "shipped for 1 and 3 channels"),
        (
            ["certify", "grey.safetensors", "-o", "notes.json"],
            "notes.json exists and is no certificate",
        ),
        (["certify", "grey.safetensors", "--check", "nothing.json"], "no such certificate"),
        (["certify", "user_code:broken"], "RuntimeError: boom"),
        (["certify", "user_code:needy"], "missing 1 required positional argument"),
        (["certify", "user_code:number"], "is int, expected an nn.Module"),
        (["certify", "user_code:nothing"], "cannot be imported: AttributeError"),
        (["certify", "no_code:nothing"], "cannot be imported: ModuleNotFoundError"),
        (["train", "nothing.toml"], "No such file"),
        (["train", "bad.toml"], "bad.toml: unknown keys"),
        (["train", "broken.toml"], "broken.toml is not TOML"),
        (["train", "typed.toml"], "typed.toml: steps must be of type int"),
        (["train", "image.png"], "image.png is not TOML"),
        (["train", "fine.toml", "--folder", "image.png"], "image.png is a file"),
        (["train", "fine.toml", "--folder", "mine"], "exists without the checkpoint of a run"),
        (["devour"], "invalid choice: 'devour'"),
        (["deblur", "--kernl", "kernel.png"], "unrecognized arguments: --kernl"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_writes_nothing(
    folder: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "nan.npy", np.full((40, 48), np.nan))
    np.save(folder / "negative.npy", -np.ones((3, 3)))
    np.save(folder / "bytes.npy", np.linspace(0, 255, 40 * 48).reshape(40, 48))
    (folder / "empty.npy").write_bytes(b"")
    write_image("black.png", torch.zeros(1, 1, 40, 48))
    write_image("k.figure.png", torch.ones(1, 1, 3, 3))
    (folder / "bad.toml").write_text("stepps = 3\n")
    (folder / "fine.toml").write_text("steps = 3\n")
    (folder / "mine").mkdir()
    (folder / "mine" / "weights.safetensors").write_bytes(b"mine")
    (folder / "typed.toml").write_text("steps = '3'\n")
    (folder / "broken.toml").write_text("steps = = 3\n")
    (folder / "notes.json").write_text('{"mine": 1}')
    (folder / "taken.json").mkdir()
    (folder / "link.png").symlink_to(folder / "deep.png")
    (folder / "user_code.py").write_text(
        "def broken():\n    raise RuntimeError('boom')\n\n\ndef needy(x):\n    return x\n\n\nnumber = 3\n"
    )
    before = contents(folder)
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("pnp-lip")
    assert captured.err.count("\n") == 1
    assert contents(folder) == before


def contents(folder: Path) -> dict[Path, int]:
    """Files and folders below, with the time of their last change; Python's own cache aside."""
    return {
        path: path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path != folder
    }


def test_a_fault_of_the_program_is_not_presented_as_the_users(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (ValueError("a bug"), TypeError("a bug"), RuntimeError("a\nbug")):
        monkeypatch.setattr("pnp_lip.cli.denoise.denoised", _raiser(error))
        assert run("denoise", "image.png") == 70
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"a fault of pnp-lip, not of yours ({type(error).__name__}: a bug)" in said
        with pytest.raises(type(error), match="bug"):
            run("denoise", "image.png", "--traceback")
    monkeypatch.setattr("pnp_lip.cli.denoise.denoised", _raiser(KeyboardInterrupt()))
    assert run("denoise", "image.png") == 130
    assert "interrupted" in capsys.readouterr().err
    full = OSError(errno.ENOSPC, "No space left on device", "denoise.png")
    monkeypatch.setattr("pnp_lip.cli.denoise.denoised", _raiser(full))
    assert run("denoise", "image.png") == 2
    assert "No space left on device: denoise.png" in capsys.readouterr().err
    memory = RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    )
    monkeypatch.setattr("pnp_lip.cli.denoise.denoised", _raiser(memory))
    assert run("denoise", "image.png") == 2
    assert "the memory does not suffice" in capsys.readouterr().err


def _raiser(error: BaseException) -> Callable[..., None]:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


def test_the_end_of_the_iterations_says_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inpaint", "image.png", "--mask", "mask.png", *GREY]
    assert run(*arguments, "--max-iter", "2") == 3
    said = capsys.readouterr().out
    assert "raise --max-iter (now 2), or accept the result with --tol" in said
    tolerance = said.rpartition("--tol ")[2].strip()
    assert run(*arguments, "--max-iter", "2", "--tol", tolerance) == 0


def test_a_hypothesis_that_fails_can_be_set_aside(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["deblur", "image.png", "--kernel", "kernel.png", "--stepsize", "9", *GREY]
    assert run(*arguments) == 2
    assert run(*arguments, "--unproved", "--max-iter", "3") == 3
    assert json.loads((folder / "deblur.json").read_text())["theorem"] is None


def test_a_result_may_be_replaced_by_the_next_run_but_not_once_it_is_edited(folder: Path) -> None:
    assert run("denoise", "image.png", *GREY) == 0
    assert run("denoise", "image.png", "--sigma", "0.2", *GREY) == 0
    (folder / "denoise.png").write_bytes((folder / "image.png").read_bytes())
    assert run("denoise", "image.png", *GREY) == 2
    assert run("denoise", "image.png", "--force", *GREY) == 0
    assert run("denoise", "image.png", "-o", "image.png", "--force", *GREY) == 0


# Files of the kinds that people bring


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


def test_no_help_needs_a_network() -> None:
    code = (
        "import sys, pnp_lip.cli, pnp_lip.cli.parser as parser\n"
        "for name in parser.COMMANDS:\n    try:\n        pnp_lip.cli.main([name, '--help'])\n"
        "    except SystemExit:\n        pass\n"
        "print(len(parser.COMMANDS), sorted({'torch', 'deepinv', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith(f"{len(COMMANDS)} []")
    assert all(f"usage: pnp-lip {name}" in done.stdout for name in COMMANDS)


def test_the_help_names_every_packaged_photograph(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("denoise", "--help")
    printed = capsys.readouterr().out
    assert all(name in printed for name in PHOTOGRAPHS)


@pytest.mark.parametrize(
    "command", ["deblur", "inpaint", "superresolve", "denoise", "certify", "train"]
)
def test_every_command_documents_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    printed = capsys.readouterr().out
    assert f"usage: pnp-lip {command}" in printed
    assert len(printed) > 500


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pnp_lip", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("deblur", "inpaint", "superresolve", "denoise", "certify", "train"):
        assert command in done.stdout


def test_an_image_written_as_png_can_be_read_by_others(folder: Path) -> None:
    assert io.imread("image.png").shape == (40, 48)


# Many files


@pytest.fixture
def plates(folder: Path) -> Path:
    (folder / "plates").mkdir()
    for number in range(3):
        write_image(folder / "plates" / f"{number}.tif", torch.rand(1, 1, 12, 14))
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("way", ["names", "pattern", "folder"])
def test_many_images_go_into_a_folder_with_a_table(plates: Path, way: str) -> None:
    named = [f"plates/{number}.tif" for number in range(3)]
    given = {"names": named, "pattern": ["plates/*.tif"], "folder": ["plates"]}[way]
    assert run("denoise", *given, "-o", "restored/", *GREY) == 0
    rows = table(plates / "restored" / "results.csv")
    assert [row["image"] for row in rows] == named
    assert {row["status"] for row in rows} == {"DENOISED"}
    for number in range(3):
        assert run("denoise", f"plates/{number}.tif", "-o", "alone.tif", *GREY) == 0
        alone, among = (
            (plates / name).read_bytes() for name in ("alone.tif", f"restored/{number}.tif")
        )
        assert alone == among


def test_what_is_done_is_not_repeated_and_the_rest_is(
    plates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", "plates", "-o", "restored/", *GREY]
    assert run(*command) == 0
    results = plates / "restored"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.tif")}
    (results / "1.json").unlink()
    for name in ("1.tif", "1.figure.png"):
        (results / name).unlink()
    capsys.readouterr()
    assert run(*command) == 0
    assert capsys.readouterr().out.count("done before") == 2
    after = {path: path.stat().st_mtime_ns for path in results.glob("*.tif")}
    assert [path.name for path in after if after[path] != before[path]] == ["1.tif"]
    assert [row["status"] for row in table(results / "results.csv")] == ["DENOISED"] * 3
    assert run(*command, "--sigma", "0.2") == 0
    assert "done before" not in capsys.readouterr().out


def test_one_bad_image_does_not_stop_the_others(
    plates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plates / "plates" / "1.tif").write_bytes(b"II*\0 damaged")
    assert run("denoise", "plates", "-o", "restored/", *GREY) == 2
    rows = table(plates / "restored" / "results.csv")
    assert [row["exit_code"] for row in rows] == ["0", "2", "0"]
    assert "cannot be read" in rows[1]["message"]
    arguments = ["inpaint", "plates/0.tif", "plates/2.tif", "--mask", "m.npy", "-o", "filled/"]
    np.save(plates / "m.npy", np.eye(12, 14))
    assert run(*arguments, "--max-iter", "1", *GREY) == 3
    assert [row["exit_code"] for row in table(plates / "filled" / "results.csv")] == ["3", "3"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plates"], "3 images need a folder for their results: -o FOLDER/"),
        (["plates", "-o", "image.png"], "image.png is a file"),
        (["plates", "-o", "no/where/"], "there is no folder no"),
        (
            ["plates/0.tif", "image.png", "other/0.png", "-o", "out/"],
            "would share the report 0.json",
        ),
        (["empty", "-o", "out/"], "no images (.png"),
        (["plates", "-o", "mine/"], "results.csv exists and is no table of results"),
    ],
)
def test_many_images_need_a_place_of_their_own(
    plates: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("empty", "mine", "out"):
        (plates / name).mkdir()
    (plates / "mine" / "results.csv").write_text("my,own\n")
    before = contents(plates)
    assert run("denoise", *arguments, *GREY) == 2
    assert sentence in capsys.readouterr().err
    assert contents(plates) == before


def test_the_noise_is_estimated_where_nobody_knows_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = photograph("astronaut") + 0.05 * torch.randn(1, 3, 256, 256)
    write_image("noisy.png", noisy[:, :1])
    assert run("denoise", "noisy.png", "--sigma", "auto", *GREY) == 0
    said = re.search(r"noise estimated: (0\.\d{4}) ", capsys.readouterr().out)
    assert said is not None
    sigma = json.loads((folder / "denoise.json").read_text())["sigma"]
    assert sigma == pytest.approx(0.05, abs=5e-3)
    assert float(said[1]) == pytest.approx(sigma, abs=5e-5)
    arguments = ["deblur", "noisy.png", "--kernel", "kernel.png", "--noise", "auto"]
    assert run(*arguments, "--max-iter", "1", *GREY) == 3
    report = json.loads((folder / "deblur.json").read_text())
    assert report["noise"] == pytest.approx(0.05, abs=5e-3)
    assert report["sigma"] == pytest.approx(0.75 * report["noise"])
    assert run("denoise", "camera", "--sigma", "auto") == 2
    write_image("small.png", torch.rand(1, 1, 20, 40))
    assert run("denoise", "small.png", "--sigma", "auto") == 2
    assert "takes 32 a side" in capsys.readouterr().err


def test_superresolve_makes_an_image_larger(folder: Path) -> None:
    assert run("superresolve", "deep.png", "--factor", "3", "--max-iter", "1", *GREY) == 3
    large = read_image("superresolve.png")
    assert large.pixels.shape == (1, 1, 120, 144)
    assert large.dtype == np.uint16
    small = torch.nn.functional.avg_pool2d(large.pixels, 3)
    assert float((small - read_image("deep.png").pixels).abs().mean()) < 0.05
    assert run("superresolve", "image.png", "--simulate", "--max-iter", "1", *GREY) == 3
    assert json.loads((folder / "superresolve.json").read_text())["settings"]["factor"] == 2
    assert run("superresolve", "image.png", "--factor", "5") == 2


@pytest.mark.parametrize("command", ["deblur", "inpaint"])
def test_the_defaults_of_the_command_line_are_those_of_the_library(command: str) -> None:
    parsed = vars(build_parser().parse_args([command]))
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    shared = (defaults.keys() & parsed.keys()) - {"sigma", "verbose"}
    assert {"tol", "max_iter", "solver", "stepsize", "unproved"} <= shared
    assert {name: parsed[name] for name in shared} == {name: defaults[name] for name in shared}
    solver = inspect.signature(PlugAndPlay).parameters
    assert (parsed["tol"], parsed["max_iter"]) == (
        solver["tol"].default,
        solver["max_iter"].default,
    )


@pytest.mark.parametrize("name", ["network.py", "runs/best.pt"])
def test_a_program_or_a_pickle_given_to_certify_is_told_how_to_be_named(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", name]) == 2
    stem = Path(name).stem
    assert f"got {name}: to certify" in (said := capsys.readouterr().err)
    assert f"'{stem}:NAME', where {stem}.py defines NAME" in said


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
