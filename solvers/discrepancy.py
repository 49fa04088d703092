r"""The strength of the denoiser by the discrepancy principle (Morozov 1966).

The image that was looked for leaves a residual of :math:`\|Ax - y\|^2 \approx m s^2`, with ``m`` the number
of measurements that see the image and ``s`` the noise. A stronger denoiser leaves more, so the strength is
a root of

.. math:: d(t) = \frac{\|A x_t - y\|^2}{m s^2} - \tau,

which a bracket and the secant in logarithms find in a few solves, each started from the image of the last.

The principle has a bias: fitting removes a part of the noise from the residual, one share of it for each
degree of freedom that the data decide. For :math:`\tau = 1` the images come out too smooth. On validation
images the best strengths left 0.2 to 0.9: the less, the less noise there is and the more detail. The
default, best in the mean there (``python -m benchmarks.strength``), goes from 0.55 at a noise of 0.01 to
0.8 at 0.05. For deblurring a fixed strength of 0.75 is as good; for super-resolution and inpainting, which
want more, the principle finds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from deepinv.physics import Physics
from torch import Tensor

from pnp_lip.errors import InputError
from pnp_lip.solvers.measurements import Measurement
from pnp_lip.solvers.misfit import discrepancy
from pnp_lip.solvers.root_search import RootSearch
from pnp_lip.solvers.solution import Solution
from pnp_lip.solvers.strength import DEFAULT_STRENGTH, required_noise
from pnp_lip.solvers.strength_choice import StrengthChoice

__all__ = ["TARGET", "default_target", "solve_by_discrepancy"]

#: Noise levels and the targets chosen for them on validation images.
_TARGETS = ((0.01, 0.55), (0.03, 0.75), (0.05, 0.8))
#: The target for a noise of which nothing but its size is known.
TARGET = 0.75
#: The residual that ends each solve of the search.
_LOOSE = 3e-4

_Self = TypeVar("_Self", bound="_Solver")


class _Solver(Protocol):
    """What is needed of a solver."""

    def altered(self: _Self, *, tol: float) -> _Self: ...

    def solve(
        self,
        y: Measurement,
        physics: Physics,
        *,
        init: Any = None,
        norm: float | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
    ) -> Solution: ...


def solve_by_discrepancy(
    build: Callable[[Any], _Solver],
    y: Measurement,
    physics: Physics,
    *,
    noise: float | Tensor | None = None,
    target: float | None = None,
    init: Any = None,
    norm: float | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
    misfit: Callable[[Tensor], float] | None = None,
    least: float | None = None,
) -> StrengthChoice:
    r"""Solve at the strength for which :math:`\|Ax - y\|^2 = \tau m s^2`.

    Parameters
    ----------
    build
        makes the solver for a noise level of the denoiser.
    y
        observation ``[B, ...]``; a batch gets one strength.
    physics
        a linear deepinv physics.
    noise
        standard deviation of the noise, a number or one per image; by default what the physics
        states.
    target
        :math:`\tau > 0`; :func:`default_target` of the noise by default.
    init
        as in ``solve``.
    norm
        as in ``solve``.
    callback
        as in ``solve``, called in the last solve only.
    misfit
        of an image, in place of :math:`\|Ax - y\|^2/(ms^2)`: for noise that is not Gaussian
        (:func:`pnp_lip.solvers.misfit.count_discrepancy`).
    least
        the least strength to try; an eighth of the noise by default.

    Returns
    -------
    StrengthChoice
        the last solve and how its strength came about.

    Raises
    ------
    InputError
        no noise level is known, or ``target`` is not positive.
    """
    level = required_noise(physics, noise)
    target = default_target(level) if target is None else target
    if not 0 < target < math.inf:
        raise InputError(f"expected a positive target, got {target}")
    left = misfit or (lambda x: discrepancy(physics, x, y, level))
    ends = {} if least is None else {"least": least}
    search, start = RootSearch(target, DEFAULT_STRENGTH, **ends), init
    while search.next is not None:
        solver = build(search.next * level).altered(tol=_LOOSE)
        solution = solver.solve(y, physics, init=start, norm=norm)
        start = solution.x
        search.add(left(start), solution.iterations)
    strength = search.root
    last = build(strength * level)
    solution = last.solve(y, physics, init=start, norm=norm, callback=callback)
    found, tries = left(solution.x), tuple(search.tries)
    return StrengthChoice(
        solution, strength * level, strength, level, target, found, search.met, tries
    )


def default_target(noise: float | Tensor) -> float:
    r""":math:`\tau` for a noise, linear between the logarithms of those for which it was chosen.

    Parameters
    ----------
    noise
        standard deviation; of several levels the mean counts.
    """
    levels, targets = zip(*_TARGETS, strict=True)
    level = float(torch.as_tensor(noise).mean())
    return float(np.interp(np.log(level), np.log(levels), targets))
