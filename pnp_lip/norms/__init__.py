"""Operator norms of layers, proved: bounds with their covers, padding factors, a grid bound."""

from pnp_lip.norms.bound import convolution_norm, matrix_norm, prove_below
from pnp_lip.norms.cover import Cover, NormBound
from pnp_lip.norms.grid import grid_norm
from pnp_lip.norms.padding import padding_factor

__all__ = [
    "Cover",
    "NormBound",
    "convolution_norm",
    "grid_norm",
    "matrix_norm",
    "padding_factor",
    "prove_below",
]
