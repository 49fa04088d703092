r"""The data term :math:`f(x) = \frac{w}{2}\|Ax - y\|^2` of one observation, :math:`w = 1/s^2`.

.. math:: \nabla f(x) = w(A^\top A x - A^\top y), \qquad
          \mathrm{prox}_{\gamma f}(z) = (I + \gamma w A^\top A)^{-1}(z + \gamma w A^\top y)

:math:`A^\top y` is computed once.
"""

from __future__ import annotations

import math

import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import DecomposablePhysics, LinearPhysics, Physics
from torch import Tensor

__all__ = ["DataTerm"]


class DataTerm:
    """One observation under one linear physics, with a Gaussian fidelity.

    Args:
        y: observation ``[B, ...]``.
        physics: a deepinv linear physics.
        data_fidelity: a deepinv ``L2``; its ``sigma`` is the noise level :math:`s`.

    Raises:
        TypeError: the physics is not linear, or the fidelity is not ``L2``.
        ValueError: the observation is not finite.
    """

    def __init__(self, y: Tensor, physics: Physics, data_fidelity: L2 | None = None) -> None:
        if not isinstance(physics, LinearPhysics):
            raise TypeError(
                f"expected a linear deepinv physics, got {type(physics).__name__}: the theorems here "
                f"are about convex quadratic data terms"
            )
        fidelity = L2() if data_fidelity is None else data_fidelity
        if type(fidelity) is not L2:
            raise TypeError(f"expected deepinv's L2 data fidelity, got {type(fidelity).__name__}")
        if not torch.isfinite(y).all():
            raise ValueError(
                "the observation y contains NaN or infinity: replace these entries first"
            )
        self.physics = physics
        self.weight = float(fidelity.norm)
        self.y = y
        self.adjoint_of_y: Tensor = physics.A_adjoint(y)
        self._spectrum: Tensor | None = None

    @property
    def exact_prox(self) -> bool:
        """Whether :meth:`prox` is a closed form; otherwise conjugate gradients to ``physics.tol``."""
        return isinstance(self.physics, DecomposablePhysics)

    def gradient(self, x: Tensor) -> Tensor:
        r""":math:`\nabla f(x)`."""
        return self.weight * (self.physics.A_adjoint_A(x) - self.adjoint_of_y)

    def prox(self, z: Tensor, gamma: float) -> Tensor:
        r""":math:`\mathrm{prox}_{\gamma f}(z)`.

        With :math:`A = U S V^\top` and :math:`g = \gamma w s^2` it is
        :math:`z + V\,\mathrm{diag}(1 + g)^{-1}(\gamma w V^\top A^\top y - g V^\top z)`, also where
        ``V`` has fewer columns than rows.
        """
        scale = gamma * self.weight
        if not isinstance(self.physics, DecomposablePhysics):
            proximal: Tensor = self.physics.prox_l2(z, self.y, scale)
            return proximal
        if self._spectrum is None:
            self._spectrum = self.physics.V_adjoint(self.adjoint_of_y)
        gains = scale * torch.as_tensor(self.physics.mask).abs().square()
        spectrum = (scale * self._spectrum - gains * self.physics.V_adjoint(z)) / (1 + gains)
        proximal = z + self.physics.V(spectrum)
        return proximal

    def prox_residual(self, gamma: float = 1.0) -> float:
        r"""How far :meth:`prox` at :math:`z = A^\top y` is from its optimality condition.

        The relative size of :math:`p - z + \gamma\nabla f(p)`; zero in exact arithmetic.
        """
        z = self.adjoint_of_y
        p = self.prox(z, gamma)
        defect = torch.linalg.vector_norm(p - z + gamma * self.gradient(p))
        size = float(torch.linalg.vector_norm(z))
        return float(defect) / size if size > 0 and math.isfinite(size) else float(defect)
