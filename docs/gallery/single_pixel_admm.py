r"""
A single-pixel camera: a quarter of the patterns, with ADMM
===========================================================

A detector without pixels sees the scene through one pattern after another,
:math:`y_i = \langle p_i, x\rangle + \text{noise}`. With a quarter of the Hadamard patterns the problem
has four unknowns for each number. The patterns are orthogonal, so that the proximity operator of the data
term is a closed form and ADMM needs no inner iteration.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import single_pixel
from pnp_lip.solvers import ADMM

# %%
# The problem
# -----------

truth = photograph("coins", size=128)
problem = single_pixel.simulated(truth, share=0.25, noise=0.005, seed=0)
print(f"{problem.settings['patterns']} numbers for {truth.numel()} pixels")
print(f"least squares: {psnr(problem.start, truth):.2f} dB")

# %%
# The plan and the restoration
# ----------------------------

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")
solver = ADMM(denoiser, single_pixel.strength(0.005), tol=1e-4)
solution = solver.solve(problem.y, problem.physics, init=problem.start)
print(solution.plan.summary())
print(f"{solution.message}: {psnr(solution.x, truth):.2f} dB")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes, (truth, problem.start, solution.x), ("truth", "least squares", "restoration"), strict=True
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
