"""Rules for the operators of exported graphs."""

import pnp_lip.certifier.operators.affine
import pnp_lip.certifier.operators.arithmetic
import pnp_lip.certifier.operators.arrangement
import pnp_lip.certifier.operators.entrywise
import pnp_lip.certifier.operators.reductions
import pnp_lip.certifier.operators.resampling  # noqa: F401  (all register their rules)
from pnp_lip.certifier.operators.registry import (
    OPERATORS,
    Operation,
    apply_operator,
    register_operator,
)

__all__ = ["OPERATORS", "Operation", "apply_operator", "register_operator"]
