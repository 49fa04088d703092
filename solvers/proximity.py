r"""The proximity operator of a Gaussian data term, :math:`(I + \gamma A^*WA)^{-1}(z + \gamma A^*Wy)`.

It is a closed form where deepinv diagonalises the physics; elsewhere it is computed by conjugate gradients,
in the k-th call with an error of at most :math:`c\,k^{-1.1}`: these errors are summable, which is what the
theorems about inexact proximity operators ask (Eckstein and Bertsekas 1992; Combettes 2004).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pnp_lip.solvers.growth import norms
from pnp_lip.solvers.images import to_native, to_real
from pnp_lip.solvers.linear_system import solve_shifted

__all__ = ["Diagonalised", "Inexact"]


class Diagonalised:
    r"""In closed form, for :math:`A = U S V^*` and ``W`` a multiple of the identity.

    With :math:`g = \gamma w s^2` it is
    :math:`z + V\,\mathrm{diag}(1 + g)^{-1}(\gamma w V^*A^*y - g V^*z)`, also where ``V`` has fewer
    columns than rows.

    Parameters
    ----------
    physics
        with ``V``, ``V_adjoint`` and a ``mask`` of its singular values.
    weight
        ``w``.
    pull
        :math:`A^*Wy`, as a real variable.
    is_complex
        whether images are complex.
    """

    def __init__(self, physics: Any, weight: float, pull: Tensor, is_complex: bool) -> None:
        self.physics, self.weight, self.is_complex = physics, weight, is_complex
        self.spectrum = physics.V_adjoint(to_native(pull, is_complex))

    def __call__(self, z: Tensor, gamma: float) -> Tensor:
        x = to_native(z, self.is_complex)
        mask = torch.as_tensor(self.physics.mask)
        values = mask.to(z.dtype) if mask.dtype == torch.bool else mask.abs()
        gains = gamma * self.weight * values.square()
        spectrum = (gamma * self.spectrum - gains * self.physics.V_adjoint(x)) / (1 + gains)
        return to_real(x + self.physics.V(spectrum))


class Inexact:
    """By conjugate gradients, each call started from the last result.

    Parameters
    ----------
    normal
        :math:`A^*WA`.
    pull
        :math:`A^*Wy`.
    error
        ``c`` relative to the size of the images.

    """

    def __init__(self, normal: Callable[[Tensor], Tensor], pull: Tensor, error: float) -> None:
        self.normal, self.pull, self.error = normal, pull, error
        self.calls = self._missed = 0
        self._parts: list[Inexact] = []
        self.size: Tensor | None = None
        self.last: Tensor | None = None

    def __call__(self, z: Tensor, gamma: float) -> Tensor:
        self.calls += 1
        self.size = norms(z) if self.size is None else self.size
        target = z + gamma * self.pull
        floor = 8 * torch.finfo(z.dtype).eps * norms(target)
        tolerance = torch.maximum(self.error * self.size * self.calls**-1.1, floor)
        start = z if self.last is None or self.last.shape != z.shape else self.last
        found, error = solve_shifted(lambda x: gamma * self.normal(x), target, start, tolerance)
        self._missed += bool((error > 4 * tolerance).any())
        self.last = found.detach()
        return found

    @property
    def missed(self) -> int:
        """Calls whose error could not be made as small as it has to be."""
        return self._missed + sum(part.missed for part in self._parts)

    def of(self, rows: list[int], normal: Callable[[Tensor], Tensor], pull: Tensor) -> Inexact:
        """The same for some images of the batch, which goes on where this one is."""
        part = Inexact(normal, pull, self.error)
        part.calls = self.calls
        part.size = None if self.size is None else self.size[rows]
        part.last = None if self.last is None else self.last[rows]
        self._parts.append(part)
        return part
