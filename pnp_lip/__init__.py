"""Plug-and-Play image restoration with denoisers that are proved nonexpansive."""

from pnp_lip.certifier import (
    Certificate,
    CertificateRejected,
    Guard,
    GuardViolation,
    Refusal,
    certify,
    check_certificate,
)
from pnp_lip.denoiser import LipschitzDenoiser
from pnp_lip.frozen import Frozen
from pnp_lip.relaxation import Relaxed, firmly_nonexpansive
from pnp_lip.tiling import Tiled
from pnp_lip.weights import WeightsError, save

__all__ = [
    "Certificate",
    "CertificateRejected",
    "Frozen",
    "Guard",
    "GuardViolation",
    "LipschitzDenoiser",
    "Refusal",
    "Relaxed",
    "Tiled",
    "WeightsError",
    "certify",
    "check_certificate",
    "firmly_nonexpansive",
    "save",
]
