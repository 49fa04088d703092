"""What a Plug-and-Play solver is told: denoiser, strength, step, scheme, tolerance."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Literal, Self

import torch
from deepinv.models import Reconstructor
from deepinv.optim.data_fidelity import DataFidelity
from torch import Tensor, nn

from pnp_lip.certifier import Statement
from pnp_lip.errors import InputError
from pnp_lip.solvers.execution import real_type
from pnp_lip.solvers.guide import Adaptive, guide_named
from pnp_lip.solvers.hypotheses import proved
from pnp_lip.solvers.iteration import StoppingRule
from pnp_lip.solvers.schemes import Scheme, scheme_named
from pnp_lip.solvers.strength import Level

__all__ = ["Configured"]


class Configured(Reconstructor):
    r"""A deepinv reconstructor with the settings of a Plug-and-Play method.

    Parameters
    ----------
    denoiser
        a denoiser ``D(x, sigma)`` with rules known to the certifier.
    sigma
        noise level given to the denoiser, a number or one per image ``[B]``; without it
        ``strength`` times the noise that the physics states.
    strength
        share of the noise, see :mod:`pnp_lip.solvers.strength`; ``"auto"`` chooses it for each
        observation by the discrepancy principle.
    stepsize
        of the method; ``None`` takes it from the norm of the physics.
    data_fidelity
        deepinv's ``L2``, with weight 1 by default.
    max_iter
        most iterations.
    tol
        relative fixed-point residual at which to stop.
    scheme
        how steps are made: ``"anderson"``, ``"krasnoselskii-mann"``, ``"halpern"``, or an object
        of :mod:`pnp_lip.solvers.schemes`.
    anchor
        :math:`\rho` in [0, 1): iterate :math:`(1-\rho)T + \rho x_\mathrm{ref}`, which contracts for
        every physics, so that the solution is unique and its distance certified.
    kernels
        type of the folded kernels of a frozen denoiser; ``torch.bfloat16`` is faster and
        ends near a residual of 1e-3.
    differentiable
        let gradients flow through a call, by implicit differentiation at the fixed
        point; :meth:`solve` never has any.
    guide
        how a :class:`~pnp_lip.GuidedDenoiser` gets its guide: ``"stages"`` (plain solve, guide,
        guided solve), or ``"adaptive"`` for one loop whose guide follows the image, which needs a
        box; see :mod:`pnp_lip.solvers.guide`.
    guide_updates
        number of guides of the stages, at least 1.
    memory
        most bytes that the denoiser may need at once; larger images are denoised in tiles, which
        is the same function. A quarter of what is free by default.
    unproved
        run even though a hypothesis fails or cannot be checked. The plan then says so.
    verbose
        show a progress bar.

    Raises
    ------
    InputError
        a parameter out of range.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        sigma: float | Tensor | None = None,
        *,
        strength: float | Literal["auto"] | None = None,
        stepsize: float | None = None,
        data_fidelity: DataFidelity | None = None,
        max_iter: int = 300,
        tol: float = 1e-5,
        scheme: str | Scheme = "anderson",
        anchor: float = 0.0,
        kernels: torch.dtype | None = None,
        differentiable: bool = False,
        guide: str | Adaptive = "stages",
        guide_updates: int = 1,
        memory: float | None = None,
        unproved: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        if stepsize is not None and not (math.isfinite(stepsize) and stepsize > 0):
            raise InputError(
                f"stepsize must be positive, or None for the theorem's, got {stepsize}"
            )
        if memory is not None and not memory > 0:
            raise InputError(f"memory must be a positive number of bytes, got {memory}")
        if not 0 <= anchor < 1:
            raise InputError(f"anchor must lie in [0, 1), got {anchor}")
        self.denoiser = denoiser
        self.level = Level.of(sigma, strength)
        self.stepsize = stepsize
        self.data_fidelity = data_fidelity
        self.rule = StoppingRule(max_iter, tol, stop_on_growth=not unproved)
        self.scheme = scheme_named(scheme)
        self.anchor = anchor
        self.kernels = kernels
        self.differentiable = differentiable
        self.guide = guide_named(guide)
        self.guide_updates = guide_updates
        self.memory = memory
        self.unproved = unproved
        self.verbose = verbose

    @property
    def sigma(self) -> float | Tensor | None:
        """The noise level of the denoiser; ``None`` where it comes from the noise of the physics."""
        return self.level.sigma

    def altered(
        self,
        *,
        denoiser: nn.Module | None = None,
        sigma: float | Tensor | None = None,
        tol: float | None = None,
    ) -> Self:
        """The same solver with another denoiser, another level of it, or another tolerance."""
        other = copy.copy(self)
        other._modules = self._modules.copy()
        if denoiser is not None:
            other.denoiser = denoiser
        if sigma is not None:
            other.level = Level.of(sigma, None)
        if tol is not None:
            other.rule = replace(self.rule, tol=tol)
        return other

    def statement(self) -> Statement | None:
        """What is proved of the denoiser as it is now; ``None`` if there is no rule."""
        return proved(self.denoiser, real_type(self.denoiser) or torch.float32).statement
