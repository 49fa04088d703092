r"""
Deblur with a guided denoiser
=============================

A guided denoiser is run in stages. A plain solve gives a first image, the *guide*. A small network reads
the guide and says where the denoiser should remove much and where little. The second solve keeps this
guide fixed, so its denoiser is one averaged map, and the convergence theorem applies to it as to the plain
solve.
"""

import matplotlib.pyplot as plt

from pnp_lip import GuidedDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.solvers import ForwardBackward

# %%
# A blurred photograph
# --------------------

noise = 0.01
clean = photograph("camera", 128)
problem = deblur.simulated(clean, deblur.motion_kernel(15), noise, seed=0)

# %%
# Two solves in one
# -----------------
# The solver does both. The report holds a plan for each stage, and the hash of the guide.

G = GuidedDenoiser(1)
solution = ForwardBackward(G, 0.6 * noise, box=(0, 1), tol=1e-4).solve(
    problem.y, problem.physics, init=problem.start
)
print(solution.summary())

# %%
# Plain and guided side by side
# -----------------------------

plain, guided = solution.stages[0].x, solution.x
panels = {"observed": problem.y, "plain": plain, "guided": guided, "true": clean}
figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
for axis, (name, image) in zip(axes, panels.items(), strict=True):
    quality = "" if name == "true" else f", {psnr(image, clean):.2f} dB"
    axis.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(name + quality)
    axis.set_axis_off()
figure.show()

# %%
# Where the guide asks for less
# -----------------------------
# The mean logarithm of the factors of all thresholds: dark where the denoiser shrinks little, at edges and
# textures, bright where it shrinks much.

fixed = G.at(plain, 0.6 * noise)
mean = sum(scale.log().sum(1) for scale in fixed.scales) / sum(s.shape[1] for s in fixed.scales)
figure, axis = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
axis.imshow(mean[0], cmap="gray")
axis.set_axis_off()
figure.show()
