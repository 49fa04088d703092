r"""
Certify a network of your own
=============================

``certify`` bounds the Lipschitz constant of any ``nn.Module`` that it has rules for, for every image size.
The upper bound is *proved*, rounding included. The lower bound is *measured*: it is the gain between two
images, which the certificate keeps.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from pnp_lip import Refusal, certify
from pnp_lip.certifier import gain
from pnp_lip.data.photographs import photograph

# %%
# A small residual network
# ------------------------
# Its graph is exported, and each operator in it is bounded.


class Residual(nn.Module):
    """``x + body(x) / 4``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) / 4


torch.manual_seed(0)
network = Residual().eval()
image = photograph("camera")[..., 60:84, 90:114].double()
certificate = certify(network, images=image)
print(f"{certificate.lower:.4f} (measured) <= Lip <= {certificate.upper:.4f} (proved)")

# %%
# The layers
# ----------
# Every layer comes with its bound, and with the rule that gave it.

for layer in certificate.layers:
    if layer.bound is not None:
        print(f"{layer.name:12} |W| <= {layer.bound.upper:.5f}   {layer.rule}")

# %%
# The witness
# -----------
# The measured side is no estimate: anybody can evaluate the network at these two images.

witness = certificate.witness
print(f"gain between x and y: {gain(network.double(), witness.x, witness.y):.4f}")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
with torch.no_grad():
    change = network(witness.y) - network(witness.x)
pictures = {"x": witness.x, "y - x": witness.y - witness.x, "f(y) - f(x)": change}
for axis, (title, shown) in zip(axes, pictures.items(), strict=True):
    axis.imshow(shown[0, 0], cmap="gray")
    axis.set_title(title)
    axis.set_axis_off()
figure.show()

# %%
# What cannot be bounded is refused
# ---------------------------------
# Nothing is claimed about an operation that the certifier does not know, or that has no finite constant;
# the refusal names it and says why.

try:
    certify(nn.Sequential(nn.Conv2d(1, 1, 3), nn.InstanceNorm2d(1)))
except Refusal as refusal:
    print(refusal)
