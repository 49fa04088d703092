"""Denoisers: nonexpansive by construction, and the same function in other forms."""

from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.guard import Guard, GuardViolation, Violation
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.relaxed import Relaxed, firmly_nonexpansive
from pnp_lip.denoisers.tiled import Tiled

__all__ = [
    "Frozen",
    "Guard",
    "GuardViolation",
    "LipschitzDenoiser",
    "Relaxed",
    "Tiled",
    "Violation",
    "firmly_nonexpansive",
]
