r"""Two moons: half circles :math:`(\cos t, \sin t)`, :math:`(1 - \cos t, \frac12 - \sin t)`, and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TwoMoons", "two_moons"]


@dataclass(frozen=True, eq=False)
class TwoMoons:
    """Points ``[N, 2]`` in units of the training set's standard deviations, and classes ``[N]``."""

    x: Tensor
    labels: Tensor
    test_x: Tensor
    test_labels: Tensor


def two_moons(
    count: int = 4000, held_out: int = 800, *, noise: float = 0.1, seed: int = 0
) -> TwoMoons:
    """``count`` points at equal angles of the two half circles, shuffled and standardised.

    Parameters
    ----------
    count
        number of points, half of them of each class.
    held_out
        how many of them are for testing.
    noise
        standard deviation of the Gaussian noise, in units of the circles' radius.
    seed
        of noise and order.

    Raises
    ------
    ValueError
        a split that leaves one side empty.
    """
    if not 0 < held_out < count:
        raise ValueError(f"held_out must lie between 0 and {count}, got {held_out}")
    generator = torch.Generator().manual_seed(seed)
    angles = [math.pi * torch.linspace(0, 1, n) for n in (count // 2, count - count // 2)]
    outer = torch.stack([angles[0].cos(), angles[0].sin()], dim=1)
    inner = torch.stack([1 - angles[1].cos(), 0.5 - angles[1].sin()], dim=1)
    points = torch.cat([outer, inner])
    labels = (torch.arange(count) >= len(outer)).long()
    points = points + noise * torch.randn(points.shape, generator=generator)
    order = torch.randperm(count, generator=generator)
    points, labels = points[order], labels[order]
    train = points[held_out:]
    points = (points - train.mean(0)) / train.std(0)
    return TwoMoons(points[held_out:], labels[held_out:], points[:held_out], labels[:held_out])
