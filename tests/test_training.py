"""Training resumes to the bit, keeps the constraint, and loses nothing to bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.constraints import project
from pnp_lip.data.patches import Photographs, find_data
from pnp_lip.training import Training, TrainingConfig, train_with_progress, validation_psnr
from pnp_lip.weights import read_weights, shipped, weight_hash, write_weights


def run(config: TrainingConfig, folder: Path, until: int | None = None) -> Training:
    training = Training(config, folder)
    for _ in training.run():
        if training.step == until:
            break
    return training


@pytest.mark.parametrize("inner_channels", [0, 3])
def test_a_run_that_was_cut_ends_with_the_same_bits(
    config: TrainingConfig, tmp_path: Path, inner_channels: int
) -> None:
    config = replace(config, inner_channels=inner_channels)
    whole = run(config, tmp_path / "whole")
    run(config, tmp_path / "cut", until=6)
    assert json.loads((tmp_path / "cut" / "curve.json").read_text())[-1]["step"] == 4
    continued = run(config, tmp_path / "cut")
    assert weight_hash(continued.average.state_dict()) == weight_hash(whole.average.state_dict())
    assert continued.curve == whole.curve
    assert continued.step == 12


def test_training_finds_thresholds_that_are_ten_times_larger(
    config: TrainingConfig, tmp_path: Path
) -> None:
    timid = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    for name, parameter in timid.named_parameters():
        if name.endswith("factors"):
            parameter.data *= 0.1
    write_weights(timid, tmp_path / "timid.safetensors")
    initial = str(tmp_path / "timid.safetensors")
    longer = replace(config, steps=60, evaluate_every=60, initial=initial)
    training = Training(longer, tmp_path / "run")
    before = validation_psnr(training.average, training.validation, 25 / 255)
    train_with_progress(training)
    assert training.curve[-1]["psnr_25"] > before + 0.5


def test_every_evaluation_is_certified_and_its_weights_are_written(
    config: TrainingConfig, tmp_path: Path
) -> None:
    training = run(config, tmp_path / "run")
    denoiser = LipschitzDenoiser.from_weights(training.weights)
    assert [entry["step"] for entry in training.curve] == [4, 8, 12]
    assert prove(denoiser).averagedness == training.curve[-1]["averagedness"]
    assert training.curve[-1]["averagedness"] < 1
    for layer in prove(denoiser).leaves():
        assert layer.averagedness is not None
        assert layer.averagedness <= config.averagedness * 1.0011


def test_training_stops_when_the_average_is_not_proved_nonexpansive(
    config: TrainingConfig, tmp_path: Path
) -> None:
    training = Training(config, tmp_path / "run")
    for parameter in training.average.parameters():
        parameter.data *= 1e3
    with pytest.raises(RuntimeError, match="only Lip <="):
        list(training.run())
    assert not training.checkpoint.exists()


def test_another_configuration_does_not_continue_a_checkpoint(
    config: TrainingConfig, tmp_path: Path
) -> None:
    run(config, tmp_path / "run", until=4)
    with pytest.raises(ValueError, match="belongs to another configuration"):
        Training(replace(config, seed=8), tmp_path / "run")


def test_a_damaged_checkpoint_is_named(config: TrainingConfig, tmp_path: Path) -> None:
    checkpoint = run(config, tmp_path / "run", until=4).checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    with pytest.raises(ValueError, match="is damaged"):
        Training(config, tmp_path / "run")


def test_configurations_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('steps = 5\nnoise_levels = [1, 2]\ntrain = ["a", "b"]\n')
    config = TrainingConfig.read(path)
    assert (config.steps, config.noise_levels, config.train) == (5, (1, 2), ("a", "b"))
    path.write_text("stepps = 5\n")
    with pytest.raises(ValueError, match=r"unknown keys \['stepps'\]; expected some of"):
        TrainingConfig.read(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_configurations_of_the_shipped_weights_can_be_read(channels: int) -> None:
    config = TrainingConfig.read(shipped(channels).with_suffix(".toml"))
    sizes = LipschitzDenoiser(channels).sizes
    counts = sizes.pop("nf")  # filters that never act were left out afterwards
    assert len(counts) == config.depth
    assert max(counts) <= config.nf
    assert sizes == {size: getattr(config, size) for size in sizes}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_large_weights_are_the_trained_layers_each_twice(channels: int) -> None:
    repeated = LipschitzDenoiser(channels).repeated(2)
    assert weight_hash(repeated.state_dict()) == read_weights("large", channels).sha256


def test_missing_data_say_where_they_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PNP_LIP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set PNP_LIP_DATA to the folder"):
        find_data("no/such/set")


def test_patches_that_do_not_fit_are_refused(config: TrainingConfig) -> None:
    with pytest.raises(ValueError, match="patches of 200 pixels do not fit"):
        Photographs(config.train, 1, 200)


def test_patches_depend_on_the_generator_only(config: TrainingConfig) -> None:
    photographs = Photographs(config.train, 3, 16)
    first, again = (photographs.patches(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (3, 3, 16, 16)
    assert not torch.equal(first, photographs.patches(3, torch.Generator().manual_seed(2)))


def test_factored_filters_start_from_initial_weights(
    config: TrainingConfig, tmp_path: Path
) -> None:
    start = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    project(start, averagedness=config.averagedness)
    write_weights(start, tmp_path / "start.safetensors")
    started = replace(config, inner_channels=4, initial=str(tmp_path / "start.safetensors"))
    model = Training(started, tmp_path / "run").model
    for name, value in start.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "5"}, "steps must be of type int, got '5'"),
        ({"batch": -1}, "batch must be at least 1, got -1"),
        ({"patch": 0}, "patch must be at least 1, got 0"),
        ({"depth": 2.5}, "depth must be of type int, got 2.5"),
        ({"compile": 1}, "compile must be of type bool, got 1"),
        ({"seed": True}, "seed must be of type int, got True"),
        ({"averagedness": 3.0}, r"averagedness must be in \(0, 1\], got 3.0"),
        ({"weight_rate": float("nan")}, "weight_rate must be a finite rate"),
        ({"noise_levels": (50.0, 0.0)}, "noise_levels must be two numbers 0 <= low <= high"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"in_channels": 2}, r"in_channels must be 1 \(grey\) or 3 \(colour\), got 2"),
        ({"train": ()}, "train must be one or more names of folders"),
        ({"precision": "float16"}, "precision must be 'float32' or 'bfloat16', got 'float16'"),
    ],
)
def test_configurations_that_cannot_be_meant_are_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**change)  # type: ignore[arg-type]


def test_whole_numbers_are_accepted_as_rates() -> None:
    assert TrainingConfig(weight_rate=0, noise_levels=(0, 50)).weight_rate == 0
