r"""
Magnetic resonance imaging with a quarter of the lines, and when to stop
========================================================================

A scanner with several coils measures a quarter of the lines of k-space,

.. math:: y_c = M F S_c x + \text{noise}, \qquad c = 1, \dots, N.

The image :math:`x` is complex: the denoiser acts on its real and on its imaginary part, and stays
nonexpansive. The coil sensitivities :math:`S_c` are estimated from the lines in the middle, as for a
real scan.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.phantoms import phantom
from pnp_lip.quality import psnr
from pnp_lip.recipes import mri
from pnp_lip.solvers import ForwardBackward

# %%
# The scan
# --------
# Four coils, a quarter of the lines. ``observation`` is the image without the missing lines.

truth = phantom("tissue", size=128)
problem = mri.simulated(truth, acceleration=4, noise=0.005, seed=0, coils=4, estimate=True)
print(f"zero-filled: {psnr(problem.observation, truth):.2f} dB")

# %%
# The plan
# --------
# ``|A|`` is at most 1, because the squares of the estimated sensitivities sum to 1: proved, not measured.

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")


def solved(tol):
    solver = ForwardBackward(denoiser, sigma=mri.strength(0.005), box=problem.box, tol=tol)
    return solver.solve(problem.y, problem.physics, init=problem.start)


solution = solved(1e-5)
print(solution.plan.summary())

# %%
# When to stop
# ------------
# What was not measured comes in slowly, so a loose tolerance leaves decibels behind. The residual is that
# of a step of natural length, so that a shorter step does not look converged.

for tol in (1e-2, 1e-3, 1e-4, 1e-5):
    found = solved(tol)
    quality = psnr(problem.in_frame(found.x), truth)
    print(f"tolerance {tol:g}: {found.iterations} iterations, {quality:.2f} dB")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
magnitude = problem.in_frame(solution.x)
for axis, image, title in zip(
    axes,
    (truth, problem.observation, magnitude),
    ("truth", "zero-filled", "restoration"),
    strict=True,
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
