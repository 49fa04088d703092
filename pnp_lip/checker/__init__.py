"""Certificates verified again, by other means than those that proved them."""

from pnp_lip.checker.check import Confirmation, check_certificate
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["CertificateRejected", "Confirmation", "check_certificate"]
