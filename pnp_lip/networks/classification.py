r"""Training of a 1-Lipschitz classifier: an off-the-shelf optimiser, a post-step hook, a temperature.

Minimises the cross-entropy of :math:`T f(x)` (binary for one output). A 1-Lipschitz ``f`` cannot make
its margins large, so the temperature ``T`` says which margin is worth having. It belongs to the loss:
the network and its certificate do not contain it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip.constraints import Constraint, hold

__all__ = ["Fit", "temperature_loss", "train"]


@dataclass(frozen=True)
class Fit:
    """How to train.

    Attributes
    ----------
    epochs
        passes over the data.
    batch
        examples a step.
    rate
        largest learning rate of Adam; it falls to zero along a cosine.
    temperature
        ``T`` of the loss.
    constraint
        how the network is kept in its set.
    seed
        of the order of the examples.
    """

    epochs: int = 100
    batch: int = 256
    rate: float = 1e-2
    temperature: float = 20.0
    constraint: Constraint = "orthogonal"
    seed: int = 0


def temperature_loss(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of ``temperature * logits`` (``[B, K]``) for classes ``labels`` (``[B]``)."""
    if logits.shape[1] == 1:
        target = labels.to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(temperature * logits[:, 0], target)
    return functional.cross_entropy(temperature * logits, labels)


def train(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    fit: Fit,
    *,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> list[float]:
    """Train ``model`` in place on inputs ``x`` and classes ``labels``.

    Parameters
    ----------
    model
        holds networks of this package.
    x
        inputs ``[N, ...]``.
    labels
        classes ``[N]``.
    fit
        how.
    augment
        a random map of a batch of inputs to the one that is learned from.

    Returns
    -------
    list[float]
        The mean loss of every epoch.
    """
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=fit.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(fit.epochs, 1))
    generator = torch.Generator().manual_seed(fit.seed)
    handle = hold(model, optimizer, constraint=fit.constraint)
    losses = []
    for _ in range(fit.epochs):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        total = 0.0
        for part in order.split(fit.batch):
            batch = x[part] if augment is None else augment(x[part], generator)
            loss = temperature_loss(model(batch), labels[part], fit.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(part)
        schedule.step()
        losses.append(total / len(x))
    handle.remove()
    return losses
