r"""The data term :math:`f(x) = \frac12\|Ax - y\|_W^2` of one observation, :math:`W = \mathrm{diag}(1/s^2)`.

.. math:: \nabla f(x) = A^*W(Ax - y), \qquad
          \mathrm{prox}_{\gamma f}(z) = (I + \gamma A^*WA)^{-1}(z + \gamma A^*Wy)

:math:`A^*Wy` is computed once. The proximity operator is that of :mod:`pnp_lip.solvers.proximity`.
"""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import TypeGuard

import torch
from deepinv.optim.data_fidelity import DataFidelity
from deepinv.physics import (
    MRI,
    BlurFFT,
    Decolorize,
    Demosaicing,
    Denoising,
    DynamicMRI,
    Inpainting,
    LinearPhysics,
    Physics,
    SinglePixelCamera,
)
from deepinv.utils import TensorList
from torch import Tensor

from pnp_lip.errors import PnpLipError
from pnp_lip.solvers.images import to_native, to_real
from pnp_lip.solvers.measurements import Measurement, apply, parts_of
from pnp_lip.solvers.noise_weights import DataTermError, noise_weights
from pnp_lip.solvers.proximity import Diagonalised, Inexact
from pnp_lip.solvers.stock import is_stock

__all__ = ["DataTerm", "DataTermError", "ObservationError"]

_DIAGONALISED = (
    *(Denoising, Inpainting, Demosaicing, Decolorize, BlurFFT, MRI, DynamicMRI, SinglePixelCamera),
)


class ObservationError(PnpLipError, ValueError):
    """An observation that cannot be used."""


