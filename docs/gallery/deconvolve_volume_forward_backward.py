r"""
Deconvolving a volume, with a denoiser along three families of planes
=====================================================================

A microscope records a volume slice by slice, blurred most along its axis. The blur :math:`A` is known from
the optics, or from the image of a bead. The denoiser of images acts on every plane perpendicular to each of
the three axes, and the results are averaged:

.. math:: D_3 = \tfrac13\,(D_z + D_y + D_x).

An average of nonexpansive maps is nonexpansive, so the certificate of :math:`D` covers :math:`D_3`, and the
convergence theorem of forward-backward applies to volumes as it does to images.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser, VolumeDenoiser, certify
from pnp_lip.data.cells import cells
from pnp_lip.data.psf import Optics
from pnp_lip.quality import psnr
from pnp_lip.recipes import deconvolve
from pnp_lip.recipes.sections import crossing, sections
from pnp_lip.solvers import ForwardBackward

# %%
# Cells and optics
# ----------------
# The volume is made here. The point spread function is that of a dry objective of aperture 0.7, computed by
# scalar diffraction; lengths are in nanometres.

truth = cells((16, 64, 64), seed=3)
kernel = Optics(wavelength=520, aperture=0.7, pixel=260, step=1000, index=1.0).kernel()
problem = deconvolve.simulated(truth, kernel, noise=0.02, seed=0)
print(f"kernel {tuple(kernel.shape[2:])}, observation {psnr(problem.y, truth):.2f} dB")

# %%
# What is proved
# --------------
# The statement about the average is that of the denoiser of images, averagedness included.

denoiser = VolumeDenoiser(LipschitzDenoiser(in_channels=1, pretrained="default"))
certificate = certify(denoiser)
print(f"Lip(D) <= {certificate.upper}, averagedness {certificate.averagedness:.4f}")

solver = ForwardBackward(denoiser, sigma=0.6 * 0.02, tol=1e-3)
solution = solver.solve(problem.y, problem.physics)
print(solution.plan.summary())

# %%
# The restoration
# ---------------
# Three planes through the same voxel: rows and columns, below them the slices, where the blur was worst.

print(solution.message)
print(f"{psnr(solution.x, truth):.2f} dB after {solution.iterations} iterations")

at = crossing(truth)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
volumes = {"truth": truth, "observation": problem.y, "restoration": solution.x}
for axis, (title, volume) in zip(axes, volumes.items(), strict=True):
    axis.imshow(sections(volume.clamp(0, 1), at)[0, 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
