"""How long a solve of a large image will take, and what it will hold in memory, said beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.recipes.networks import network
from pnp_lip.recipes.options import Options
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers.memory import maps_memory

__all__ = ["Estimate", "estimated"]

#: Numbers of an image from which on a solve is long enough for a word about it.
_LARGE = 3 * 2**20
#: Iterations of a deblurring to the default tolerance, see the page on quality.
_TYPICAL = 40
#: Side of the part on which the denoiser is timed.
_PART = 256
#: Images of the size of the variable that a solve holds besides what accelerates it: measured.
_HELD = 24


@dataclass(frozen=True)
class Estimate:
    """What a solve will take.

    Attributes
    ----------
    iteration
        seconds of one iteration, from a part of the image.
    memory
        bytes.
    most
        the most iterations.
    """

    iteration: float
    memory: float
    most: int

    def sentence(self) -> str:
        """For a person."""
        typical = min(_TYPICAL, self.most)
        return (
            f"a large image: about {_duration(self.iteration)} an iteration, as timed on a part of it, so "
            f"{_duration(typical * self.iteration)} for {typical} iterations, at most "
            f"{_duration(self.most * self.iteration)}; about {self.memory / 1e9:.1f} GB of memory"
        )


@torch.no_grad()
def estimated(problem: Problem, options: Options) -> Estimate | None:
    """The estimate for a large problem; ``None`` for one that takes no time worth a word."""
    variable = problem.start
    if variable.numel() < _LARGE:
        return None
    named = network(problem.channels, options.weights, options.device, guided=options.guided)
    maps, used = 0.0, named.denoiser
    if isinstance(used, GuidedDenoiser):  # whose applications take as long as plain ones
        maps, used = maps_memory(used, (*variable.shape[:2], *variable.shape[-2:]), 4), used.plain
    part = variable[..., :_PART, :_PART].contiguous()
    frozen: torch.nn.Module = Frozen(used, options.sigma)
    if variable.ndim == 5:
        part = part[:, :, :_PART]
        frozen = VolumeDenoiser(frozen)
    frozen(part, options.sigma)  # the first call is slower
    denoiser = _seconds(lambda: frozen(part, options.sigma)) * variable.numel() / part.numel()
    physics = _seconds(lambda: problem.physics.A_adjoint_A(variable))
    held = _HELD + 2 * options.memory_of(variable)
    return Estimate(denoiser + physics, 4.0 * held * variable.numel() + maps, options.max_iter)


def _seconds(action: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    result = action()
    if result.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
