"""Why a certificate does not hold."""

from __future__ import annotations

from pnp_lip.errors import PnpLipError

__all__ = ["CertificateRejected"]


class CertificateRejected(PnpLipError):
    """A stored bound does not hold up; the message says why."""
