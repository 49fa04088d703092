r"""
Deblurring with forward-backward, and the theorem that applies
==============================================================

A photograph is blurred by the trace of a shaking camera and restored by

.. math:: x_{k+1} = D\bigl(x_k - \gamma A^\top(A x_k - y)\bigr),

where :math:`A` is the blur and :math:`D` a denoiser that is *proved* nonexpansive. The solver makes a plan
first: it names the theorem, and each hypothesis of the theorem is checked on this denoiser and this blur.
"""

import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.solvers import ForwardBackward

# %%
# The problem
# -----------
# A recipe builds the physics, a periodic blur of deepinv, and the observation ``y``.

truth = photograph("camera", size=128)
problem = deblur.simulated(truth, deblur.motion_kernel(), noise=0.01, seed=0)
print(f"observation: {psnr(problem.y, truth):.2f} dB")

# %%
# The plan
# --------
# The plan proves the bound of the denoiser and takes the norm of the blur from its Fourier coefficients.
# It refuses, with a sentence that says why, if the theorem does not apply.

denoiser = LipschitzDenoiser(in_channels=1, pretrained="default")
solver = ForwardBackward(denoiser, sigma=0.0075)
solution = solver.solve(problem.y, problem.physics)
print(solution.plan.summary())

# %%
# The restoration
# ---------------
# The iteration stops where the fixed-point residual falls below the tolerance. Its step lengths never grow,
# because the map is nonexpansive: the solver watches this while it runs and would report the first growth.

print(solution.message)
print(f"{psnr(solution.x, truth):.2f} dB after {solution.iterations} iterations")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
images = {"truth": truth, "observation": problem.y, "restoration": solution.x}
for axis, (title, image) in zip(axes, images.items(), strict=True):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()

# %%
# The residual falls to the tolerance, monotonically.

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.semilogy(solution.residuals)
axis.set(xlabel="iteration", ylabel="fixed-point residual")
axis.grid(alpha=0.3)
figure.show()
