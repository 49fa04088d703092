"""The bound of a network proved again: by the theorems of our classes, or along a graph of operators."""

from __future__ import annotations

from fractions import Fraction

from torch import nn

import pnp_lip.checker.arithmetic  # noqa: F401
import pnp_lip.checker.contraction  # noqa: F401
import pnp_lip.checker.cubic  # noqa: F401
import pnp_lip.checker.pointwise  # noqa: F401
import pnp_lip.checker.ranking  # noqa: F401
import pnp_lip.checker.structure  # noqa: F401
import pnp_lip.checker.weighted  # noqa: F401
import pnp_lip.checker.windows  # noqa: F401  (all register their rules)
from pnp_lip.checker.architecture import of_network
from pnp_lip.checker.audit import Audit
from pnp_lip.checker.comparison import conditions_of, conditions_over, require_same_graph
from pnp_lip.checker.composition import (
    Claim,
    in_sequence,
    of_entrywise,
    of_gradient_step,
    of_relaxation,
    worst,
)
from pnp_lip.checker.execution import EXACT, Error, after_tiles, in_turn, of_blend, of_step
from pnp_lip.checker.export import exported
from pnp_lip.checker.file import Stored
from pnp_lip.checker.ledger import Ledger, require_claim, require_error
from pnp_lip.checker.plan import Chain, Entrywise, Exportable, Plan, Planes, Relaxation, Windows
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.checker.walk import Walk

__all__ = ["Proof"]

Proved = tuple[Claim, Error | None]


class Proof:
    """The layers of a certificate, used up along the network."""

    def __init__(self, data: Stored, *, progress: bool) -> None:
        self.data = data
        self.ledger = Ledger(data.layers, progress=progress)
        self.seen: set[int] = set()
        self.conditions: list[str] = []

    def run(self, plan: Plan) -> None:
        """Prove what the certificate claims of the network.

        Raises
        ------
        CertificateRejected
            with the reason, for whatever could not be proved.
        """
        named = {i for graph in self.data.graphs for node in graph.nodes for i in node.layers}
        rest = [index for index in range(len(self.data.layers)) if index not in named]
        claim, error = self._claim(plan, rest)
        self.ledger.close()
        if len(self.seen) < len(self.data.graphs):
            raise CertificateRejected(
                "the certificate has a graph of a part that the network has not"
            )
        missing = [one for one in self.conditions if one not in self.data.conditions]
        if missing:
            raise CertificateRejected(f"the statement holds only for {', '.join(missing)}")
        require_claim(self.data.upper, self.data.averagedness, claim, "the network")
        require_error(self.data.execution, error, "the network")

    def _claim(self, plan: Plan, among: list[int]) -> Proved:
        if isinstance(plan, Exportable):
            return self._graphs(plan)
        if isinstance(plan, Chain):
            parts = [self._claim(part, among) for part in plan.parts]
            stretched = [(claim.upper, error) for claim, error in parts]
            return in_sequence([claim for claim, _ in parts]), in_turn(stretched)
        if isinstance(plan, Windows):
            claim, error = self._claim(plan.part, among)
            return claim, after_tiles(error, plan.overlap)
        if isinstance(plan, Planes):
            # Nothing is said about the roundings of the average.
            return self._claim(plan.part, among)[0], None
        if isinstance(plan, Relaxation):
            return self._relaxation(plan, among)
        layer = self.ledger.take(plan.name, among)
        if isinstance(plan, Entrywise):
            claim, error = of_entrywise(plan.low, plan.high), EXACT if plan.exact else None
            self.ledger.confirm(layer, claim, error)
            return claim, error
        norm = self.ledger.norm(layer, plan.weight)
        claim = of_gradient_step(norm, plan.tau, Fraction(1))
        error = of_step(plan, norm, claim.upper)
        self.ledger.confirm(layer, claim, error, weighted=True)
        return claim, error

    def _relaxation(self, plan: Relaxation, among: list[int]) -> Proved:
        claim, error = self._claim(plan.part, among)
        if min(plan.weights) < 0:
            raise CertificateRejected("the relaxation is negative")
        claims = [of_relaxation(claim, weight) for weight in plan.weights]
        whole = max(claims, key=lambda one: (one.upper, one.alpha or 0))
        return whole, of_blend(error, max(plan.weights))

    def _graphs(self, plan: Exportable) -> Proved:
        """The worst over all ways of calling a part that was bounded by its operators."""
        proved: list[Proved] = []
        kinds: dict[tuple[str, str | None], list[tuple[str, ...]]] = {}
        for index, graph in enumerate(self.data.graphs):
            if graph.path == plan.name:
                self.seen.add(index)
                found = exported(plan.module, graph)
                require_same_graph(graph, found)
                proved.append(Audit(Walk(graph, found, self.ledger), self._part).run())
                kinds.setdefault((graph.kind, graph.level), []).append(conditions_of(found))
        if not proved:
            raise CertificateRejected(
                f"'{plan.name or 'the network'}' is a {type(plan.module).__qualname__}, which cannot be "
                f"checked again without a graph of its operators"
            )
        for conditions in kinds.values():
            self.conditions += conditions_over(conditions)
        claim = worst([claim for claim, _ in proved])
        single = all("dtype == float32" in one for kind in kinds.values() for one in kind)
        errors = [error if single else None for _, error in proved]
        return claim, errors[0] if all(error == errors[0] for error in errors) else None

    def _part(self, module: nn.Module, name: str, among: list[int], same_size: bool) -> Proved:
        """Of a part that stays whole in a graph; layers of graphs inside it are not its own."""
        inside = {
            i
            for graph in self.data.graphs
            if graph.path.startswith(name)
            for node in graph.nodes
            for i in node.layers
        }
        among[:] = [index for index in among if index not in inside]
        plan, before = of_network(module, name), len(self._sizes())
        if isinstance(plan, Exportable) and all(graph.path != name for graph in self.data.graphs):
            layer = self.ledger.take(name, among)
            self.ledger.assume(layer, type(module).__qualname__)
            alpha = None if layer.averagedness is None else Fraction(layer.averagedness)
            return Claim(Fraction(layer.upper), alpha), None
        found = self._claim(plan, among)
        if len(self._sizes()) > before and not same_size:
            raise CertificateRejected(
                f"'{name}' is bounded for some sizes only, and called on images of another size"
            )
        return found

    def _sizes(self) -> list[str]:
        """Conditions other than on the type."""
        return [one for one in self.conditions if not one.startswith("dtype ")]
