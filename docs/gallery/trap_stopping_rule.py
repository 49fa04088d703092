r"""
Trap: "converged" far from the solution
=======================================

Many programs stop when an iteration changes the image by little. A short stepsize changes the
image by little from the first iteration on. deepinv's rule, the relative change of the image,
then reports convergence at once, and a certificate of the algorithm does not help: it would
converge, but has not. Here the residual is measured against the step that the problem asks for,
so a tiny stepsize is not a small residual.
"""

import deepinv as dinv
import matplotlib.pyplot as plt
import torch

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.solvers import ForwardBackward

# %%
# The same problem with a long and a tiny step
# --------------------------------------------

truth = photograph("camera", size=64)
kernel = torch.ones(1, 1, 5, 5) / 25
physics = dinv.physics.BlurFFT((1, 64, 64), filter=kernel)
torch.manual_seed(0)
y = physics(truth) + 0.01 * torch.randn(truth.shape)


class Identity(dinv.models.Denoiser):
    """No denoising: the solution is known, only the way to it counts."""

    def forward(
        self, x: torch.Tensor, sigma: float | None = None, **kwargs: object
    ) -> torch.Tensor:
        return x


for stepsize in (1.0, 1e-6):
    algorithm = dinv.optim.PGD(
        data_fidelity=dinv.optim.L2(),
        prior=dinv.optim.PnP(Identity()),
        stepsize=stepsize,
        sigma_denoiser=0.01,
        max_iter=200,
        early_stop=True,
        thres_conv=1e-5,
    )
    x = algorithm(y, physics)
    left = float((physics.A(x) - y).norm() / y.norm())
    print(
        f"deepinv, stepsize {stepsize}: says converged={algorithm.has_converged}, |Ax - y| = {left:.1%}"
    )

# %%
# Here
# ----

images = {}
for stepsize in (1.0, 1e-6):
    solver = ForwardBackward(LipschitzDenoiser(1), 0.0075, stepsize=stepsize, max_iter=60)
    solution = solver.solve(y, physics)
    images[f"stepsize {stepsize:g}: {solution.status.name}"] = solution.x
    print(f"stepsize {stepsize:g}: {solution.message}, {psnr(solution.x, truth):.2f} dB")

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for axis, (title, image) in zip(axes, images.items(), strict=True):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
figure.show()
