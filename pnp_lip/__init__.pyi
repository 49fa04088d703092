"""Plug-and-Play image restoration with denoisers that are proved nonexpansive."""

from .certifier import Certificate, Refusal, certify
from .checker import CertificateRejected, check_certificate
from .denoisers import (
    FixedGuide,
    Frozen,
    FrozenGuided,
    Guard,
    GuardViolation,
    GuidedDenoiser,
    LipschitzDenoiser,
    Relaxed,
    Tiled,
    VolumeDenoiser,
    firmly_nonexpansive,
)
from .errors import PnpLipError
from .weights import WeightsError, write_weights

__all__ = [
    "Certificate",
    "CertificateRejected",
    "FixedGuide",
    "Frozen",
    "FrozenGuided",
    "Guard",
    "GuardViolation",
    "GuidedDenoiser",
    "LipschitzDenoiser",
    "PnpLipError",
    "Refusal",
    "Relaxed",
    "Tiled",
    "VolumeDenoiser",
    "WeightsError",
    "certify",
    "check_certificate",
    "firmly_nonexpansive",
    "write_weights",
]
