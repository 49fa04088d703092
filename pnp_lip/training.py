r"""Training of a nonexpansive denoiser: an ordinary optimiser and a hook that holds the constraint.

Minimises :math:`E\,w(s)\,\|D(x + s n, s) - x\|^2` over patches *x*, Gaussian noise *n* and noise
levels *s*, with :math:`w(s) \propto \max(s, s_0)^{-1.2}`: about the reciprocal of the error that is
left, so that every noise level gains the same number of decibels.

All randomness of step *k* comes from a generator seeded by ``(seed, k)`` and the number of the
process, and a checkpoint holds weights, averages and optimiser moments: a run cut at any step
continues to the same bits. Several processes average their gradients, so every one of them takes
the same step and holds the constraint on the same weights; the first evaluates and writes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from pnp_lip.batches import Batch, Batches
from pnp_lip.certifier import prove
from pnp_lip.data import Photographs, read_folder
from pnp_lip.denoiser import LipschitzDenoiser
from pnp_lip.files import atomic_path, write_text
from pnp_lip.layers import ConvGradientStep, FactoredFilters, hold
from pnp_lip.processes import Processes
from pnp_lip.training_config import TrainingConfig
from pnp_lip.weights import save

__all__ = ["Training", "TrainingConfig", "noise_weight", "train_with_progress", "validation_psnr"]

#: Noise levels of an evaluation, in units of 1/255.
_LEVELS = (5, 15, 25, 50)
_SIZES = ("in_channels", "depth", "nf", "kernel_size")


def noise_weight(sigma: Tensor) -> Tensor:
    r"""The weight :math:`w(s) = (\max(s, 3/255)\cdot 255/25)^{-1.2}` of a noise level."""
    return (sigma.clamp(min=3 / 255) * (255 / 25)) ** -1.2


@torch.no_grad()
def validation_psnr(denoiser: nn.Module, images: list[Tensor], sigma: float) -> float:
    """Mean PSNR in dB over uint8 ``images`` with noise ``sigma`` (in [0, 1]) from a fixed seed."""
    device = next(denoiser.parameters()).device
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for image in images:
        clean = image[None].float() / 255
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        error = (denoiser(noisy.to(device), sigma).cpu() - clean).square().mean()
        total -= 10 * math.log10(float(error))
    return total / len(images)


class Training:
    """A run that can be stopped and continued; iterate over it to advance.

    Args:
        config: see :class:`TrainingConfig`.
        folder: where ``checkpoint.safetensors`` and ``curve.json`` live; a checkpoint found there
            is continued.
        device: where to train.
        processes: this process among those that train together; all need the same folder.

    Raises:
        ValueError: the checkpoint belongs to another configuration, or is damaged; or the initial
            weights belong to another architecture.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: str | Path,
        device: str = "cpu",
        processes: Processes = Processes(),  # noqa: B008  (it is frozen)
    ) -> None:
        self.config, self.folder, self.device = config, Path(folder), torch.device(device)
        self.processes = processes
        sizes = {name: getattr(config, name) for name in _SIZES}
        self.model = LipschitzDenoiser(**sizes, pretrained=None, device=self.device)
        self.average = LipschitzDenoiser(**sizes, pretrained=None, device=self.device).eval()
        if config.initial:
            _start_from(config.initial, self.model)
        if config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.factors = None
        if config.middle:
            self.factors = FactoredFilters(
                self.model, config.middle, config.seed, keep=bool(config.initial)
            )
        self.optimizer = _optimizer(self.model, self.factors, config)
        if self.factors is None:
            hold(self.model, self.optimizer, averagedness=config.averagedness)
        else:
            self.factors.hold(self.optimizer, averagedness=config.averagedness)
        self.average.load_state_dict(self.model.state_dict())
        if config.compile:
            for layer in self.model.layers:
                cast(ConvGradientStep, layer).activation.compile()
        photographs = Photographs(config.train, config.in_channels, config.patch, self.device)
        self.batches = Batches(config, photographs, self.device, processes.rank)
        self._ready: tuple[int, Batch] | None = None
        images = read_folder(config.validation, config.in_channels)[: config.validation_images]
        self.validation = [image[:, :320, :320] for image in images]
        self.step = 0
        self.curve: list[dict[str, float]] = []
        if self.checkpoint.is_file():
            self._restore()
        self.parallel: nn.Module = self.model
        if processes.size > 1:
            self.parallel = DistributedDataParallel(self.model)

    @property
    def weights(self) -> Path:
        """The averaged weights of the last evaluation."""
        return self.folder / "weights.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The file a run continues from."""
        return self.folder / "checkpoint.safetensors"

    def run(self) -> Iterator[float]:
        """Yield the loss of every step; evaluate and write a checkpoint where the config says so.

        Raises:
            RuntimeError: the averaged weights are not proved nonexpansive; nothing is written then.
        """
        while self.step < self.config.steps:
            loss = self._advance()
            due = self.step % self.config.evaluate_every == 0 or self.step == self.config.steps
            if due and self.processes.first:
                self.curve.append(self._evaluate())
                self.save()
            yield loss

    def _evaluate(self) -> dict[str, float]:
        """PSNR on the validation images at several noise levels, and the proved averagedness."""
        proved = prove(self.average)
        if proved.averagedness is None:
            raise RuntimeError(
                f"step {self.step}: only Lip <= {proved.upper} is proved, training stops"
            )
        levels = {
            f"psnr_{level}": validation_psnr(self.average, self.validation, level / 255)
            for level in _LEVELS
        }
        return {"step": self.step, **levels, "averagedness": proved.averagedness}

    def save(self) -> None:
        """Write checkpoint, averaged weights and curve, each atomically."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        if self.factors is not None:
            tensors |= {f"factors.{k}": v for k, v in self.factors.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        metadata = {
            "config": json.dumps(asdict(self.config), sort_keys=True),
            "step": str(self.step),
            "curve": json.dumps(self.curve),
        }
        state = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with atomic_path(self.checkpoint) as temporary:
            temporary.write_bytes(serialised(state, metadata))
        save(self.average, self.weights)
        write_text(self.folder / "curve.json", json.dumps(self.curve, indent=1) + "\n")

    def _restore(self) -> None:
        try:
            with safe_open(self.checkpoint, framework="pt", device=str(self.device)) as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except SafetensorError as error:
            raise ValueError(
                f"{self.checkpoint} is damaged ({error}): remove it to start over"
            ) from error
        stored = asdict(TrainingConfig()) | json.loads(metadata["config"])
        if json.loads(json.dumps(stored)) != json.loads(json.dumps(asdict(self.config))):
            raise ValueError(
                f"{self.checkpoint} belongs to another configuration: use another folder, or remove it"
            )
        self.model.load_state_dict(_part(tensors, "model."))
        self.average.load_state_dict(_part(tensors, "average."))
        if self.factors is not None:
            self.factors.load_state_dict(_part(tensors, "factors."))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            states.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.step, self.curve = int(metadata["step"]), json.loads(metadata["curve"])

    def _advance(self) -> float:
        config, batch = self.config, self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * _schedule(self.step, config.steps)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
        ):
            restored = self.parallel(batch.noisy, batch.sigma)
        error = (restored - batch.clean).square().mean(dim=(1, 2, 3))
        loss = (noise_weight(batch.sigma) * error).mean()
        self.optimizer.zero_grad()
        loss.backward()
        if self.factors is not None:
            self.factors.pull_back()
        self.optimizer.step()
        self.step += 1
        self._update_average()
        if self.device.type != "cpu":
            self._ready = (self.step, self.batches.at(self.step))
        return float(loss.detach())

    def _batch(self) -> Batch:
        """The batch of this step; on a GPU it was drawn while the GPU computed the last one."""
        if self._ready is not None and self._ready[0] == self.step:
            return self._ready[1]
        return self.batches.at(self.step)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential averaging; the ball of admissible weights is convex, so it stays inside."""
        decay = min(self.config.ema, self.step / (self.step + 10))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)


