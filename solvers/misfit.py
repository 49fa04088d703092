r"""How far ``Ax`` is from the data, in units of what noise alone would be: 1 for the true image.

Of Gaussian noise of level ``s``

.. math:: \frac{\|Ax - y\|^2}{m s^2},

of counted photons, ``N`` at white, after Anscombe's root, which gives counts the variance 1 from about four
photons on (Anscombe 1948),

.. math:: \frac1m\sum_i \bigl(2\sqrt{N y_i + 3/8} - 2\sqrt{N (Ax)_i + 3/8}\bigr)^2 .

``m`` counts the measurements that see the image.
"""

from __future__ import annotations

import torch
from deepinv.physics import Physics
from torch import Tensor

from pnp_lip.solvers.measurements import Measurement, apply, noise_like, parts_of, size

__all__ = ["count_discrepancy", "discrepancy"]

_SHIFT = 0.375


def discrepancy(physics: Physics, x: Tensor, y: Measurement, noise: float | Tensor) -> float:
    r""":math:`\|Ax - y\|^2/(ms^2)` of a batch.

    Parameters
    ----------
    physics
        ``A``.
    x
        images ``[B, C, H, W]``.
    y
        their observations.
    noise
        ``s``, a number or one per image.
    """
    counted = _seen(physics, x)
    rest = apply(lambda a, b, s: (a - b) * s, physics.A(x), y, counted)
    level = torch.as_tensor(noise, dtype=torch.float64)
    return float((size(rest).square() / level.to(size(rest)).square()).sum() / _number(counted))


def count_discrepancy(physics: Physics, x: Tensor, y: Measurement, photons: float) -> float:
    r"""The same of photon counts.

    Parameters
    ----------
    physics, x
        as in :func:`discrepancy`.
    y
        counts over ``photons``.
    photons
        ``N``.
    """
    counted = _seen(physics, x)

    def difference(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        roots = (2 * (photons * part.clamp(min=0) + _SHIFT).sqrt() for part in (a, b))
        return (next(roots) - next(roots)) * s

    rest = apply(difference, physics.A(x), y, counted)
    return float(size(rest).square().sum() / _number(counted))


def _seen(physics: Physics, x: Tensor) -> Measurement:
    """1 for every measurement that some image reaches, else 0: of a random image none of these is zero."""
    drawn = noise_like(x, torch.Generator().manual_seed(0))
    return apply(lambda part: (part != 0).to(part.real.dtype), physics.A(drawn))


def _number(counted: Measurement) -> Tensor:
    return torch.as_tensor(
        sum(part.flatten(1).sum(1, dtype=torch.float64) for part in parts_of(counted))
    ).sum()
