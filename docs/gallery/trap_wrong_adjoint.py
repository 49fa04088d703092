r"""
Trap: an adjoint that is none
=============================

The step :math:`x - \gamma A^*(Ax - y)` is a gradient step only if ``A_adjoint`` is the adjoint of
``A``. An approximate adjoint, say a faster back-projection, makes another map of it, of which no
theorem speaks. deepinv's tomography has such a mode. The solvers try the identity :math:`\langle
Au, v\rangle = \langle u, A^*v\rangle` on seeded vectors before a theorem is named.
"""

import deepinv as dinv
import matplotlib.pyplot as plt

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ForwardBackward, HypothesisViolated

# %%
# Two tomographies
# ----------------
# They measure the same; only their adjoints differ.

truth = photograph("camera", size=64)
scanners = {
    exact: dinv.physics.Tomography(
        img_width=64, angles=40, adjoint_via_backprop=exact, normalize=True
    )
    for exact in (True, False)
}
y = scanners[True](truth)
exact, other = (scanner.A_adjoint(y) for scanner in scanners.values())
print(f"the adjoints of the sinogram differ by {(other - exact).norm() / exact.norm():.1%}")

# %%
# The first runs under a theorem, the second is refused, with the number.

for scanner in scanners.values():
    try:
        solution = ForwardBackward(LipschitzDenoiser(1), sigma=0.02).solve(y, scanner)
        print(f"{solution.message}; {solution.plan.theorem.name}")
    except HypothesisViolated as refusal:
        print(f"refused: {refusal}")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
images = {"exact adjoint": exact, "the other one": other, "difference": other - exact}
for axis, (title, image) in zip(axes, images.items(), strict=True):
    drawn = axis.imshow(image[0, 0], cmap="gray")
    figure.colorbar(drawn, ax=axis, shrink=0.8)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
