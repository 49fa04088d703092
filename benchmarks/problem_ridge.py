r"""Inverse problems with the convex ridge regulariser CRR-NN (Goujon et al. 2023), solved to its minimiser.

.. math:: \min_x \tfrac12\|Ax - y\|^2 + s^2 R(x/s), \qquad \nabla R(x) = \lambda W^\top\varphi(\mu Wx),

``s`` the noise level over that of the training: with ``A = I`` the denoiser :math:`x \mapsto sD(x/s)`.
The Hessian is at most :math:`\|A\|^2 + \lambda\mu W^\top\mathrm{diag}(\max\varphi')W`. That is large,
about 44 for the published model, but only at the frequencies that ``W`` passes. So a gradient is divided by
a bound for each frequency, and Nesterov's accelerated steps are restarted where they go uphill (O'Donoghue
and Candès 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.peer_models import RidgeDescent
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers.data_term import DataTerm
from pnp_lip.solvers.operator_norm import operator_norm

__all__ = ["RIDGE_LEVEL", "RIDGE_TOLERANCE", "Regulariser", "minimise"]

#: Noise level of the training, of 255.
RIDGE_LEVEL = 25
#: Norm of the gradient at which a solve ends, relative to that of the image; and the most steps.
RIDGE_TOLERANCE, _MOST = 1e-4, 2000
#: Steps of the power method that finds how far the borders exceed the bound of each frequency, its margin.
_POWER, _MARGIN = 40, 1.02


class Regulariser:
    """``s^2 R(x / s)`` of a trained model, each channel by itself.

    Parameters
    ----------
    model
        from the clone of its authors' repository.
    """

    def __init__(self, model: RidgeDescent) -> None:
        self.model = model
        values, grid = (model.ridge.get_buffer(name) for name in ("values", "grid"))
        rises = values.diff(dim=1)
        self._first, self._spacing, self._knots = grid[0], grid[1] - grid[0], len(grid)
        self._offsets = self._knots * torch.arange(len(values), dtype=torch.int32)[:, None, None]
        self._values = values.flatten()
        self._rises = torch.nn.functional.pad(rises, (0, 1)).flatten()
        self._slopes = (rises.amax(1) / self._spacing)[:, None, None]

    def gradient(self, x: Tensor, s: float) -> Tensor:
        r""":math:`s\lambda W^\top\varphi(\mu Wx/s)`, each channel by itself, with one look-up."""
        model = self.model
        z = model.ridge.analyse(x.reshape(-1, 1, *x.shape[-2:]) * (model.scale / s))
        position = ((z - self._first) / self._spacing).clamp_(0, self._knots - 1.001)
        left = position.to(torch.int32)
        share = position.sub_(left)
        index = left.add_(self._offsets).flatten()
        low, rise = (table[index].view_as(z) for table in (self._values, self._rises))
        return model.strength * s * model.ridge.synthesise(low + share * rise).reshape(x.shape)

    def steepest(self, x: Tensor) -> Tensor:
        """The Hessian where all slopes are largest, applied to a grey image."""
        ridge = self.model.ridge
        image = ridge.synthesise(self._slopes * ridge.analyse(x))
        return self.model.strength * self.model.scale * image

    def symbol(self, height: int, width: int) -> Tensor:
        """Of :meth:`steepest` on a periodic image, at the frequencies of ``rfft2``."""
        reach = sum(kernel.shape[-1] // 2 for kernel in self.model.ridge.kernels)
        impulse = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1)
        impulse[..., reach, reach] = 1
        passed = torch.fft.rfft2(self.model.ridge.analyse(impulse)[0], s=(height, width))
        total = (self._slopes * passed.abs().square()).sum(0)
        return self.model.strength * self.model.scale * total


class _Steps:
    """Division by a bound of the Hessian for each frequency."""

    def __init__(self, regulariser: Regulariser, norm: float, height: int, width: int) -> None:
        self._bound = norm**2 + regulariser.symbol(height, width)
        # Images are not periodic: what the borders add is measured.
        u = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))
        for _ in range(_POWER):
            u = u / torch.linalg.vector_norm(u)
            u = self(norm**2 * u + regulariser.steepest(u))
        self._bound = _MARGIN * float(torch.linalg.vector_norm(u)) * self._bound

    def __call__(self, gradient: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(gradient) / self._bound, s=gradient.shape[-2:])


@torch.no_grad()
def minimise(
    problem: Problem, regulariser: Regulariser, sigma: float, tolerance: float = RIDGE_TOLERANCE
) -> tuple[Tensor, int, bool]:
    """The minimiser with a regulariser for noise ``sigma``, steps, and whether the tolerance was met."""
    data = DataTerm(problem.y, problem.physics)
    norm = operator_norm(problem.physics, problem.start).upper
    shorten = _Steps(regulariser, norm, *problem.start.shape[-2:])
    s = 255 * sigma / RIDGE_LEVEL
    x, z, t = problem.start, problem.start, 1.0
    for iteration in range(1, _MOST + 1):
        gradient = data.gradient(z) + regulariser.gradient(z, s)
        new = z - shorten(gradient)
        moved = new - x
        restart = float((gradient * moved).sum()) > 0
        following = 1.0 if restart else (1 + (1 + 4 * t * t) ** 0.5) / 2
        z = new if restart else new + (t - 1) / following * moved
        x, t = new, following
        if float(gradient.norm()) <= tolerance * float(x.norm()):
            return x, iteration, True
    return x, _MOST, False
