r"""How the guide of a guided denoiser is found: in stages, or in one loop with the image.

*Stages.* A plain solve, whose result is the guide of a second solve, and so on; within each the guide is
fixed.

*Adaptive.* One loop, in which the guide follows the image,

.. math:: z_{k+1} = z_k + \theta_k\,(x_{k+1} - z_k), \qquad
          \theta_k \in [0, 1], \quad \sum_k k\,\theta_k < \infty .

With a box of diameter ``d`` every ``z_k`` lies in the box, :math:`\|z_{k+1} - z_k\| \le \theta_k d`, and
the guides converge to some :math:`z_\infty`. The step with the guide of the moment differs from that
with :math:`z_\infty` by at most :math:`e_k = L_D\|z_k - z_\infty\| \le L_D\,d\sum_{j\ge k}\theta_j`, with
the constant in the guide :math:`L_D` (:func:`pnp_lip.certifier.guide_constant`), uniformly in the image:

.. math:: \sum_k e_k \le L_D\,d \sum_k (k + 1)\,\theta_k < \infty .

So the iterates are those of a Krasnosel'skii-Mann iteration of :math:`T_{z_\infty}` with summable
errors, and converge to one of its fixed points (Combettes 2001, theorem 5.5), which exist in a box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_lip.denoisers.fixed_guide import FixedGuide
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.moving_guide import MovingGuide
from pnp_lip.errors import InputError
from pnp_lip.solvers.images import Blocks, to_real

__all__ = ["Adaptive", "Following", "guide_named", "seen"]

#: Terms of the sums that are added one by one before the rest is bounded by an integral.
_TERMS = 1000


@dataclass(frozen=True)
class Adaptive:
    r"""A guide that follows the image, ever less.

    The guide moves at iterations ``every``, ``2 every``, ..., the ``j``-th time with
    :math:`\theta = \text{weight}\cdot j^{-\text{decay}}`, and not in between.

    Attributes
    ----------
    every
        iterations between two guides, each of which costs about two applications.
    weight
        of the image in the first one, in (0, 1].
    decay
        above 2, which makes :math:`\sum k\theta_k` finite.

    Raises
    ------
    InputError
        a value out of its range.
    """

    every: int = 5
    weight: float = 1.0
    decay: float = 2.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"expected at least 1 iteration between guides, got {self.every}")
        if not 0 < self.weight <= 1:
            raise InputError(f"expected a weight in (0, 1], got {self.weight}")
        if not (math.isfinite(self.decay) and self.decay > 2):
            raise InputError(
                f"expected a decay above 2, got {self.decay}: otherwise the sum of k theta_k is not "
                f"finite, and the errors of the moving guide need not be summable"
            )

    def theta(self, iteration: int) -> float:
        """The share of the image in the guide after this iteration, counted from 1."""
        times, rest = divmod(iteration, self.every)
        return 0.0 if rest or times == 0 else self.weight * float(times) ** -self.decay

    @property
    def total(self) -> float:
        r"""An upper bound of :math:`\sum_k k\,\theta_k`."""
        return self.every * self.weight * _tail(self.decay - 1, 1)

    def left(self, iteration: int) -> float:
        r"""An upper bound of :math:`\sum_{j>k}\theta_j` after iteration ``k``.

        So far the guide can still move, in diameters of the box.
        """
        return self.weight * _tail(self.decay, iteration // self.every + 1)


def _tail(power: float, first: int) -> float:
    r"""An upper bound of :math:`\sum_{j \ge \text{first}} j^{-p}`, ``p > 1``."""
    last = first + _TERMS
    direct = math.fsum(j**-power for j in range(first, last))
    return (direct + (last - 1) ** (1 - power) / (power - 1)) * (1 + 1e-12)


def guide_named(guide: str | Adaptive) -> Adaptive | None:
    """The rule of a moving guide, or ``None`` for stages.

    Raises
    ------
    InputError
        an unknown name.
    """
    if isinstance(guide, Adaptive):
        return guide
    if guide not in ("stages", "adaptive"):
        raise InputError(f"expected guide='stages', 'adaptive' or an Adaptive, got {guide!r}")
    return Adaptive() if guide == "adaptive" else None


def seen(
    guided: GuidedDenoiser, image: Tensor, sigma: float | Tensor
) -> tuple[Tensor, float | Tensor]:
    """An image of a physics as images ``[N, C, H, W]`` of the denoiser, with their noise levels.

    A complex image is two of them, a stack its slices.
    """
    w = to_real(image)
    return Blocks.of(guided, sigma, w).cut(w)


class Following:
    """A guide that follows the images of a loop.

    Parameters
    ----------
    guided
        computes maps from guides.
    guide
        the first one, as the physics has it.
    sigma
        noise level.
    rule
        how the guide moves.
    """

    def __init__(
        self, guided: GuidedDenoiser, guide: Tensor, sigma: float | Tensor, rule: Adaptive
    ) -> None:
        self.guided, self.guide, self.sigma, self.rule = guided, guide, sigma, rule
        self.denoiser = MovingGuide(self.fixed())

    def fixed(self) -> FixedGuide:
        """The denoiser with the guide of the moment."""
        return self.guided.at(*seen(self.guided, self.guide, self.sigma))

    def __call__(self, iteration: int, image: Tensor) -> None:
        """Move the guide towards the image after an iteration."""
        share = self.rule.theta(iteration)
        if share > 0 and bool(torch.isfinite(to_real(image)).all()):
            self.guide = torch.lerp(self.guide, image, share)
            self.denoiser.now = self.fixed()
