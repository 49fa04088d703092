r"""Plug-and-Play with a guided denoiser: plain solve, guide, guided solve from there.

.. math:: x^0 = \mathrm{solve}(D_0), \qquad
          x^{j} = \mathrm{solve}(D_{z}) \;\text{ with } z = x^{j-1} \text{ fixed and from } x^{j-1}

Within each stage the guide does not move, so the denoiser of a stage is one averaged map and the
theorem of the method applies to it; each stage has its own plan, which says so. In place of the guided
stages there may be one loop whose guide follows the image (:mod:`pnp_lip.solvers.guide`), with its own
theorem. How the last image depends on the observation *through* the guide is not nonexpansive; a bound
is known where every stage contracts (:attr:`~pnp_lip.solvers.GuidedSolution.stability`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepinv.models import Reconstructor
from deepinv.physics import Physics
from torch import Tensor, nn

from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.solvers.guide import Adaptive, guide_named
from pnp_lip.solvers.guided_solution import GuidedSolution
from pnp_lip.solvers.measurements import Measurement
from pnp_lip.solvers.plug_and_play import PlugAndPlay
from pnp_lip.solvers.staging import LOOSE, Staging

__all__ = ["Build", "GuidedPlugAndPlay"]

#: A solver for a plain denoiser that stops at a tolerance.
Build = Callable[[nn.Module, float], PlugAndPlay]


class GuidedPlugAndPlay(Reconstructor):
    r"""A deepinv reconstructor that solves in stages, see the module.

    ``ForwardBackward(G, ...)`` and ``ADMM(G, ...)`` do the same with a guided denoiser ``G``; here the
    solver of every stage can be chosen.

    Parameters
    ----------
    denoiser
        the guided denoiser ``G``. The first stage uses ``G.plain``, the others ``G.at(z, s)``
        with the noise level ``s`` of their solver.
    build
        makes the solver of a stage from its denoiser and its tolerance.
    tol
        relative fixed-point residual of the last stage.
    loose
        that of the stages before it, whose images only serve as guides.
    guide
        ``"stages"``, or ``"adaptive"`` (or an :class:`~pnp_lip.solvers.Adaptive`) for one loop
        whose guide follows the image; that needs a solver that keeps images in a box.
    guide_updates
        number of guides of the stages, at least 1.

    Raises
    ------
    InputError
        a tolerance that is not positive, less than one guide, or an unknown ``guide``.

    Examples
    --------
    >>> import torch
    >>> from deepinv.physics import Denoising
    >>> from pnp_lip import GuidedDenoiser
    >>> from pnp_lip.solvers import ForwardBackward, GuidedPlugAndPlay
    >>> def build(denoiser, tol):
    ...     return ForwardBackward(denoiser, sigma=0.05, tol=tol, box=(0, 1))
    >>> solver = GuidedPlugAndPlay(GuidedDenoiser(1), build)
    >>> solution = solver.solve(torch.rand(1, 1, 16, 16), Denoising())
    >>> solution.guaranteed, len(solution.stages)
    (True, 2)
    """

    def __init__(
        self,
        denoiser: GuidedDenoiser,
        build: Build,
        *,
        tol: float = 1e-4,
        loose: float = LOOSE,
        guide: str | Adaptive = "stages",
        guide_updates: int = 1,
    ) -> None:
        super().__init__()
        follow = guide_named(guide)
        self.denoiser = denoiser
        self.staging = Staging(denoiser, build, tol, loose, guide_updates, follow)

    def forward(self, y: Measurement, physics: Physics, **kwargs: Any) -> Tensor:
        """The reconstruction ``[B, C, H, W]`` of the observation ``y``; see :meth:`solve`."""
        return self.solve(y, physics, **kwargs).x

    def solve(
        self,
        y: Measurement,
        physics: Physics,
        *,
        init: Tensor | None = None,
        norm: float | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
    ) -> GuidedSolution:
        r"""Solve plainly, then guided from there.

        Parameters
        ----------
        y
            observation ``[B, ...]``.
        physics
            a linear deepinv physics.
        init
            first image of the plain solve; the solver's own by default.
        norm
            an upper bound of :math:`\|A\|` that the caller vouches for.
        callback
            called with the iteration (from 1 in each stage) and the image.

        Returns
        -------
        GuidedSolution
            All stages; a stage that became infinite or NaN is the last one.

        Raises
        ------
        HypothesisViolated
            a hypothesis of a stage fails; the message says which and what to change.
        """
        return self.staging.solve(y, physics, init=init, norm=norm, callback=callback)
