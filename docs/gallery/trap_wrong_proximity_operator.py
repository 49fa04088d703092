r"""
Trap: a proximity operator that is none
=======================================

ADMM asks the physics for :math:`\mathrm{prox}_{\gamma f}(z)`, the solution of :math:`(I + \gamma
A^*A)x = z + \gamma A^*y`. Libraries have closed forms for some physics, and a closed form that is
wrong for one of them converges, too, to the solution of no problem that anybody stated. deepinv's
``Decolorize`` uses a truncated singular value decomposition and loses what is perpendicular to
the grey axis. The solvers check the equation that a proximity operator has to satisfy.
"""

import deepinv as dinv
import torch

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ADMM

truth = photograph("astronaut", size=64)
physics = dinv.physics.Decolorize()
y = physics(truth)

# %%
# The equation at deepinv's answer
# --------------------------------

z = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
x = physics.prox_l2(z, y, gamma=1.0)
left = x + physics.A_adjoint(physics.A(x))
right = z + physics.A_adjoint(y)
print(f"deepinv: (I + A*A) x and z + A*y differ by {(left - right).norm() / right.norm():.0%}")

# %%
# ADMM of this package does not use it
# ------------------------------------
# It inverts the operator itself and, where that is iterative, keeps the sum of all errors finite.

solution = ADMM(LipschitzDenoiser(3), sigma=0.02).solve(y, physics)
print(solution.plan.summary())
print(
    f"{solution.message}; the data are met to {(physics.A(solution.x) - y).norm() / y.norm():.1e}"
)
