"""Weights of the denoisers: how they are stored, and the files that come with the package."""

from pnp_lip.weights.architecture import WeightsError, require_depth, require_tensors
from pnp_lip.weights.storage import (
    SHIPPED_NAMES,
    StoredWeights,
    read_weights,
    shipped,
    shipped_certificates,
    shipped_configurations,
    weight_hash,
    write_weights,
)

__all__ = [
    "SHIPPED_NAMES",
    "StoredWeights",
    "WeightsError",
    "read_weights",
    "require_depth",
    "require_tensors",
    "shipped",
    "shipped_certificates",
    "shipped_configurations",
    "weight_hash",
    "write_weights",
]
