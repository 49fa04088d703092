"""Peers on the problems of :mod:`benchmarks.problems`, each with one number to choose."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from deepinv.models import TVDenoiser
from deepinv.optim import L2, PDCP, L12Prior, TVPrior
from skimage.restoration import richardson_lucy
from torch import Tensor, nn

from benchmarks.harness import timed
from benchmarks.peer_models import RidgeDescent
from benchmarks.problem_methods import MOST, TOLERANCE, Restored
from benchmarks.problem_ridge import RIDGE_LEVEL, Regulariser, minimise
from pnp_lip.recipes.options import Options
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.operator_norm import operator_norm

__all__ = [
    "PEERS",
    "richardson",
    "ridge",
    "start",
    "tikhonov",
    "variation",
    "variation_by_gradients",
    "variation_of_counts",
]

#: Folder of the clones that :mod:`benchmarks.peer_models` names.
PEERS = Path(os.environ.get("PNP_LIP_PEERS", "peers"))
#: Primal step of total variation with a quadratic data term, and the most iterations.
_PRIMAL, _MOST_OF_PEERS = 10.0, 2000
#: The primal step where the data term enters by its gradient, in units of 1 / |A|^2; below 2.
_SHARE = 1.8
#: Unrolled steps in the training of CRR-NN.
_RIDGE_STEPS = 10
#: Pixels by which a periodic image is continued for a method that knows no periodic images.
_MARGIN = 32


@torch.no_grad()
def variation(problem: Problem, weight: float, tolerance: float = TOLERANCE) -> Restored:
    """Total variation with a quadratic data term: deepinv's primal-dual iteration to its fixed point."""
    differences, first = TVPrior(), problem.start
    solver = PDCP(
        K=differences.nabla,
        K_adjoint=differences.nabla_adjoint,
        data_fidelity=L2(),
        prior=L12Prior(l2_axis=-1),
        lambda_reg=weight,
        stepsize=_PRIMAL,
        stepsize_dual=1 / (8 * _PRIMAL),
        g_first=True,
        max_iter=_MOST_OF_PEERS,
        early_stop=True,
        thres_conv=tolerance,
        custom_init=lambda y, physics: {
            "est": (first, first, torch.zeros_like(differences.nabla(first)))
        },
    )
    seconds, found = timed(lambda: solver(problem.y, problem.physics))
    return problem.in_frame(found).clamp(0, 1), {"seconds": seconds}


@torch.no_grad()
def variation_by_gradients(
    problem: Problem, weight: float, tolerance: float = TOLERANCE
) -> Restored:
    r"""The same minimiser without the proximity operator of the data term, which projections do not have.

    .. math:: x^+ = x - \tau(\nabla f(x) + \nabla^\top u), \qquad
              u^+ = \mathrm{proj}_{|u| \le w}\big(u + \sigma\nabla(2x^+ - x)\big)

    with :math:`1/\tau - 8\sigma = \|A\|^2/2` (Condat 2013, Vũ 2013), on deepinv's differences.
    """
    differences, data = TVPrior(), DataTerm(problem.y, problem.physics)
    square = operator_norm(problem.physics, problem.start).upper ** 2
    tau, sigma = _SHARE / square, (1 / _SHARE - 0.5) * square / 8

    def iterate() -> tuple[Tensor, int]:
        x, u = problem.start, torch.zeros_like(differences.nabla(problem.start))
        for iteration in range(1, _MOST_OF_PEERS + 1):
            new = x - tau * (data.gradient(x) + differences.nabla_adjoint(u))
            u = u + sigma * differences.nabla(2 * new - x)
            u = u / (u.norm(dim=-1, keepdim=True) / weight).clamp(min=1)
            moved, x = float((new - x).norm()), new
            if moved <= tolerance * float(x.norm()):
                return x, iteration
        return x, _MOST_OF_PEERS

    seconds, (found, iterations) = timed(iterate)
    row = {"iterations": iterations, "seconds": seconds, "converged": iterations < _MOST_OF_PEERS}
    return problem.in_frame(found).clamp(0, 1), row


class _Variation(nn.Module):
    """deepinv's proximity operator of total variation, every call from the same start."""

    def __init__(self, channels: int, steps: int = 25) -> None:
        super().__init__()
        self.steps, self.in_channels = steps, channels

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        found: Tensor = TVDenoiser(n_it_max=self.steps)(x, sigma)
        return found


def variation_of_counts(problem: Problem, weight: float) -> Restored:
    """Total variation in our iteration for photons, whose hypotheses nobody checks for it."""
    options = Options(weight, "primal-dual", max_iter=MOST, tol=TOLERANCE, unproved=True)
    found = options.build(problem, _Variation(problem.channels))
    seconds, solution = timed(lambda: found.solve(problem.y, problem.physics, init=problem.start))
    row = {
        "iterations": solution.iterations,
        "seconds": seconds,
        "converged": solution.status.name == "CONVERGED",
    }
    return problem.in_frame(solution.x).clamp(0, 1), row


def ridge(problem: Problem, sigma: float) -> Restored:
    """The convex regulariser CRR-NN, made for noise ``sigma``."""
    regulariser = _regulariser()
    seconds, (found, steps, met) = timed(lambda: minimise(problem, regulariser, sigma))
    row = {"iterations": steps, "seconds": seconds, "converged": met}
    return problem.in_frame(found).clamp(0, 1), row


@cache
def _regulariser() -> Regulariser:
    return Regulariser(RidgeDescent(PEERS, RIDGE_LEVEL, _RIDGE_STEPS))


def start(problem: Problem, _: float) -> Restored:
    """The image that the iteration starts from."""
    return problem.observation.clamp(0, 1), {"iterations": 0, "seconds": 0.0}


def richardson(problem: Problem, steps: float) -> Restored:
    """Richardson and Lucy's iteration, stopped after some steps; the periodic image is continued for it."""
    kernel = np.array(problem.settings["kernel"])
    image = np.pad(problem.y[0, 0].double().numpy(), _MARGIN, mode="wrap")
    seconds, found = timed(lambda: richardson_lucy(image, kernel, num_iter=round(steps)))
    inner = found[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    pixels = torch.from_numpy(inner).float().clamp(0, 1)[None, None]
    return pixels, {"iterations": round(steps), "seconds": seconds}


def tikhonov(problem: Problem, gamma: float) -> Restored:
    """The minimiser of ``gamma |Ax - y|^2 + |x - mean(y)|^2``, by Fourier transforms."""
    mean = problem.y.mean(dim=(-2, -1), keepdim=True).expand_as(problem.start)
    seconds, found = timed(lambda: problem.physics.prox_l2(mean, problem.y, gamma))
    return found.clamp(0, 1), {"iterations": 0, "seconds": seconds}
