r"""
Photon counts: a Poisson data term with primal-dual splitting
=============================================================

Few photons make noise that depends on the image. Its likelihood is no square; the primal-dual method

.. math:: x^+ = D(x - \tau A^\top u), \qquad
          u^+ = \mathrm{prox}_{\sigma g^*}\bigl(u + \sigma A(2x^+ - x)\bigr)

takes any convex data term :math:`g(Ax)`. It converges for a firmly nonexpansive denoiser ``D`` if
:math:`\tau\sigma\|A\|^2 < 1`, and the solver checks both.
"""

import matplotlib.pyplot as plt
import torch
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import BlurFFT

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.solvers import PrimalDual

# %%
# The problem
# -----------
# A blurred photograph of thirty photons in the brightest pixels.

truth = photograph("camera", size=96)
physics = BlurFFT((1, 96, 96), filter=torch.ones(1, 1, 3, 3) / 9)
gain = 1 / 30
rate = physics.A(truth).clamp(min=0) / gain
y = gain * torch.poisson(rate, generator=torch.Generator().manual_seed(0))
print(f"observation: {psnr(y, truth):.2f} dB")

# %%
# The plan and the restoration
# ----------------------------

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")
solver = PrimalDual(denoiser, sigma=0.07, data_fidelity=PoissonLikelihood(gain=gain), tol=1e-4)
solution = solver.solve(y, physics)
print(solution.plan.summary())
print(f"{solution.message}: {psnr(solution.x, truth):.2f} dB, {solution.iterations} iterations")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes, (truth, y, solution.x), ("truth", "photon counts", "restoration"), strict=True
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