class DataTerm:
    """One observation under one linear physics, with a Gaussian fidelity.

    Variables are real: complex images ``[B, ...]`` stand as ``[B, 2, ...]``.

    Parameters
    ----------
    y
        observation ``[B, ...]``, or a deepinv ``TensorList`` of them. Integers and truth values
        become ``dtype``, and so do other real types if ``dtype`` is given.
    physics
        a deepinv linear physics.
    data_fidelity
        a deepinv ``L2``, whose ``sigma`` is the noise level :math:`s`: a number, one per
        image, or one per entry of ``y``; for stacked physics a ``StackedPhysicsDataFidelity`` of them.
    dtype
        the real type to compute in.
    prox_error
        ``c`` relative to the size of the images. A residual below it says nothing about a
        map that contains the proximity operator.

    Attributes
    ----------
    weight, smallest_weight
        the extreme entries of ``W``.
    adjoint_of_y
        :math:`A^*y`, as a real variable.

    Raises
    ------
    DataTermError
        the physics is not linear, or the fidelity is not ``L2``.
    ObservationError
        the observation is not finite.
    """

    def __init__(
        self,
        y: Measurement,
        physics: Physics,
        data_fidelity: DataFidelity | None = None,
        *,
        dtype: torch.dtype | None = None,
        prox_error: float = 1e-6,
    ) -> None:
        if not isinstance(physics, LinearPhysics):
            raise DataTermError(
                f"expected a linear deepinv physics, got {type(physics).__name__}: the theorems here "
                f"are about convex data terms of linear operators"
            )
        self.physics = physics
        self.y = apply(lambda part: _finite(part, dtype), y)
        self._weights = noise_weights(data_fidelity, self.y)
        self.weight = max(float(torch.as_tensor(w).max()) for w in self._weights)
        self.smallest_weight = min(float(torch.as_tensor(w).min()) for w in self._weights)
        back = physics.A_adjoint(self.y)
        self.is_complex = back.is_complex()
        self.adjoint_of_y: Tensor = to_real(back)
        self._pull = (
            self.weight * self.adjoint_of_y
            if self.scalar
            else to_real(physics.A_adjoint(self._weighted(self.y)))
        )
        self.prox_error = prox_error

    @property
    def scalar(self) -> bool:
        """Whether ``W`` is a multiple of the identity."""
        return all(isinstance(w, float) and w == self._weights[0] for w in self._weights)

    @property
    def exact_prox(self) -> bool:
        """Whether :meth:`prox` is a closed form."""
        return type(self.physics) in _DIAGONALISED and is_stock(self.physics) and self.scalar

    @property
    def formula(self) -> str:
        """``f(x)`` in words."""
        return "|A x - y|^2 / 2" if self.scalar and self.weight == 1 else "|A x - y|_W^2 / 2"

    def native(self, w: Tensor) -> Tensor:
        """The image that a real variable stands for."""
        return to_native(w, self.is_complex)

    def normal(self, w: Tensor) -> Tensor:
        r""":math:`A^*WAw`."""
        x = self.native(w)
        if self.scalar:
            return to_real(self.weight * self.physics.A_adjoint_A(x))
        return to_real(self.physics.A_adjoint(self._weighted(self.physics.A(x))))

    def gradient(self, w: Tensor) -> Tensor:
        r""":math:`\nabla f(w)`."""
        if self.scalar:
            seen = to_real(self.physics.A_adjoint_A(self.native(w)))
            return self.weight * (seen - self.adjoint_of_y)
        return self.normal(w) - self._pull

    @cached_property
    def prox(self) -> Diagonalised | Inexact:
        r""":math:`(z, \gamma) \mapsto \mathrm{prox}_{\gamma f}(z)`."""
        if self.exact_prox:
            return Diagonalised(self.physics, self.weight, self._pull, self.is_complex)
        return Inexact(self.normal, self._pull, self.prox_error)

    @property
    def missed(self) -> int:
        """Calls of :meth:`prox` whose error could not be made as small as it has to be."""
        prox = vars(self).get("prox")
        return prox.missed if isinstance(prox, Inexact) else 0

    def of(self, rows: list[int]) -> DataTerm | None:
        """That of some images of the batch; ``None`` where the observation is not one for each image."""
        count = len(self.adjoint_of_y)
        if any(len(part) != count for part in parts_of(self.y)):
            return None
        part = copy.copy(self)
        part.y = apply(lambda observed: observed[rows], self.y)
        part._weights = [w[rows] if _is_batch(w, count) else w for w in self._weights]
        part.adjoint_of_y, part._pull = self.adjoint_of_y[rows], self._pull[rows]
        prox = vars(part).pop("prox", None)
        if isinstance(prox, Inexact):
            part.prox = prox.of(rows, part.normal, part._pull)
        return part

    def prox_residual(self, gamma: float = 1.0) -> float:
        r"""How far :meth:`prox` at :math:`z = A^*Wy` is from its optimality condition.

        The relative size of :math:`p - z + \gamma\nabla f(p)`; zero in exact arithmetic.
        """
        z = self.adjoint_of_y
        p = self.prox(z, gamma)
        defect = torch.linalg.vector_norm(p - z + gamma * self.gradient(p))
        size = float(torch.linalg.vector_norm(z))
        return float(defect) / size if size > 0 and math.isfinite(size) else float(defect)

    def _weighted(self, y: Measurement) -> Measurement:
        """``W y``."""
        if isinstance(y, Tensor):
            return self._weights[0] * y
        pairs = zip(self._weights, parts_of(y), strict=True)
        return TensorList([weight * part for weight, part in pairs])


def _is_batch(weight: float | Tensor, count: int) -> TypeGuard[Tensor]:
    return isinstance(weight, Tensor) and weight.ndim > 0 and len(weight) == count > 1


def _finite(part: Tensor, dtype: torch.dtype | None) -> Tensor:
    if not part.is_complex() and (dtype is not None or not part.is_floating_point()):
        part = part.to(dtype or torch.get_default_dtype())
    if not bool(torch.isfinite(part).all()):
        raise ObservationError(
            "the observation y contains NaN or infinity: replace these entries first"
        )
    return part
