"""The command line does the whole job, and says in one sentence what is wrong with its input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io

from pnp_lip import LipschitzDenoiser
from pnp_lip.cli import main
from pnp_lip.data.images import read_image, write_image
from pnp_lip.data.photographs import photograph
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
    return tmp_path


def run(*arguments: str) -> int:
    return main([*arguments])


def test_deblur_restores_a_real_observation_beside_figure_and_report(folder: Path) -> None:
    code = run(
        "deblur", "image.png", "--kernel", "kernel.png", "-o", "out/sharp.png", "--max-iter", "5"
    )
    assert code == 0
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
    assert code == 0
    before, after = read_image("deep.png"), read_image("whole.png")
    assert after.dtype == np.uint16
    # Far from the hole only the strength of the denoiser acts.
    assert float((before.pixels - after.pixels)[..., 30:, :].abs().mean()) < 0.02


def test_inpaint_simulates_missing_pixels_in_colour(folder: Path) -> None:
    assert run("inpaint", "colour.tiff", "--simulate", "--missing", "0.3", "--max-iter", "30") == 0
    report = json.loads((folder / "inpaint.json").read_text())
    assert report["psnr_restoration"] > report["psnr_observation"] + 5
    assert read_image("inpaint.png").pixels.shape == (1, 3, 40, 40)


def test_tiles_do_not_change_the_denoised_image(folder: Path) -> None:
    for name, tile in (("whole.npy", []), ("tiled.npy", ["--tile", "24"])):
        assert run("denoise", "image.png", "--sigma", "0.1", "-o", name, *tile) == 0
    whole, tiled = np.load(folder / "whole.npy"), np.load(folder / "tiled.npy")
    assert min(whole.shape) > 24
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1.01 / 255)
    assert run("denoise", "image.png", "--tile", "0") == 2


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
    assert run("certify", "my_models:expansive") == 1
    assert "are a counterexample" in capsys.readouterr().out
    assert (folder / "counterexample").is_dir()
    assert run("certify", "my_models:number") == 2
    assert run("certify", "my_models:nothing") == 2
    assert "cannot be imported" in capsys.readouterr().err


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
        (["deblur", "image.png"], "needs its --kernel"),
        (["deblur", "image.png", "--kernel", "image.png", "-o", "x.xyz"], "unknown suffix '.xyz'"),
        (["deblur", "kernel.png", "--kernel", "image.png"], "is larger than the image"),
        (["deblur", "nan.npy", "--kernel", "kernel.png"], "NaN or infinite pixels"),
        (["deblur", "image.png", "--kernel", "negative.npy"], "must lie in [0, 1]"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--noise", "-1"], "noise must be"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--stepsize", "9"], "must be below 2/L"),
        (["deblur", "image.png", "--kernel", "kernel.png", "--device", "moon"], "moon"),
        (["deblur", "image.png", "--kernel", "kernel.png", "-o", "image.png/x.png"], "x.png"),
        (
            ["deblur", "image.png", "--kernel", "kernel.png", "--weights", "no.safetensors"],
            "no weights",
        ),
        (["inpaint", "image.png"], "needs its --mask"),
        (
            ["inpaint", "image.png", "--mask", "kernel.png"],
            "mask has 3 x 3 pixels, the image 40 x 48",
        ),
        (["inpaint", "image.png", "--simulate", "--missing", "1.5"], "share of missing pixels"),
        (["denoise", "image.png", "--sigma", "nan"], "sigma must be a finite noise level"),
        (["certify", "kernel.png"], "not a safetensors file"),
        (["certify", "--channels", "2"], "shipped for 1 and 3 channels"),
        (["train", "nothing.toml"], "No such file"),
        (["train", "bad.toml"], "unknown keys"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_writes_nothing(
    folder: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "nan.npy", np.full((40, 48), np.nan))
    np.save(folder / "negative.npy", -np.ones((3, 3)))
    (folder / "bad.toml").write_text("stepps = 3\n")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith(f"pnp-lip {arguments[0]}: ")
    assert captured.err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("command", ["deblur", "inpaint", "denoise", "certify", "train"])
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
    for command in ("deblur", "inpaint", "denoise", "certify", "train"):
        assert command in done.stdout


def test_an_image_written_as_png_can_be_read_by_others(folder: Path) -> None:
    assert io.imread("image.png").shape == (40, 48)
