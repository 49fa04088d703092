"""Adam with a learning rate for each kind of parameter, and their schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from pnp_lip.constraints import FactoredFilters
from pnp_lip.training.config import TrainingConfig

__all__ = ["make_optimizer", "set_rates"]


def make_optimizer(
    model: nn.Module, factors: FactoredFilters | None, config: TrainingConfig
) -> torch.optim.Optimizer:
    """Adam with the rates of ``config`` for filters, thresholds and shares; factors replace filters."""
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


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    """The learning rates of a step: the largest ones of :func:`make_optimizer` times a schedule."""
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * _schedule(step, steps)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, then a cosine down to 1 % of the learning rate."""
    return min(1.0, (step + 1) / 100) * (0.505 + 0.495 * math.cos(math.pi * step / steps))
