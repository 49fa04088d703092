r"""
Trap: a stepsize from the power method
======================================

Forward-backward converges for :math:`\gamma < 2/\|A\|^2`. The usual way to the norm is a power
method, which approaches it *from below*: a stepsize computed from it may be too long. How far
below depends on when it stops. deepinv's ``compute_sqnorm`` stops at an *absolute* change of
:math:`10^{-3}`, which a physics with small numbers, say counts scaled down or a detector of low
gain, meets at once.
"""

import deepinv as dinv
import matplotlib.pyplot as plt
import torch

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ForwardBackward, operator_norm

# %%
# A blur whose kernel sums to 0.01
# --------------------------------

truth = photograph("camera", size=96)
gain = 0.01
kernel = gain * torch.ones(1, 1, 5, 5) / 25
physics = dinv.physics.BlurFFT((1, 96, 96), filter=kernel)
torch.manual_seed(0)
y = physics(truth) + gain * 0.01 * torch.randn(truth.shape)

estimated = physics.compute_sqnorm(torch.randn(truth.shape), verbose=False).item()
norm = operator_norm(physics, truth)
print(f"squared norm by the power method {estimated:.2e}, proved at most {norm.upper**2:.3e}")

# %%
# deepinv's loop with the usual rule diverges, or would have to be lucky.

denoiser = LipschitzDenoiser(in_channels=1)
gradient = dinv.optim.L2()
x, norms = physics.A_adjoint(y) / estimated, []
with torch.no_grad():
    for _ in range(30):
        x = denoiser(x - gradient.grad(x, y, physics) / estimated, 0.0075)
        norms.append(float(x.norm()))
print(
    f"after 30 iterations the image has norm {norms[-1]:.1e}, the photograph {float(truth.norm()):.1e}"
)

# %%
# Here
# ----
# The norm is proved from the Fourier coefficients of the kernel, the step follows from it, and
# the plan says so.

solver = ForwardBackward(denoiser, sigma=0.0075)
solution = solver.solve(y, physics)
print(solution.plan.summary())
print(solution.message)

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].semilogy(norms)
axes[0].set(title="norm of the image, stepsize from the power method", xlabel="iteration")
axes[0].axhline(float(truth.norm()), color="grey", linestyle=":")
axes[1].imshow(solution.x[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
axes[1].set_title("with the proved norm")
axes[1].set_axis_off()
figure.show()