def train_with_progress(training: Training) -> None:
    """Run to the end with a progress bar and a line for every evaluation."""
    config = training.config
    hidden = None if training.processes.first else True
    with tqdm(total=config.steps, initial=training.step, desc="training", disable=hidden) as bar:
        evaluations = len(training.curve)
        for loss in training.run():
            bar.update()
            bar.set_postfix_str(f"loss {loss:.2e}", refresh=False)
            if len(training.curve) > evaluations:
                evaluations = len(training.curve)
                tqdm.write(_line(training.curve[-1]))


def _line(evaluation: dict[str, float]) -> str:
    levels = "  ".join(f"sigma {level}: {evaluation[f'psnr_{level}']:.2f} dB" for level in _LEVELS)
    averagedness = evaluation["averagedness"]
    return f"step {evaluation['step']:.0f}  {levels}  proved averagedness {averagedness:.4f}"


def _optimizer(
    model: nn.Module, factors: FactoredFilters | None, config: TrainingConfig
) -> torch.optim.Optimizer:
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if factors is not None:
        trainable = {n: p for n, p in trainable.items() if not n.endswith(".weight")}
        trainable |= dict(factors.named_parameters())
    rates = dict.fromkeys(("weight", "inner", "outer"), config.weight_rate)
    rates |= {"factors": config.threshold_rate, "logits": config.share_rate}
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        rate = rates[name.rpartition(".")[2]]
        groups.setdefault(rate, []).append(parameter)
    return torch.optim.Adam(
        [{"params": parameters, "rate": rate} for rate, parameters in groups.items()],
        lr=0.0,
        betas=(0.9, 0.99),
    )


def _start_from(weights: str, model: LipschitzDenoiser) -> None:
    stored = LipschitzDenoiser.from_weights(weights, model.in_channels)
    times, rest = divmod(model.sizes["depth"], stored.sizes["depth"])
    if rest or stored.sizes | {"depth": model.sizes["depth"]} != model.sizes:
        raise ValueError(
            f"the initial weights {weights} have the sizes {stored.sizes}, the configuration asks for "
            f"{model.sizes}: only the depth may differ, by a whole factor"
        )
    model.load_state_dict(stored.repeated(times).state_dict())


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, then a cosine down to 1 % of the learning rate."""
    return min(1.0, (step + 1) / 100) * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
