r"""
Computed tomography from few photons, with weights
==================================================

Counts of photons :math:`n_i` on each ray become line integrals :math:`y_i = \log(n_0/n_i)`. A ray that few
photons passed is uncertain, and its term in the data fit is weighted by its count,

.. math:: f(x) = \tfrac12\sum_i \frac{n_i}{\max n}\,(Ax - y)_i^2 .
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.phantoms import phantom
from pnp_lip.quality import psnr
from pnp_lip.recipes import ct
from pnp_lip.solvers import ForwardBackward

# %%
# The scan
# --------
# Sixty views, three thousand photons on each ray. ``start`` is the filtered back-projection.

truth = phantom("tissue", size=96)
problem = ct.low_dose(truth, ct.evenly(60), photons=3000, seed=0)
print(f"filtered back-projection: {psnr(problem.start, truth):.2f} dB")

# %%
# The plan and the restoration
# ----------------------------
# The projection has no negative entry, so that its norm is bounded by one application to a positive image
# (Collatz and Wielandt): the plan names a theorem.

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")


def solved(fidelity):
    sigma = ct.strength(problem.noise, counted=True)
    solver = ForwardBackward(denoiser, sigma, data_fidelity=fidelity, box=(0.0, 1.0), tol=1e-4)
    return solver.solve(problem.y, problem.physics, init=problem.start)


weighted, plain = solved(problem.fidelity), solved(None)
print(weighted.plan.summary())
print(f"with weights: {psnr(weighted.x, truth):.2f} dB, {weighted.iterations} iterations")
print(f"without: {psnr(plain.x, truth):.2f} dB")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes,
    (truth, problem.start, weighted.x),
    ("truth", "filtered back-projection", "restoration"),
    strict=True,
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
