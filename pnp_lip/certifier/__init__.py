"""Proved bounds of Lipschitz constants: rules, their composition, measured witnesses."""

from pnp_lip.certifier.certificate import Certificate
from pnp_lip.certifier.certification import certify, prove
from pnp_lip.certifier.digest import digest
from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.function_rules import register_function_rule
from pnp_lip.certifier.rules import Settings, apply_rule, register_rule
from pnp_lip.certifier.slopes import register_slope
from pnp_lip.certifier.statement import (
    IDENTITY,
    Statement,
    averaged_with_identity,
    combine,
    compose,
    lipschitz,
)
from pnp_lip.certifier.witness import Witness, find_witness, gain
from pnp_lip.plain_modules import Refusal

__all__ = [
    "IDENTITY",
    "Certificate",
    "Execution",
    "Refusal",
    "Settings",
    "Statement",
    "Witness",
    "apply_rule",
    "averaged_with_identity",
    "certify",
    "combine",
    "compose",
    "digest",
    "find_witness",
    "gain",
    "lipschitz",
    "prove",
    "register_function_rule",
    "register_rule",
    "register_slope",
]
