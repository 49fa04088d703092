r"""Certified lower bounds of the Wasserstein-1 distance, from a critic that is proved 1-Lipschitz.

Kantorovich and Rubinstein: :math:`W_1(P, Q) = \sup_{\mathrm{Lip}(f) \le 1} E_P f - E_Q f`. So every ``f``
whose constant is proved gives a lower bound, whatever training did. A critic held by an estimate of
its constant gives none. (Villani, *Optimal Transport*, 2009, remark 6.5.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pnp_lip.certifier import prove
from pnp_lip.networks.confidence import bernstein_interval, student_interval
from pnp_lip.networks.critic import CriticFit, evaluate, train_critic
from pnp_lip.networks.free_width import FreeWidthNetwork

__all__ = ["Wasserstein1", "wasserstein1"]

#: Fewest samples of each distribution.
_FEWEST = 4
#: Relative error of the means and of their difference.
_ULPS = 2.0**-50


@dataclass(frozen=True, eq=False)
class Wasserstein1:
    r"""What the critic shows.

    Attributes
    ----------
    value
        :math:`\frac1N\sum f(x_i) - \frac1M\sum f(y_j)` over all samples, divided by ``lipschitz``
        where that exceeds 1 and rounded down: a lower bound, without any probability, of the
        distance of the two *empirical* measures.
    interval
        for :math:`E_P f - E_Q f`, from the samples that training did not see. Its lower end
        bounds :math:`W_1(P, Q)` of the *distributions* from below with probability at least
        ``confidence``, if samples are independent and as far as ``method`` holds. The upper
        end bounds nothing but what this critic shows.
    confidence
        of the interval.
    method
        ``"student"``, asymptotic, for finite second moments; or ``"bernstein"``, for every sample
        size, given the diameter of the supports. See :mod:`pnp_lip.networks.confidence`.
    held_out
        how many samples of each distribution the interval rests on.
    lipschitz
        proved upper bound of the critic's constant.
    critic
        the network, float64 on the CPU, a member of the set of Theorem 3.1.
    """

    value: float
    interval: tuple[float, float]
    confidence: float
    method: Literal["student", "bernstein"]
    held_out: tuple[int, int]
    lipschitz: float
    critic: FreeWidthNetwork


def wasserstein1(
    x: Tensor,
    y: Tensor,
    *,
    fit: CriticFit | None = None,
    held_out: float = 0.2,
    confidence: float = 0.95,
    diameter: float | None = None,
    rng: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Wasserstein1:
    r"""Bound :math:`W_1` (Euclidean cost) between the laws of ``x`` and ``y`` from below.

    Memory and time of a training step do not depend on the number of samples.

    Parameters
    ----------
    x, y
        independent samples ``[N, d]`` and ``[M, d]``, at least 4 of each.
    fit
        the critic's size and training, by default :class:`CriticFit` as it is.
    held_out
        share of samples that training does not see.
    confidence
        of the interval, between 0 and 1.
    diameter
        of a set that is known to hold both distributions; it makes the interval hold for
        every sample size instead of asymptotically. In the units of ``x``.
    rng
        random numbers of split, start and batches; torch's own by default.
    device
        where the critic is trained. It is evaluated on the CPU.

    Raises
    ------
    ValueError
        samples that are misshapen, too few, or not finite, or an argument out of range.

    Examples
    --------
    >>> import torch
    >>> rng = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(400, 2, generator=rng), torch.randn(400, 2, generator=rng)
    >>> y[:, 0] += 3
    >>> found = wasserstein1(x, y, fit=CriticFit(steps=20), rng=rng)
    >>> 1 < found.value < 4
    True
    """
    _require_samples(x, y)
    _require_settings(held_out, confidence, diameter)
    generator = torch.Generator().manual_seed(_seed(rng))
    x, y = x.detach().cpu(), y.detach().cpu()
    (train_x, test_x), (train_y, test_y) = (_split(one, held_out, generator) for one in (x, y))
    critic = train_critic(
        train_x, train_y, fit or CriticFit(), seed=_seed(generator), device=torch.device(device)
    )
    proof = prove(critic, gap=1e-7)
    shrink = max(1.0, proof.upper)
    parts = [evaluate(critic, proof, one) for one in (train_x, test_x, train_y, test_y)]
    seen_x, new_x, seen_y, new_y = (values.tolist() for values, _ in parts)
    slack = 2 * max(error for _, error in parts)
    value = _difference(seen_x + new_x, seen_y + new_y)
    low, high = (
        student_interval(new_x, new_y, confidence)
        if diameter is None
        else bernstein_interval(new_x, new_y, confidence, diameter * shrink)
    )
    return Wasserstein1(
        value=_below((value - slack) / shrink),
        interval=(_below((low - slack) / shrink), _above((high + slack) / shrink)),
        confidence=confidence,
        method="student" if diameter is None else "bernstein",
        held_out=(len(test_x), len(test_y)),
        lipschitz=proof.upper,
        critic=critic,
    )


def _difference(x: list[float], y: list[float]) -> float:
    """Not above the difference of the means: sums and quotients are correctly rounded."""
    means = [math.fsum(values) / len(values) for values in (x, y)]
    return means[0] - means[1] - _ULPS * (abs(means[0]) + abs(means[1]))


def _below(value: float) -> float:
    return math.nextafter(value, -math.inf)


def _above(value: float) -> float:
    return math.nextafter(value, math.inf)


def _split(points: Tensor, held_out: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The samples for training and at least two others, drawn at random."""
    order = torch.randperm(len(points), generator=generator)
    count = min(max(2, round(held_out * len(points))), len(points) - 2)
    return points[order[count:]], points[order[:count]]


def _seed(rng: torch.Generator | None) -> int:
    device = "cpu" if rng is None else rng.device
    return int(torch.randint(2**62, (), generator=rng, device=device))


def _require_samples(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or x.shape[1] < 1:
        raise ValueError(
            f"expected samples of shape [N, d] and [M, d], got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if min(len(x), len(y)) < _FEWEST:
        raise ValueError(f"expected at least {_FEWEST} samples of each, got {len(x)} and {len(y)}")
    for name, points in (("x", x), ("y", y)):
        if not points.is_floating_point():
            raise ValueError(f"{name} must hold floating-point numbers, got {points.dtype}")
        if not torch.isfinite(points).all():
            raise ValueError(f"{name} contains NaN or infinity")


def _require_settings(held_out: float, confidence: float, diameter: float | None) -> None:
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must lie between 0 and 1, got {held_out}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if diameter is not None and not (diameter > 0 and math.isfinite(diameter)):
        raise ValueError(f"diameter must be positive and finite, got {diameter}")
