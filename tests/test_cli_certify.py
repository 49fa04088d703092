"""``pnp-lip certify``: bounds, certificates, and modules of the user's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_runs import run

from pnp_lip import LipschitzDenoiser
from pnp_lip.cli import main
from pnp_lip.weights import write_weights


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
    assert "for images with   1 channel, H and W at least 4, float32" in printed
    again = "accepted: every bound of mine.json was proved again\non images with 1 channel, H and W"
    assert again in printed
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


@pytest.mark.parametrize("name", ["network.py", "runs/best.pt"])
def test_a_program_or_a_pickle_given_to_certify_is_told_how_to_be_named(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", name]) == 2
    stem = Path(name).stem
    assert f"got {name}: to certify" in (said := capsys.readouterr().err)
    assert f"'{stem}:NAME', where {stem}.py defines NAME" in said
