r"""Networks of gradient steps between a lift and a readout, width and depth free.

.. math:: f = V \circ \Phi_L \circ \dots \circ \Phi_1 \circ Q, \qquad
          \Phi_\ell(z) = z - \tau_\ell W_\ell^\top \mathrm{relu}(W_\ell z + b_\ell)

1-Lipschitz in the Euclidean norm if :math:`\|Q\| \le 1`, :math:`\tau_\ell\|W_\ell\|^2 \le 2` and
:math:`\|V\| \le 1`, each as a whole matrix. With rows :math:`\|v_i\| \le 1` only, every output alone is
1-Lipschitz.

Theorem 3.1 of Murari, Furuya, Schönlieb, *Approximation theory for 1-Lipschitz ResNets*, NeurIPS 2025,
says that such networks *with free* :math:`Q` *and* :math:`V` which happen to be 1-Lipschitz are dense in
the scalar 1-Lipschitz functions on a compact set. The set held here is smaller: on the real line, the
piecewise affine :math:`f` of slope :math:`\pm 1` with :math:`f(0, 2, 3, 5) = 0, 2, 1, 3` is, exactly, no
member of it. That it is dense as well is our conjecture, not part of the theorem.
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn

from pnp_lip.layers import Constrained, GradientStep, Held

__all__ = ["FreeWidthNetwork", "Readout"]

#: What is held at most 1 in the readout: the norm of the matrix, or the norm of each row.
Readout = Literal["whole", "rows"]


class FreeWidthNetwork(nn.Module, Constrained):
    r"""The network of the module's formula; it maps ``[B, features]`` to ``[B, outputs]``.

    Every matrix starts with orthonormal rows or columns and every :math:`\tau` at 2, so the
    network starts dynamically isometric. Nothing is normalised in the forward pass: training keeps
    the constraint by :func:`pnp_lip.constraints.hold`.

    Parameters
    ----------
    features
        dimension of the input.
    width
        dimension of the state.
    depth
        number ``L`` of gradient steps.
    outputs
        number of outputs.
    hidden
        rows of each ``W``, ``width`` by default.
    readout
        which norm of the readout is held, see :data:`Readout`.
    learn_tau
        whether the step lengths are trained.

    Raises
    ------
    ValueError
        a size below 1, a negative depth, or an unknown readout.
    """

    def __init__(
        self,
        features: int,
        width: int,
        depth: int,
        outputs: int = 1,
        *,
        hidden: int | None = None,
        readout: Readout = "whole",
        learn_tau: bool = False,
    ) -> None:
        super().__init__()
        hidden = width if hidden is None else hidden
        if min(features, width, outputs, hidden) < 1 or depth < 0:
            raise ValueError(
                f"expected sizes of at least 1 and a depth of at least 0, got features={features}, "
                f"width={width}, outputs={outputs}, hidden={hidden}, depth={depth}"
            )
        if readout not in ("whole", "rows"):
            raise ValueError(f"readout must be 'whole' or 'rows', got {readout!r}")
        self.held_readout: Readout = readout
        self.lift = orthogonal_linear(features, width)
        self.steps = nn.ModuleList(GradientStep(width, hidden, tau=2.0) for _ in range(depth))
        self.readout = orthogonal_linear(width, outputs)
        for step in self.gradient_steps:
            step.tau.requires_grad_(learn_tau)

    @property
    def gradient_steps(self) -> list[GradientStep]:
        """The steps between lift and readout, the first applied first."""
        return [cast(GradientStep, step) for step in self.steps]

    @property
    def features(self) -> int:
        """Dimension of the input."""
        return self.lift.in_features

    @property
    def held(self) -> list[Held]:
        kind: Literal["matrix", "rows"] = "matrix" if self.held_readout == "whole" else "rows"
        return [Held(self.lift.weight, "matrix"), Held(self.readout.weight, kind)]

    def forward(self, x: Tensor) -> Tensor:
        z = self.lift(x)
        for step in self.steps:
            z = step(z)
        return self.readout(z)


def orthogonal_linear(inputs: int, outputs: int) -> nn.Linear:
    """An affine map whose matrix has orthonormal rows or columns, with zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
