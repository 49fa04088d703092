"""Plug-and-Play image restoration with denoisers that are proved nonexpansive."""

from pnp_lip.certifier import Certificate, Refusal, certify
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.denoisers import (
    FixedGuide,
    Frozen,
    Guard,
    GuardViolation,
    GuidedDenoiser,
    LipschitzDenoiser,
    Relaxed,
    Tiled,
    firmly_nonexpansive,
)
from pnp_lip.errors import PnpLipError
from pnp_lip.weights import WeightsError, write_weights

__all__ = [
    "Certificate",
    "CertificateRejected",
    "FixedGuide",
    "Frozen",
    "Guard",
    "GuardViolation",
    "GuidedDenoiser",
    "LipschitzDenoiser",
    "PnpLipError",
    "Refusal",
    "Relaxed",
    "Tiled",
    "WeightsError",
    "certify",
    "check_certificate",
    "firmly_nonexpansive",
    "write_weights",
]
