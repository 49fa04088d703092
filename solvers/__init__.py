"""Plug-and-Play solvers that check a convergence theorem's hypotheses before they start."""

from pnp_lip.solvers import (  # noqa: F401  (these register the rules of norms)
    compound_rules,
    convolution_rules,
    diagonal_rules,
    matrix_rules,
    projection_rules,
)
from pnp_lip.solvers.admm import ADMM
from pnp_lip.solvers.data_term import DataTerm, DataTermError, ObservationError
from pnp_lip.solvers.discrepancy import solve_by_discrepancy
from pnp_lip.solvers.forward_backward import ForwardBackward
from pnp_lip.solvers.growth import Growth
from pnp_lip.solvers.guide import Adaptive
from pnp_lip.solvers.guided import GuidedPlugAndPlay
from pnp_lip.solvers.guided_solution import GuidedSolution
from pnp_lip.solvers.images import ImageError
from pnp_lip.solvers.iteration import MapError, Status
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, operator_norm
from pnp_lip.solvers.plan import HypothesisViolated, Plan
from pnp_lip.solvers.plug_and_play import PlugAndPlay
from pnp_lip.solvers.primal_dual import PrimalDual
from pnp_lip.solvers.schemes import Anderson, Halpern, KrasnoselskiiMann
from pnp_lip.solvers.solution import FixedPointMap, Solution
from pnp_lip.solvers.strength import DEFAULT_STRENGTH, stated_noise
from pnp_lip.solvers.strength_choice import StrengthChoice
from pnp_lip.solvers.theorems import Theorem

__all__ = [
    "ADMM",
    "DEFAULT_STRENGTH",
    "Adaptive",
    "Anderson",
    "DataTerm",
    "DataTermError",
    "FixedPointMap",
    "ForwardBackward",
    "Growth",
    "GuidedPlugAndPlay",
    "GuidedSolution",
    "Halpern",
    "HypothesisViolated",
    "ImageError",
    "KrasnoselskiiMann",
    "MapError",
    "NormSource",
    "ObservationError",
    "OperatorNorm",
    "Plan",
    "PlugAndPlay",
    "PrimalDual",
    "Solution",
    "Status",
    "StrengthChoice",
    "Theorem",
    "operator_norm",
    "solve_by_discrepancy",
    "stated_noise",
]
