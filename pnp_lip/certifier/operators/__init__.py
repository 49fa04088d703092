"""Rules for the operators of exported graphs."""

import pnp_lip.certifier.operators.affine  # noqa: F401
import pnp_lip.certifier.operators.arrangement  # noqa: F401
import pnp_lip.certifier.operators.entrywise  # noqa: F401
import pnp_lip.certifier.operators.interpolation  # noqa: F401
import pnp_lip.certifier.operators.reductions  # noqa: F401  (all register their rules)
from pnp_lip.certifier.operators.operation import Operation
from pnp_lip.certifier.operators.registry import OPERATORS, apply_operator, register_operator

__all__ = ["OPERATORS", "Operation", "apply_operator", "register_operator"]
