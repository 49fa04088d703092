"""The command line does the whole job, and says in one sentence what is wrong with its input."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import GREY, contents, run

from pnp_lip.cli.parser import COMMANDS, build_parser
from pnp_lip.data.images import read_image, write_image
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.recipes.restoration import Options
from pnp_lip.solvers import PlugAndPlay


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
    guided = {"grey_guided", "colour_guided", "grey_guided_further", "colour_guided_further"}
    assert set(names) == {"grey", "colour", *guided}
    for name, path in names.items():
        kind = GuidedConfig if "guided" in name else TrainingConfig
        assert _config(name) == kind.read(path)
    (folder / "grey").write_text("steps = 7\n")  # a file of that name goes first
    assert _config("grey").steps == 7


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


@pytest.mark.parametrize(
    "arguments", [["denoise", "image.png"], ["denoise", "*.png", "-o", "new/"]]
)
def test_where_nobody_reads_the_output_it_ends_quietly(folder: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pnp_lip", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
