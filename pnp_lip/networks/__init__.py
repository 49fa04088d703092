"""1-Lipschitz networks of the density theorems: trained, compiled from formulas, and certified."""

from pnp_lip.networks.attack import attacked_accuracy, worst_points
from pnp_lip.networks.classification import Fit, temperature_loss, train
from pnp_lip.networks.committee import Committee
from pnp_lip.networks.compile import from_max_min
from pnp_lip.networks.critic import CriticFit
from pnp_lip.networks.fixed_width import FixedWidthNetwork
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.interpolation import interpolant
from pnp_lip.networks.lattice import Maximum, Minimum, maximum, minimum
from pnp_lip.networks.max_min import MaxMin, separating
from pnp_lip.networks.prototypes import NearestPrototype
from pnp_lip.networks.robustness import certified_accuracy, certified_radius, predict
from pnp_lip.networks.rules import prove_outputs
from pnp_lip.networks.wasserstein import Wasserstein1, wasserstein1

__all__ = [
    "Committee",
    "CriticFit",
    "Fit",
    "FixedWidthNetwork",
    "FreeWidthNetwork",
    "MaxMin",
    "Maximum",
    "Minimum",
    "NearestPrototype",
    "Wasserstein1",
    "attacked_accuracy",
    "certified_accuracy",
    "certified_radius",
    "from_max_min",
    "interpolant",
    "maximum",
    "minimum",
    "predict",
    "prove_outputs",
    "separating",
    "temperature_loss",
    "train",
    "wasserstein1",
    "worst_points",
]
