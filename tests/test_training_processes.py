"""Two processes train one network: the same weights, resumed to the bit, as if by one process."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deepinv.distributed import DistributedContext, distribute
from torch import Tensor, multiprocessing

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import prove
from pnp_lip.cli import main
from pnp_lip.denoisers.distributed import HaloTiling
from pnp_lip.training import Training, TrainingConfig
from pnp_lip.training.batches import Batch, Batches
from pnp_lip.training.processes import Processes


@pytest.fixture
def config(config: TrainingConfig) -> TrainingConfig:
    """Half as long, with larger steps."""
    return replace(config, steps=6, evaluate_every=3, weight_rate=1e-2)


def train(training: Training, until: int | None = None) -> Training:
    for _ in training.run():
        if training.step == until:
            break
    return training


def one_of_two(rank: int, port: int, config: TrainingConfig, folder: Path) -> None:
    """What each process does; its results go into a file."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    processes = Processes.join("cpu")
    assert (processes.rank, processes.size, processes.first) == (rank, 2, rank == 0)
    whole = train(Training(config, folder / "whole", "cpu", processes))
    train(Training(config, folder / "cut", "cpu", processes), until=4)
    torch.distributed.barrier()
    continued = Training(config, folder / "cut", "cpu", processes)
    assert continued.step == 3
    states = [whole.model.state_dict(), train(continued).model.state_dict()]
    x = tiling_image()
    with torch.no_grad(), DistributedContext(device_mode="cpu") as context:
        tiling = HaloTiling(x.shape, whole.model, tile=16)
        tiled = distribute(whole.model, context, tiling_strategy=tiling)(x, 0.1)
        states.append({"difference": (tiled - whole.model(x, 0.1)).abs().max()})
    torch.save([states, whole.batches.at(0).clean], folder / f"rank{rank}.pt")


def tiling_image() -> Tensor:
    return torch.rand(1, 1, 50, 70, generator=torch.Generator().manual_seed(0))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_train_like_one_with_both_batches(
    config: TrainingConfig, tmp_path: Path
) -> None:
    multiprocessing.spawn(one_of_two, (free_port(), config, tmp_path), nprocs=2)
    (first, patches), (second, others) = (torch.load(tmp_path / f"rank{r}.pt") for r in range(2))
    assert not torch.equal(patches, others)
    whole, cut, tiled = first
    for name, value in whole.items():
        assert torch.equal(value, second[0][name]), "the processes have other weights"
        assert torch.equal(value, cut[name]), "a run that was cut ends with other bits"
        assert torch.equal(value, second[1][name])
    assert tiled["difference"] < 1e-6
    assert second[2]["difference"] < 1e-6

    alone = Training(config, tmp_path / "alone")
    before = {name: value.clone() for name, value in alone.model.state_dict().items()}
    alone.batches = BothBatches(alone.batches)  # type: ignore[assignment]
    train(alone)
    moved = max(float((whole[n] - before[n]).abs().max()) for n in whole)
    apart = max(float((whole[n] - v).abs().max()) for n, v in alone.model.state_dict().items())
    assert moved > 5e-4
    assert apart < 1e-2 * moved
    assert (
        prove(LipschitzDenoiser.from_weights(tmp_path / "whole" / "weights.safetensors")).upper == 1
    )


class BothBatches:
    """The patches of ranks 0 and 1 in one batch."""

    def __init__(self, first: Batches) -> None:
        self.parts = (first, replace(first, rank=1))

    def at(self, step: int) -> Batch:
        a, b = (part.at(step) for part in self.parts)
        pairs = ((a.clean, b.clean), (a.noisy, b.noisy), (a.sigma, b.sigma))
        return Batch(*(torch.cat(pair) for pair in pairs))


def test_the_first_process_draws_what_one_process_draws(
    config: TrainingConfig, tmp_path: Path
) -> None:
    """The bits of a run on one CPU are part of what is promised."""
    batches = Training(config, tmp_path / "run").batches
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + 5)
    clean = batches.photographs.patches(config.batch, generator)
    sigma = 50 / 255 * torch.rand(config.batch, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    assert torch.equal(batches.at(5).clean, clean)
    assert torch.equal(batches.at(5).sigma, sigma)
    assert torch.equal(batches.at(5).noisy, clean + sigma[:, None, None, None] * noise)


def test_no_two_processes_share_a_step(config: TrainingConfig, tmp_path: Path) -> None:
    batches = Training(config, tmp_path / "run").batches
    drawn = [replace(batches, rank=r).at(step).clean for r in range(4) for step in range(3)]
    for i, one in enumerate(drawn):
        assert not any(torch.equal(one, other) for other in drawn[:i])


def test_bfloat16_and_channels_last_keep_weights_and_constraint_in_float32(
    config: TrainingConfig, tmp_path: Path
) -> None:
    plain = train(Training(config, tmp_path / "plain"))
    mixed_config = replace(config, precision="bfloat16", channels_last=True)
    mixed = train(Training(mixed_config, tmp_path / "mixed"))
    assert {p.dtype for p in mixed.model.parameters()} == {torch.float32}
    apart = max(
        float((a - b).detach().abs().max())
        for a, b in zip(plain.model.parameters(), mixed.model.parameters(), strict=True)
    )
    assert 0 < apart < 5e-3
    assert prove(mixed.model).upper == 1
    continued = Training(mixed_config, tmp_path / "mixed")
    assert all(
        torch.equal(a, b)
        for a, b in zip(mixed.model.parameters(), continued.model.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="precision must be 'float32' or 'bfloat16', got 'half'"):
        replace(config, precision="half")


def test_a_run_can_start_from_weights(config: TrainingConfig, tmp_path: Path) -> None:
    weights = train(Training(config, tmp_path / "run")).weights
    started = Training(replace(config, initial=str(weights)), tmp_path / "next")
    stored = LipschitzDenoiser.from_weights(weights)
    assert all(
        torch.allclose(a, b, rtol=2e-6)
        for a, b in zip(started.model.parameters(), stored.parameters(), strict=True)
    )
    assert started.step == 0
    with pytest.raises(ValueError, match="the configuration asks for"):
        Training(replace(config, initial=str(weights), nf=6), tmp_path / "other")


def test_a_deeper_run_starts_from_repeated_layers(config: TrainingConfig, tmp_path: Path) -> None:
    weights = train(Training(config, tmp_path / "run")).weights
    deeper = replace(config, initial=str(weights), depth=3 * config.depth)
    started = Training(deeper, tmp_path / "deeper")
    expected = LipschitzDenoiser.from_weights(weights).repeated(3)
    assert all(
        torch.allclose(a, b, rtol=2e-6)
        for a, b in zip(started.model.parameters(), expected.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="only the depth may differ, by a whole factor"):
        Training(replace(deeper, depth=config.depth + 1), tmp_path / "other")


def test_torchrun_is_understood_by_the_command(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Processes.join("cpu") == Processes()
    assert Processes(1, 2, 1).device("cuda") == "cuda:1"
    assert Processes(1, 2, 1).device("cpu") == "cpu"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes cannot share cuda:0: pass --device cuda"):
        Processes.join("cuda:0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    path = tmp_path / "config.toml"
    path.write_text(
        'depth = 1\nnf = 4\nkernel_size = 3\ntrain = ["train"]\nvalidation = "validation"\n'
        "patch = 24\nbatch = 2\nsteps = 2\n"
    )
    assert main(["train", str(path), "--folder", str(tmp_path / "command")]) == 0
