"""Training of guided denoisers: it resumes to the same bits and keeps what is proved."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import io

from benchmarks.post_processor import PostProcessorTraining
from pnp_lip import GuidedDenoiser, LipschitzDenoiser, write_weights
from pnp_lip.certifier import prove
from pnp_lip.cli.train import train as train_command
from pnp_lip.constraints import project
from pnp_lip.errors import InputError, MissingFileError
from pnp_lip.training import GuidedConfig, GuidedTraining
from pnp_lip.training.guided_samples import GuidedSamples
from pnp_lip.training.restored import RestoredCrops, restore_crops


@pytest.fixture
def config(tmp_path: Path) -> GuidedConfig:
    """Three steps with fixed filters, three with free ones, on two random images."""
    generator = np.random.default_rng(0)
    for name in ("train", "validation"):
        (tmp_path / name).mkdir()
        for index in range(2):
            pixels = generator.integers(0, 256, (100, 100), dtype=np.uint8)
            io.imsave(tmp_path / name / f"{index}.png", pixels, check_contrast=False)
    torch.manual_seed(0)
    plain = LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None)
    with torch.no_grad():
        for step in plain.steps:
            step.weight.normal_()
    project(plain, averagedness=0.8)
    write_weights(plain, tmp_path / "plain.safetensors")
    return GuidedConfig(
        initial=str(tmp_path / "plain.safetensors"),
        train=(str(tmp_path / "train"),),
        validation=str(tmp_path / "validation"),
        validation_images=1,
        patch=16,
        batch=4,
        steps=6,
        unfreeze=3,
        evaluate_every=3,
        mask_channels=4,
        mask_blocks=1,
        restored=str(tmp_path / "restored.safetensors"),
        restored_count=4,
        restored_share=0.5,
        dial_share=0.5,
    )


def state(training: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


@pytest.mark.parametrize("kind", [GuidedTraining, PostProcessorTraining])
def test_a_run_that_was_cut_continues_to_the_same_bits(
    config: GuidedConfig, tmp_path: Path, kind: Any
) -> None:
    whole = kind(config, tmp_path / "whole")
    losses = list(whole.run())
    cut = kind(config, tmp_path / "cut")
    first = [loss for loss, _ in zip(cut.run(), range(3), strict=False)]
    again = kind(config, tmp_path / "cut")
    assert again.step == 3
    assert first + list(again.run()) == losses
    ends = state(whole), state(again)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert whole.curve == again.curve


def test_the_control_is_trained_on_the_same_samples(config: GuidedConfig, tmp_path: Path) -> None:
    control, guided = (
        kind(config, tmp_path / kind.__name__) for kind in (PostProcessorTraining, GuidedTraining)
    )
    # At the first step both networks change nothing yet: the loss is that of the plain result.
    assert next(control.run()) == pytest.approx(next(guided.run()))


def test_filters_wait_and_then_move_inside_their_constraint(
    config: GuidedConfig, tmp_path: Path
) -> None:
    training = GuidedTraining(replace(config, weight_rate=0.3), tmp_path / "run")
    start, steps = state(training), training.run()
    filters = [name for name in start if name.startswith("denoiser") and name.endswith("weight")]
    for _ in range(3):
        next(steps)
    waiting = state(training)
    assert all(torch.equal(waiting[name], start[name]) for name in filters)
    assert not torch.equal(waiting["mask.head.weight"], start["mask.head.weight"])
    list(steps)
    end = state(training)
    assert all(not torch.equal(end[name], start[name]) for name in filters)
    assert all(torch.equal(end[name], start[name]) for name in start if name.startswith("plain."))
    averagedness = prove(training.average.denoiser).averagedness
    assert averagedness is not None
    assert averagedness < 1


def test_what_a_run_writes_is_a_guided_denoiser(config: GuidedConfig, tmp_path: Path) -> None:
    training = GuidedTraining(config, tmp_path / "run")
    list(training.run())
    read = GuidedDenoiser(1, pretrained=training.weights)
    x = torch.rand(1, 1, 17, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(read(x, 0.1), training.average(x, 0.1))
    assert [row["step"] for row in training.curve] == [3, 6]
    with pytest.raises(ValueError, match="expected weights of a guided denoiser for 1 channels"):
        GuidedDenoiser(1, pretrained=config.initial)
    with pytest.raises(ValueError, match="expected weights of a guided denoiser for 3 channels"):
        GuidedDenoiser(3, pretrained=training.weights)
    with pytest.raises(ValueError, match="they belong to another kind of denoiser"):
        LipschitzDenoiser(1, pretrained=training.weights)


def test_the_length_of_a_run_may_change_only_while_the_rate_is_flat(
    config: GuidedConfig, tmp_path: Path
) -> None:
    longer = replace(config, steps=20)
    training = GuidedTraining(longer, tmp_path / "run")
    first = [loss for loss, _ in zip(training.run(), range(3), strict=False)]
    shortened = GuidedTraining(config, tmp_path / "run")
    direct = list(GuidedTraining(config, tmp_path / "direct").run())
    assert first + list(shortened.run()) == direct
    with pytest.raises(ValueError, match="belongs to another configuration"):
        GuidedTraining(longer, tmp_path / "run")


def test_samples_are_noise_with_plain_guides_and_restored_crops(
    config: GuidedConfig, tmp_path: Path
) -> None:
    plain = LipschitzDenoiser.from_weights(config.initial)
    source = GuidedSamples(config, plain)
    before = source.at(config.unfreeze - 1)
    assert not Path(config.restored).exists()
    assert torch.equal(before.guide, plain(before.noisy, before.sigma))
    again, samples = source.at(5), source.at(5)
    assert torch.equal(again.noisy, samples.noisy)
    plainly = plain(samples.noisy, samples.sigma)
    restored = [
        not torch.equal(guide, result) for guide, result in zip(samples.guide, plainly, strict=True)
    ]
    assert 0 < sum(restored) < 4
    assert 0 < int((samples.dial != 1).sum()) < 4
    assert bool(((samples.dial >= 0) & (samples.dial <= 1)).all())


def test_restored_crops_are_the_same_again_and_survive_the_disk(
    config: GuidedConfig, tmp_path: Path
) -> None:
    plain = LipschitzDenoiser.from_weights(config.initial)
    crops = restore_crops(plain, config.train, 4)
    crops.write(tmp_path / "crops.safetensors")
    read, again = (
        RestoredCrops.read(tmp_path / "crops.safetensors"),
        restore_crops(plain, config.train, 4),
    )
    for name in ("clean", "noisy", "guide", "sigma"):
        assert torch.equal(getattr(read, name), getattr(again, name))
    with torch.no_grad():
        denoised = plain(crops.noisy.float(), crops.sigma).clamp(0, 1)
    torch.testing.assert_close(denoised, crops.guide.float(), rtol=0, atol=2e-3)


def test_a_mask_network_for_colour_starts_with_the_blocks_of_a_grey_one(
    config: GuidedConfig, tmp_path: Path
) -> None:
    training = GuidedTraining(config, tmp_path / "grey")
    list(training.run())
    colour = LipschitzDenoiser(3, depth=1, nf=6, kernel_size=3, pretrained=None)
    write_weights(colour, tmp_path / "colour.safetensors")
    for name in ("train", "validation"):
        for path in (tmp_path / name).iterdir():
            grey = io.imread(path)
            io.imsave(path, np.stack([grey] * 3, axis=-1), check_contrast=False)
    started = GuidedTraining(
        replace(
            config,
            in_channels=3,
            initial=str(tmp_path / "colour.safetensors"),
            mask_initial=str(training.weights),
        ),
        tmp_path / "colour",
    )
    lender, mask = training.average.mask, started.model.mask
    blocks_of = mask.blocks.state_dict(), lender.blocks.state_dict()
    assert all(torch.equal(blocks_of[0][name], blocks_of[1][name]) for name in blocks_of[0])
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    level = torch.full((1, 1, 4, 4), 0.3)
    blocks = torch.nn.functional.pixel_unshuffle(image, 2)
    tripled = torch.nn.functional.pixel_unshuffle(image.repeat(1, 3, 1, 1), 2)
    torch.testing.assert_close(
        mask.stem(torch.cat([tripled, level], dim=1)),
        lender.stem(torch.cat([blocks, level], dim=1)),
    )
    assert not mask.head.weight.any()


def test_a_guided_denoiser_is_trained_further_from_where_it_ended(
    config: GuidedConfig, tmp_path: Path
) -> None:
    first = GuidedTraining(config, tmp_path / "first")
    list(first.run())
    again = replace(config, initial=str(first.weights), mask_channels=9, unfreeze=0)
    further = GuidedTraining(again, tmp_path / "further")
    kept = first.average.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in state(further).items())
    list(further.run())
    moved = further.model.state_dict()
    assert {name for name in kept if not torch.equal(kept[name], moved[name])} >= {
        "mask.head.weight",
        "denoiser.layers.0.weight",
    }
    assert all(torch.equal(kept[n], moved[n]) for n in kept if n.startswith("plain."))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("mask_blocks", 0, "mask_blocks must be at least 1, got 0"),
        ("restored_share", 1.5, r"restored_share must be in \[0, 1\], got 1.5"),
        ("dial_share", float("nan"), r"dial_share must be in \[0, 1\], got nan"),
        ("mask_rate", -1.0, r"mask_rate must be at least 0, got -1.0"),
        ("initial", "", "initial must name the weights of a plain or guided denoiser"),
        ("patch", 0, "patch must be at least 1, got 0"),
    ],
)
def test_wrong_keys_are_named(key: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        GuidedConfig(**{key: value})


def test_the_committed_configurations_are_read() -> None:
    folder = Path(__file__).resolve().parent.parent / "pnp_lip" / "weights"
    for name, channels in (("grey", 1), ("colour", 3)):
        assert GuidedConfig.read(folder / f"{name}_guided.toml").in_channels == channels


def test_a_configuration_with_any_key_of_guided_runs_is_one(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('initial = "guided"\nunfreeze = 0\ntrain = ["nowhere"]\n')
    with pytest.raises(MissingFileError, match="nowhere"):
        train_command(
            argparse.Namespace(
                config=str(tmp_path / "run.toml"), folder=str(tmp_path / "run"), device="cpu"
            )
        )


def test_several_processes_do_not_write_one_run(
    config: GuidedConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    folder = tmp_path / "run"
    options = argparse.Namespace(config="grey_guided", folder=str(folder), device="cpu")
    with pytest.raises(InputError, match="trained by one process, got 2"):
        train_command(options)
    assert not folder.exists()


def test_restored_crops_have_noise_in_equal_ratios(config: GuidedConfig) -> None:
    from pnp_lip.training.restored import _NOISE, _physics

    clean, levels = torch.rand(1, 1, 96, 96), []
    for seed in range(300):
        physics, _, _ = _physics(0, clean, torch.Generator().manual_seed(seed))
        levels.append(float(physics.noise_model.sigma))
    low, high = _NOISE
    middle = (low * high) ** 0.5
    assert min(levels) >= low
    assert max(levels) <= high
    assert 0.4 < sum(level < middle for level in levels) / len(levels) < 0.6
