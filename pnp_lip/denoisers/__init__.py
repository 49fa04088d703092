"""Denoisers: nonexpansive by construction, and the same function in other forms."""

from pnp_lip.denoisers.fixed_guide import FixedGuide, GuideError
from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.frozen_guided import FrozenGuided
from pnp_lip.denoisers.guard import Guard, GuardViolation, Violation
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.pruning import pruned
from pnp_lip.denoisers.relaxed import Relaxed, firmly_nonexpansive
from pnp_lip.denoisers.tiled import Tiled
from pnp_lip.denoisers.volume import VolumeDenoiser

__all__ = [
    "FixedGuide",
    "Frozen",
    "FrozenGuided",
    "Guard",
    "GuardViolation",
    "GuideError",
    "GuidedDenoiser",
    "LipschitzDenoiser",
    "Relaxed",
    "Tiled",
    "Violation",
    "VolumeDenoiser",
    "firmly_nonexpansive",
    "pruned",
]
