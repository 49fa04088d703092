r"""
Trap: acceleration that stalls
==============================

Anderson acceleration extrapolates from the last residuals and saves most of the iterations.
Without a safeguard it may stall, and a regularisation in absolute numbers decides where: deepinv
adds 0.1 to the Gram matrix of the residuals, so once these are small, the extrapolation sees only
the regularisation. Here the correction is scale-free, and it is taken only while the sum of all
corrections stays finite. Then the theorem for inexact Krasnosel'skii-Mann iterations covers it,
and it can be on by default.
"""

import deepinv as dinv
import matplotlib.pyplot as plt
import torch

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers import Frozen
from pnp_lip.recipes import deblur
from pnp_lip.solvers import ForwardBackward

truth = photograph("camera", size=96)
problem = deblur.simulated(truth, deblur.motion_kernel(), noise=0.01, seed=0)
denoiser = LipschitzDenoiser(in_channels=1)
frozen = Frozen(denoiser, 0.0075)
iterations = 120


def residuals_of_deepinv(**options: object) -> list[float]:
    """Relative change of the image by one plain step, at every iterate of deepinv's loop."""
    data, changes = dinv.optim.L2(), []

    def step(x: torch.Tensor) -> torch.Tensor:
        return frozen(x - 1.9 * data.grad(x, problem.y, problem.physics))

    class Recording(dinv.models.Denoiser):
        def forward(self, x: torch.Tensor, sigma: object = None, **kwargs: object) -> torch.Tensor:
            new = frozen(x)
            changes.append(float((step(new) - new).norm() / new.norm()))
            return new

    algorithm = dinv.optim.PGD(
        data_fidelity=data,
        prior=dinv.optim.PnP(Recording()),
        stepsize=1.9,
        sigma_denoiser=0.0075,
        max_iter=iterations,
        **options,
    )
    algorithm(problem.y, problem.physics)
    return changes


# %%
# The same problem, step and denoiser
# -----------------------------------

curves = {
    "deepinv, plain": residuals_of_deepinv(),
    "deepinv, Anderson": residuals_of_deepinv(
        anderson_acceleration=dinv.optim.AndersonAccelerationConfig()
    ),
}
solution = ForwardBackward(denoiser, 0.0075, max_iter=iterations, tol=1e-6).solve(
    problem.y, problem.physics
)
curves["safeguarded Anderson"] = solution.residuals[:, 0].tolist()
for name, curve in curves.items():
    print(f"{name}: residual {curve[-1]:.1e} after {len(curve)} iterations")

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, curve in curves.items():
    axis.semilogy(curve, label=name)
axis.set(xlabel="iteration", ylabel="fixed-point residual")
axis.grid(alpha=0.3)
axis.legend()
figure.show()
