r"""
Denoising photon counts through their square roots
==================================================

The noise of a photon count grows with the square root of the count. Anscombe's transform
:math:`z = 2\sqrt{n + 3/8}` makes it nearly the same everywhere, so that the denoiser applies; an unbiased
inverse leads back.

What is proved of the denoiser holds for the roots. From counts to counts nothing is claimed: the root is
steep at zero, and the composition is neither nonexpansive nor averaged.
"""

import matplotlib.pyplot as plt

from pnp_lip.data.photographs import photograph
from pnp_lip.recipes import photons

# %%
# Thirty photons in a white pixel
# -------------------------------

truth = photograph("camera", size=128)
y = photons.counted(truth, photons=30, seed=0)
denoised = photons.denoise(y, photons=30, truth=truth)
print(denoised.summary())

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes, (truth, y, denoised.image), ("truth", "photon counts", "denoised"), strict=True
):
    axis.imshow(image[0, 0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.show()
