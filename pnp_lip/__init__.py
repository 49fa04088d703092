"""Plug-and-Play image restoration with denoisers that are proved nonexpansive."""

from pnp_lip.certifier import Certificate, Refusal, certify
from pnp_lip.denoiser import LipschitzDenoiser
from pnp_lip.relaxation import Relaxed, firmly_nonexpansive
from pnp_lip.weights import WeightsError, save

__all__ = [
    "Certificate",
    "LipschitzDenoiser",
    "Refusal",
    "Relaxed",
    "WeightsError",
    "certify",
    "firmly_nonexpansive",
    "save",
]
