r"""Training of a guided denoiser, mask and filters together.

Minimises :math:`E\,w\,\|D_z(v) - x\|^2` where ``v`` is the clean patch ``x`` with noise and ``z`` its plain
result, or, in a share of the samples, both come from a restoration
(:mod:`pnp_lip.restored`). Noise is weighted as for plain denoisers, restorations by the reciprocal of
the error of their guide. A share of the samples turns the dial to a random value below 1, so that the
network is a good denoiser there as well. The filters are fixed at first, then trained under the constraint.

The run is cut and continued as :class:`pnp_lip.training.Training`: all randomness of a step comes
from its number.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Generator, Tensor, nn

from pnp_lip.batches import Batches
from pnp_lip.certifier import prove
from pnp_lip.data import Photographs, read_folder
from pnp_lip.denoiser import LipschitzDenoiser
from pnp_lip.files import atomic_path, write_text
from pnp_lip.guided import GuidedDenoiser
from pnp_lip.layers import hold
from pnp_lip.restored import RestoredCrops
from pnp_lip.training import _LEVELS, _part, noise_weight, validation_psnr
from pnp_lip.training_config import TrainingConfig

__all__ = ["GuidedConfig", "GuidedTraining"]

#: Squared error that is left at noise 25/255, to which the weights of all samples refer.
_USUAL = 1.6e-3
#: Share of a run with a constant learning rate. Up to there its length may still be changed.
_FLAT = 0.6


@dataclass(frozen=True)
class GuidedConfig(TrainingConfig):
    """What the run of a guided denoiser depends on; sizes of the layers come from ``initial``.

    Attributes:
        mask_channels, mask_blocks, mask_limit: sizes of the mask network.
        mask_rate: its largest learning rate.
        unfreeze: step from which the filters and thresholds are trained as well.
        restored: file of :class:`~pnp_lip.restored.RestoredCrops`; none if empty.
        restored_share: share of the samples that come from there, once the filters are free.
        dial_share: share of the samples whose dial is random.
    """

    mask_channels: int = 64
    mask_blocks: int = 6
    mask_limit: float = 2.0
    mask_rate: float = 1e-3
    unfreeze: int = 2000
    restored: str = ""
    restored_share: float = 0.15
    dial_share: float = 0.125


@dataclass(frozen=True)
class _Samples:
    clean: Tensor
    noisy: Tensor
    guide: Tensor
    sigma: Tensor
    weight: Tensor
    dial: Tensor


class GuidedTraining:
    """A run that can be stopped and continued; iterate over :meth:`run` to advance."""

    def __init__(self, config: GuidedConfig, folder: str | Path) -> None:
        self.config, self.folder = config, Path(folder)
        torch.manual_seed(config.seed)
        plain = LipschitzDenoiser(config.in_channels, pretrained=config.initial)
        sizes = (config.mask_channels, config.mask_blocks, config.mask_limit)
        self.model = GuidedDenoiser(plain, channels=sizes[0], blocks=sizes[1], limit=sizes[2])
        self.model.plain.requires_grad_(False)
        self.optimizer = self._optimizer()
        hold(self.model.denoiser, self.optimizer, averagedness=config.averagedness)
        self.average = copy.deepcopy(self.model).eval()
        device = torch.device("cpu")
        photographs = Photographs(config.train, config.in_channels, config.patch)
        self.batches = Batches(config, photographs, device)
        images = read_folder(config.validation, config.in_channels)[: config.validation_images]
        self.validation = [image[:, :320, :320] for image in images]
        self.step, self.curve = 0, cast("list[dict[str, float]]", [])
        if self.checkpoint.is_file():
            self._restore()

    @cached_property
    def crops(self) -> RestoredCrops:
        """The restored crops, read when they are first needed."""
        return RestoredCrops.read(self.config.restored)

    @property
    def checkpoint(self) -> Path:
        """The file a run continues from."""
        return self.folder / "checkpoint.safetensors"

    def run(self) -> Iterator[float]:
        """Yield the loss of every step; evaluate and write a checkpoint where the config says so."""
        while self.step < self.config.steps:
            loss = self._advance()
            if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
                self.curve.append(self._evaluate())
                self.save()
            yield loss

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        rates = {
            "weight": config.weight_rate,
            "factors": config.threshold_rate,
            "logits": config.share_rate,
        }
        groups: dict[float, list[nn.Parameter]] = {
            config.mask_rate: list(self.model.mask.parameters())
        }
        for name, parameter in self.model.denoiser.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(rates[name.rpartition(".")[2]], []).append(parameter)
        return torch.optim.Adam(
            [{"params": parameters, "rate": rate} for rate, parameters in groups.items()],
            lr=0.0,
            betas=(0.9, 0.99),
        )

    def _advance(self) -> float:
        config, samples = self.config, self._samples()
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * _schedule(self.step, config.steps)
        free = self.step >= config.unfreeze
        for name, parameter in self.model.denoiser.named_parameters():
            parameter.requires_grad_(free and not name.endswith("tau"))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            maps = self.model.mask(samples.guide, samples.sigma, samples.dial)
        restored = self.model.shrink(samples.noisy, samples.sigma, maps)
        error = (restored - samples.clean).square().mean(dim=(1, 2, 3))
        loss = (samples.weight * error).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _samples(self) -> _Samples:
        config, batch = self.config, self.batches.at(self.step)
        generator = torch.Generator().manual_seed((config.seed * 7_919 + self.step) % 2**32)
        guide = self.model.plain(batch.noisy, batch.sigma)
        weight = noise_weight(batch.sigma)
        dial = torch.ones(len(weight))
        turned = torch.rand(len(dial), generator=generator) < config.dial_share
        dial = torch.where(turned, torch.rand(len(dial), generator=generator), dial)
        samples = _Samples(
            batch.clean, batch.noisy, guide, batch.sigma, weight, dial[:, None, None, None]
        )
        if config.restored and self.step >= config.unfreeze:
            chosen = torch.rand(len(weight), generator=generator) < config.restored_share
            for index in torch.nonzero(chosen).flatten().tolist():
                _replace(samples, index, self.crops, config.patch, generator)
        return samples

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, self.step / (self.step + 10))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)

    def _evaluate(self) -> dict[str, float]:
        proved = prove(self.average.denoiser)
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
        """Write checkpoint and curve, each atomically."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
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
        write_text(self.folder / "curve.json", json.dumps(self.curve, indent=1) + "\n")

    def _restore(self) -> None:
        with safe_open(self.checkpoint, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        stored, asked = json.loads(metadata["config"]), json.loads(json.dumps(asdict(self.config)))
        flat = _FLAT * min(stored["steps"], asked["steps"])
        if int(metadata["step"]) <= flat:  # no step so far depended on the length of the run
            stored["steps"] = asked["steps"]
        if stored != asked:
            raise ValueError(
                f"{self.checkpoint} belongs to another configuration: use another folder, or remove it"
            )
        self.model.load_state_dict(_part(tensors, "model."))
        self.average.load_state_dict(_part(tensors, "average."))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            states.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.step, self.curve = int(metadata["step"]), json.loads(metadata["curve"])


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, a constant rate, then a linear descent to 1 %."""
    left = (steps - step) / (steps * (1 - _FLAT))
    return min(1.0, (step + 1) / 100) * min(1.0, 0.01 + 0.99 * left)


def _replace(
    samples: _Samples, index: int, crops: RestoredCrops, patch: int, generator: Generator
) -> None:
    """Put a restored crop in the place of a sample."""
    clean, noisy, guide, sigma = crops.draw(patch, generator)
    samples.clean[index], samples.noisy[index], samples.guide[index] = clean, noisy, guide
    samples.sigma[index] = sigma
    samples.weight[index] = _USUAL / (guide - clean).square().mean().clamp(min=1e-5)
