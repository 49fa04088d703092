r"""
Trap: a denoiser that expands
=============================

Plug-and-Play converges if the denoiser is nonexpansive. An ordinary network is not, and nothing
in the loop says so: the relative change of the image, which most programs print, can settle while
the image grows without limit. The certifier says it before the first iteration.
"""

import deepinv as dinv
import matplotlib.pyplot as plt
import torch

from pnp_lip import Guard, GuardViolation, LipschitzDenoiser, certify
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ForwardBackward, HypothesisViolated

# %%
# An untrained DnCNN in a bare loop
# ---------------------------------

torch.manual_seed(0)
truth = photograph("camera", size=64)
physics = dinv.physics.Inpainting((1, 64, 64), mask=0.6)
y = physics(truth)
dncnn = dinv.models.DnCNN(1, 1, depth=5, nf=16, pretrained=None).eval()

x, norms, changes = y.clone(), [], []
with torch.no_grad():
    for _ in range(60):
        new = dncnn(x - physics.A_adjoint(physics.A(x) - y), 0.05)
        changes.append(float((new - x).norm() / x.norm()))
        norms.append(float(new.norm()))
        x = new
print(f"relative change at the end {changes[-1]:.2f}, norm of the image {norms[-1]:.1e}")

# %%
# What the certifier says
# -----------------------
# The proved bound is far above 1, and the measured one too: two images, kept in the certificate,
# whose results are further apart than they are.

certificate = certify(dncnn, images=truth)
print(f"{certificate.lower:.2f} <= Lip <= {certificate.upper:.1f}")
try:
    ForwardBackward(dncnn, sigma=0.05).solve(y, physics)
except HypothesisViolated as refusal:
    print(refusal)

# %%
# In a loop that is not ours, ``Guard`` watches the denoiser while it runs.

guarded = Guard(dncnn, bound=1.0)
x = y.clone()
try:
    with torch.no_grad():
        for _ in range(60):
            x = guarded(x - physics.A_adjoint(physics.A(x) - y), 0.05)
except GuardViolation as violation:
    print(violation)

# %%
# A denoiser that is proved
# -------------------------

solution = ForwardBackward(LipschitzDenoiser(1), sigma=0.05).solve(y, physics)
print(solution.message)

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].semilogy(norms, label="norm of the image")
axes[0].semilogy(changes, label="relative change")
axes[0].set(title="untrained DnCNN", xlabel="iteration")
axes[0].legend()
axes[1].imshow(solution.x[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
axes[1].set_title("nonexpansive denoiser, converged")
axes[1].set_axis_off()
figure.show()
