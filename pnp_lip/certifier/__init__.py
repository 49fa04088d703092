"""Proved bounds of Lipschitz constants: rules, their composition, and measured witnesses."""

from pnp_lip.certifier.certificate import Certificate
from pnp_lip.certifier.certification import certify, prove
from pnp_lip.certifier.rules import Refusal, Settings, apply_rule, register_rule
from pnp_lip.certifier.slopes import register_slope
from pnp_lip.certifier.statement import (
    IDENTITY,
    Statement,
    averaged_with_identity,
    compose,
    lipschitz,
)
from pnp_lip.certifier.witness import Witness, find_witness, gain

__all__ = [
    "IDENTITY",
    "Certificate",
    "Refusal",
    "Settings",
    "Statement",
    "Witness",
    "apply_rule",
    "averaged_with_identity",
    "certify",
    "compose",
    "find_witness",
    "gain",
    "lipschitz",
    "prove",
    "register_rule",
    "register_slope",
]
