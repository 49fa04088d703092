r"""Whether a physics is what the theorems assume: tried once, on seeded vectors.

* :math:`A` is linear;
* :math:`\langle Au, v\rangle = \langle u, A^*v\rangle`, and ``A_adjoint_A`` is :math:`A^*A`;
* :math:`\|Au\| \le U\|u\|` for the bound ``U`` that is used.

A random vector shows every deviation of a size that matters with probability one; what is tried
proves nothing, so this check can only withdraw a theorem.
"""

from __future__ import annotations

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from pnp_lip.solvers.measurements import Measurement, apply, inner, matches, noise_like, size
from pnp_lip.solvers.operator_norm import OperatorNorm

__all__ = ["physics_violations"]

#: Relative error that the arithmetic of a physics may have.
_TOLERANCE = 1e-3
#: Independent pairs (u, v), because one product may be small by chance.
_PAIRS = 4


def physics_violations(
    physics: LinearPhysics, x: Tensor, y: Measurement, norm: OperatorNorm
) -> list[str]:
    """What is wrong with ``physics`` on images like ``x`` and measurements like ``y``, in words.

    Parameters
    ----------
    physics
        what is to be tried.
    x
        images ``[B, ...]`` of the shape and type that ``A`` takes.
    y
        the observation.
    norm
        the bound of ``|A|`` that will be used.
    """
    generator = torch.Generator().manual_seed(0)
    u, other = (_draw(x, generator) for _ in range(2))
    image = physics.A(u)
    if not matches(image, y):
        return ["A does not give measurements of the shape of y: check img_size and the masks"]
    back = physics.A_adjoint(image)
    if back.shape != u.shape:
        return [
            f"A_adjoint gives images of shape {tuple(back.shape)}, but A took {tuple(u.shape)}: the "
            f"gradient of the data term cannot be computed"
        ]
    found = [
        _linearity(physics, u, other, image),
        _adjointness(physics, u, image, generator),
        _normal_operator(physics, u, back),
        _norm(physics, u, image, norm),
    ]
    return [violation for violation in found if violation]


def _draw(x: Tensor, generator: torch.Generator) -> Tensor:
    drawn = noise_like(x, generator)
    assert isinstance(drawn, Tensor)
    return drawn


def _linearity(physics: LinearPhysics, u: Tensor, v: Tensor, image: Measurement) -> str | None:
    other, both = physics.A(v), physics.A(u - 2 * v)
    defect = apply(lambda s, a, b: s - (a - 2 * b), both, image, other)
    if bool((size(defect) <= _TOLERANCE * (size(image) + 2 * size(other))).all()):
        return None
    return "A is not linear: A(u - 2v) differs from A(u) - 2A(v) on seeded vectors"


def _adjointness(
    physics: LinearPhysics, u: Tensor, image: Measurement, generator: torch.Generator
) -> str | None:
    worst = 0.0
    for _ in range(_PAIRS):
        v = noise_like(image, generator)
        error = (inner(image, v) - inner(u, physics.A_adjoint(v))).abs()
        worst = max(worst, float((error / size(image).clamp(min=1e-30)).max()))
    # <Au, v> is of the size of |Au| for a normal random v.
    if worst <= _TOLERANCE:
        return None
    return (
        f"A_adjoint is not the adjoint of A: <Au, v> and <u, A*v> differ by {worst:.2g} |Au| on seeded "
        f"vectors; use an exact adjoint (deepinv's adjoint_function, or adjoint_via_backprop=True)"
    )


def _normal_operator(physics: LinearPhysics, u: Tensor, back: Tensor) -> str | None:
    normal = physics.A_adjoint_A(u)
    if normal.shape != back.shape:
        return "A_adjoint_A gives images of another shape than A_adjoint after A"
    if bool((size(normal - back) <= _TOLERANCE * size(back)).all()):
        return None
    return "A_adjoint_A is not A_adjoint after A on seeded vectors: implement it, or leave it out"


def _norm(physics: LinearPhysics, u: Tensor, image: Measurement, norm: OperatorNorm) -> str | None:
    reached = float((size(image) / size(u)).max())
    if norm.source.proved:
        reached = max(reached, norm.value if norm.value > norm.upper else 0.0)
    if reached <= norm.upper * (1 + 1e-5):
        return None
    return (
        f"|A| <= {norm.upper:.6g} is wrong ({norm.source.value}): |Au| = {reached:.6g} |u| for a seeded "
        f"vector"
    )
