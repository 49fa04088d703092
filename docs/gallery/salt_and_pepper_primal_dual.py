r"""
Salt and pepper: a data term that lets a pixel be wrong
=======================================================

A tenth of the pixels is black or white, nobody knows which. The square of a large error pulls hard, its
modulus no harder than that of a small one:

.. math:: 0 \in (D^{-1} - I)x + \tau\,\partial\|x - y\|_1 .

The primal-dual method converges to a solution for a firmly nonexpansive denoiser, which the solver makes of
an averaged one and says so.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import outliers
from pnp_lip.solvers import PrimalDual

# %%
# The problem
# -----------

truth = photograph("camera", size=128)
y = outliers.salted(truth, share=0.1, seed=0)
problem = outliers.simulated(truth, y)
print(f"observation: {psnr(y, truth):.2f} dB")

# %%
# The plan and the restoration
# ----------------------------

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")
solver = PrimalDual(
    denoiser,
    outliers.strength(0.1),
    data_fidelity=problem.fidelity,
    stepsize=outliers.STEP,
    tol=1e-4,
)
solution = solver.solve(problem.y, problem.physics, init=problem.start)
print(solution.plan.summary())
print(f"{solution.message}: {psnr(solution.x, truth):.2f} dB")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes, (truth, y, solution.x), ("truth", "observation", "restoration"), strict=True
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
