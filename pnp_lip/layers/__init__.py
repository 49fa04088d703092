"""The layers of 1-Lipschitz residual networks, and how their constraint is held."""

from pnp_lip.layers.activations import Activation, Clip, MonotoneSpline, NoiseClip, ReLU
from pnp_lip.layers.constraint import hold, project
from pnp_lip.layers.factored import FactoredFilters
from pnp_lip.layers.gradient_step import ConvGradientStep, GradientStep
from pnp_lip.layers.isometries import Isometry, Lift, Unshuffle

__all__ = [
    "Activation",
    "Clip",
    "ConvGradientStep",
    "FactoredFilters",
    "GradientStep",
    "Isometry",
    "Lift",
    "MonotoneSpline",
    "NoiseClip",
    "ReLU",
    "Unshuffle",
    "hold",
    "project",
]
