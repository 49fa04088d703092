"""The layers of 1-Lipschitz residual networks."""

from pnp_lip.layers.activations import Activation, Clip, NoiseClip, ReLU
from pnp_lip.layers.gradient_step import ConvGradientStep, GradientStep
from pnp_lip.layers.held import Constrained, Held

__all__ = [
    "Activation",
    "Clip",
    "Constrained",
    "ConvGradientStep",
    "GradientStep",
    "Held",
    "NoiseClip",
    "ReLU",
]
