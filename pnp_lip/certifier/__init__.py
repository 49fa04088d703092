"""Proved bounds of Lipschitz constants: rules, their composition, measured witnesses."""

from pnp_lip.certifier.certificate import Certificate
from pnp_lip.certifier.certification import Contradiction, certify, prove
from pnp_lip.certifier.composition import averaged_with_identity, combine, compose
from pnp_lip.certifier.conditions import admits
from pnp_lip.certifier.digest import digest
from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.guide import guide_constant
from pnp_lip.certifier.layer_rules import local_rules, register_slope
from pnp_lip.certifier.operators import Operation, register_operator
from pnp_lip.certifier.rules import Settings, apply_rule, register_rule
from pnp_lip.certifier.statement import IDENTITY, Statement, lipschitz
from pnp_lip.certifier.witness import Witness, find_witness, gain
from pnp_lip.plain_modules import Refusal

__all__ = ["IDENTITY", "Certificate", "Contradiction", "Execution", "Operation", "Refusal"]
__all__ += ["Settings", "Statement", "Witness", "admits", "apply_rule", "averaged_with_identity"]
__all__ += ["certify", "combine", "compose", "digest", "find_witness", "gain", "guide_constant"]
__all__ += ["lipschitz", "local_rules", "prove", "register_operator", "register_rule"]
__all__ += ["register_slope"]
