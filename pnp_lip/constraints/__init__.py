"""How the bounds that layers declare are kept while an optimiser trains."""

from pnp_lip.constraints.factored import FactoredFilters
from pnp_lip.constraints.projection import Constraint, hold, project
from pnp_lip.constraints.retraction import retract

__all__ = ["Constraint", "FactoredFilters", "hold", "project", "retract"]
