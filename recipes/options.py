"""How a problem is solved: the options of a recipe, and the solver that they describe."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from deepinv.optim.data_fidelity import L2
from torch import Tensor, nn

from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.errors import InputError
from pnp_lip.recipes.networks import Network, network
from pnp_lip.recipes.problem import Problem, require_noise
from pnp_lip.solvers import (
    ADMM,
    Anderson,
    ForwardBackward,
    GuidedPlugAndPlay,
    PlugAndPlay,
    PrimalDual,
)

__all__ = ["SOLVERS", "Options", "network_of", "plain_solver", "solver_for"]

SOLVERS = ("forward-backward", "admm", "primal-dual")
#: Differences kept by the acceleration, and how many bytes they may take.
_MOST_KEPT, _LEAST_KEPT, _KEPT_BYTES = 10, 5, 2**30
#: Residual at which the plain stage of a guided solve stops: its image serves as a guide only.
_LOOSE = 1e-4


@dataclass(frozen=True)
class Options:
    """How to solve; the defaults of the command line.

    Attributes
    ----------
    sigma
        strength of the denoiser in [0, 1].
    solver
        one of :data:`SOLVERS`.
    stepsize
        ``None`` takes it from the theorem.
    max_iter, tol
        when to stop.
    device
        where to compute.
    seed
        of everything random.
    weights
        ``"default"``, ``"large"`` or a file; with ``guided`` ``"default"`` or a file.
    guided
        solve plainly, then once more with thresholds from that result.
    unproved
        run where no theorem applies; the report then claims none.
    verbose
        show a progress bar.
    """

    sigma: float
    solver: str = "forward-backward"
    stepsize: float | None = None
    max_iter: int = 300
    tol: float = 1e-5
    device: str = "cpu"
    seed: int = 0
    weights: str = "default"
    guided: bool = False
    unproved: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise InputError(
                f"unknown solver '{self.solver}': expected one of {', '.join(SOLVERS)}"
            )
        require_noise(self.sigma, "the strength of the denoiser")
        if self.max_iter < 1:
            raise InputError(f"expected at least one iteration, got max_iter={self.max_iter}")
        for name, value in (("tol", self.tol), ("stepsize", self.stepsize)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, got {value:g}")

        if self.guided and self.weights == "large":
            raise InputError(
                "the guided network has one size: leave out the weights, or name a file"
            )

    def memory_of(self, variable: Tensor) -> int:
        """Differences that the acceleration keeps, two images each: fewer of large images."""
        return int(min(_MOST_KEPT, max(_LEAST_KEPT, _KEPT_BYTES // (8 * variable.numel()))))

    def build(self, problem: Problem, denoiser: nn.Module, tol: float | None = None) -> PlugAndPlay:
        """The solver these options describe, for a problem, a denoiser and another tolerance."""
        shared: dict[str, Any] = {
            "stepsize": self.stepsize,
            "max_iter": self.max_iter,
            "tol": tol or self.tol,
            "unproved": self.unproved,
            "verbose": self.verbose,
            "scheme": Anderson(self.memory_of(problem.start)),
        }
        if self.solver == "primal-dual":
            fidelity = problem.fidelity or L2()
            return PrimalDual(denoiser, self.sigma, data_fidelity=fidelity, **shared)
        shared["data_fidelity"] = problem.fidelity
        if self.solver == "admm":
            return ADMM(denoiser, self.sigma, **shared)
        return ForwardBackward(denoiser, self.sigma, box=problem.box, **shared)


def plain_solver(problem: Problem, options: Options) -> PlugAndPlay:
    """The solver of ``problem`` with a denoiser without a guide; for volumes along three directions."""
    inner = network_of(problem, replace(options, guided=False)).denoiser
    return options.build(problem, VolumeDenoiser(inner) if problem.start.ndim == 5 else inner)


def solver_for(problem: Problem, options: Options) -> PlugAndPlay | GuidedPlugAndPlay:
    """The solver of ``problem``, guided or plain as the options say.

    Raises
    ------
    InputError
        a volume and a guided solve.
    """
    if not options.guided:
        return plain_solver(problem, options)
    if problem.start.ndim == 5:
        raise InputError("a volume has no guided solve: leave out --guided")
    build = partial(options.build, problem)
    guided = cast(GuidedDenoiser, network_of(problem, options).denoiser)
    return GuidedPlugAndPlay(guided, build, tol=options.tol, loose=max(_LOOSE, options.tol))


def network_of(problem: Problem, options: Options) -> Network:
    """The network that the options name, for the channels of the problem."""
    return network(problem.channels, options.weights, options.device, guided=options.guided)
