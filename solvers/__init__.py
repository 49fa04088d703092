"""Plug-and-Play solvers that check a convergence theorem's hypotheses before they start."""

from pnp_lip.solvers.admm import ADMM
from pnp_lip.solvers.forward_backward import ForwardBackward
from pnp_lip.solvers.guided import GuidedPlugAndPlay, GuidedSolution
from pnp_lip.solvers.iteration import Growth, Status
from pnp_lip.solvers.operator_norm import NormSource, OperatorNorm, operator_norm
from pnp_lip.solvers.plan import HypothesisViolated, Plan, Theorem
from pnp_lip.solvers.plug_and_play import PlugAndPlay, Solution

__all__ = [
    "ADMM",
    "ForwardBackward",
    "Growth",
    "GuidedPlugAndPlay",
    "GuidedSolution",
    "HypothesisViolated",
    "NormSource",
    "OperatorNorm",
    "Plan",
    "PlugAndPlay",
    "Solution",
    "Status",
    "Theorem",
    "operator_norm",
]
