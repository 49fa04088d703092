r"""
Super-resolution with forward-backward, and where a small pixel sits
====================================================================

A photograph is blurred by a Gaussian and every second pixel is kept,

.. math:: y[j] = \sum_i g\bigl(i - 2j - \tfrac12\bigr)\, x[i] + \text{noise},

so that a pixel of :math:`y` sits in the middle of the four that it stands for. The norm of this operator is
proved, so the plan names a convergence theorem.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import superresolve
from pnp_lip.solvers import ForwardBackward

# %%
# The problem
# -----------
# ``start`` is the small image enlarged by bicubic interpolation.

truth = photograph("camera", size=96)
problem = superresolve.simulated(truth, factor=2, noise=0.01, seed=0)
print(f"bicubic: {psnr(problem.start, truth):.2f} dB")

# %%
# The plan and the restoration
# ----------------------------

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")
solver = ForwardBackward(denoiser, sigma=superresolve.STRENGTH[2] * 0.01, box=(0.0, 1.0), tol=1e-4)
solution = solver.solve(problem.y, problem.physics, init=problem.start)
print(solution.plan.summary())
print(f"restoration: {psnr(solution.x, truth):.2f} dB after {solution.iterations} iterations")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes, (truth, problem.start, solution.x), ("truth", "bicubic", "restoration"), strict=True
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
