r"""A graph of operators walked through again, with claims in rational numbers.

Written for checking: shares no code with what proves. Every tensor that depends on the image is a
combination :math:`\sum_i c_iT_i` of results :math:`T_i` of operators, as maps of the last *cut*, a node
through which every path goes. What the certificate claims of a node must not be less than what its
operands and its operator prove; then the claim stands for the node. The pieces between cuts are
composed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import fx

from pnp_lip.checker.comparison import label_of
from pnp_lip.checker.composition import (
    IDENTITY,
    Claim,
    better,
    in_sequence,
    of_entrywise,
    of_relaxation,
    of_sum,
)
from pnp_lip.checker.execution import EXACT, Error, in_turn
from pnp_lip.checker.found import UNKNOWN, Exported
from pnp_lip.checker.graph_file import Graph
from pnp_lip.checker.ledger import Ledger
from pnp_lip.checker.values import Atom, Constant, Value, shape_of

__all__ = ["Walk"]

_START = Atom(IDENTITY, (Fraction(1), Fraction(1)), EXACT)


@dataclass
class Walk:
    """The state of a walk.

    Attributes
    ----------
    graph, found
        what the certificate says, and what the network runs.
    ledger
        the layers.
    values
        of the nodes.
    start, atoms
        the last cut, and what came since.
    sizes
        of the tensors at cuts.
    left
        layers of the node at hand that were not used yet.
    """

    graph: Graph
    found: Exported
    ledger: Ledger
    values: dict[fx.Node, Any] = field(default_factory=dict)
    atoms: dict[str, Atom] = field(default_factory=dict)
    start: str = ""
    sizes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)

    def cut(self, node: fx.Node, shape: tuple[Any, ...]) -> Value:
        """From now on this node is the input."""
        self.atoms, self.start = {node.name: _START}, node.name
        self.sizes[node.name] = shape
        return Value({node.name: Fraction(1)}, shape)

    def error(self, value: Value) -> Error | None:
        """Of a value that is one atom, with nothing added."""
        ((name, c), *others) = value.terms.items()
        single = not others and c == 1 and value.exact
        return self.atoms[name].error if single else None

    def atom(
        self,
        node: fx.Node,
        source: Value,
        own: Claim,
        *,
        spectrum: tuple[Fraction, Fraction] | None = None,
        error: Error | None = None,
        origin: Any = None,
    ) -> Value:
        """The result of an operator with the claim ``own`` on one tensor."""
        claim = in_sequence([self.claim(source.terms), own])
        before = self.error(source)
        both = (
            None
            if before is None or error is None
            else in_turn([(Fraction(1), before), (own.upper, error)])
        )
        self.atoms[node.name] = Atom(claim, spectrum, both, origin)
        return Value({node.name: Fraction(1)}, shape_of(node), source.exact)

    def claim(self, terms: dict[str, Fraction]) -> Claim:
        """Of a combination, as a map of the last cut: the best of what can be said of it."""
        parts = [(c, self.atoms[name]) for name, c in terms.items()]
        if len(parts) == 1 and parts[0][0] == 1:
            return parts[0][1].claim
        found = of_sum([(c, atom.claim) for c, atom in parts])
        blend = [(c, atom) for c, atom in parts if atom is not _START]
        if len(parts) == 2 and len(blend) == 1 and sum(terms.values()) == 1 and blend[0][0] >= 0:
            found = better(found, of_relaxation(blend[0][1].claim, blend[0][0]))
        spectrum = self.spectrum(terms)
        return found if spectrum is None else better(found, of_entrywise(*spectrum))

    def spectrum(self, terms: dict[str, Fraction]) -> tuple[Fraction, Fraction] | None:
        """Of the symmetric mean matrix of a combination, if each atom has one."""
        low = high = Fraction(0)
        for name, c in terms.items():
            own = self.atoms[name].spectrum
            if own is None:
                return None
            low, high = low + min(c * own[0], c * own[1]), high + max(c * own[0], c * own[1])
        return low, high

    def known(self, arg: Any) -> Any:
        """Values of nodes, also within lists."""
        if isinstance(arg, fx.Node):
            return self.values[arg]
        if isinstance(arg, (list, tuple)):
            return [self.known(one) for one in arg]
        return Constant(UNKNOWN) if arg is UNKNOWN else arg

    def label(self, node: fx.Node) -> str:
        return label_of(node, self.graph.path)
