r"""
Demosaicing: three colours from one number a pixel
==================================================

A sensor sees red, green or blue in each pixel. The colour denoiser fills in the two others: it knows that
edges of the three colours lie in the same places.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import demosaic
from pnp_lip.solvers import ForwardBackward

# %%
# The mosaic
# ----------
# ``start`` is the bilinear interpolation of each colour.

truth = photograph("astronaut", size=96)
problem = demosaic.simulated(truth, noise=0.005, seed=0)
print(f"bilinear: {psnr(problem.start, truth):.2f} dB")

# %%
# The plan and the restoration
# ----------------------------

denoiser = LipschitzDenoiser(in_channels=3, pretrained="default")
solver = ForwardBackward(denoiser, demosaic.strength(0.005), box=(0.0, 1.0), tol=1e-4)
solution = solver.solve(problem.y, problem.physics, init=problem.start)
print(solution.plan.summary())
print(f"{solution.message}: {psnr(solution.x, truth):.2f} dB")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes, (truth, problem.start, solution.x), ("truth", "bilinear", "restoration"), strict=True
):
    axis.imshow(image[0].clamp(0, 1).permute(1, 2, 0))
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
