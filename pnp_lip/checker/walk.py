r"""A graph of operators walked through again, with claims in rational numbers.

Written for checking: shares no code with what proves. Every tensor that depends on the image is a
combination :math:`\sum_i c_iT_i` of results :math:`T_i` of operators, as maps of the last *cut*, a node
through which every path goes. What the certificate claims of a node must not be less than what its
operands and its operator prove; then the claim stands for the node. The pieces between cuts are
composed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import fx, nn

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
from pnp_lip.checker.export import UNKNOWN, WHOLE, Exported
from pnp_lip.checker.graph_file import Graph, Node
from pnp_lip.checker.ledger import Ledger, require_claim
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.checker.values import (
    JUMP,
    Atom,
    Constant,
    Value,
    depends,
    equal_sizes,
    plain_value,
    shape_of,
    sides_of,
)

__all__ = ["Walk"]

_START = Atom(IDENTITY, (Fraction(1), Fraction(1)), EXACT)

#: Constants of one number, whatever their size.
_FILLED: dict[str, Callable[[Any], Any]] = {
    "aten.zeros.default": lambda args: 0.0,
    "aten.ones.default": lambda args: 1.0,
    "aten.full.default": lambda args: args[1] if isinstance(args[1], (int, float)) else UNKNOWN,
}


@dataclass
class Walk:
    """The state of a walk.

    Attributes
    ----------
    graph, found
        what the certificate says, and what the network runs.
    ledger
        the layers.
    apply
        the claim of an operator.
    part
        the claim of a part that stays whole.
    start, atoms
        the last cut, and what came since.
    left
        layers of the node at hand that were not used yet.
    """

    graph: Graph
    found: Exported
    ledger: Ledger
    apply: Callable[[Walk, fx.Node], Any]
    part: Callable[[nn.Module, str, list[int], bool], tuple[Claim, Error | None]]
    values: dict[fx.Node, Any] = field(default_factory=dict)
    atoms: dict[str, Atom] = field(default_factory=dict)
    start: str = ""
    sizes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    pieces: list[tuple[Claim, Error | None]] = field(default_factory=list)

    def run(self) -> tuple[Claim, Error | None]:
        """The claim of the whole graph."""
        place = {node: index for index, node in enumerate(self.found.nodes)}
        alive = -1
        for index, (node, stored) in enumerate(
            zip(self.found.nodes, self.graph.nodes, strict=True)
        ):
            self.left = list(stored.layers)
            value = self._evaluate(node)
            self.values[node] = value
            if isinstance(value, Value):
                self._confirm(node, value, stored, index)
                if alive <= index:  # no tensor from before is read from here on
                    self.values[node] = self._cut(node, value)
            elif stored.upper is not None and node.op != "output":
                raise CertificateRejected(f"node {index} is constant, but claims a bound")
            if depends(value):
                alive = max([alive, index, *(place[user] for user in node.users)])
            if self.left:
                raise CertificateRejected(f"node {index} names layers that its operator has not")
        return self._whole(self.graph.nodes[-1])

    def _whole(self, stored: Node) -> tuple[Claim, Error | None]:
        claim = in_sequence([claim for claim, _ in self.pieces])
        error = in_turn([(one.upper, error) for one, error in self.pieces])
        if stored.upper is None:
            raise CertificateRejected("the output of a graph has no bound")
        require_claim(stored.upper, stored.averagedness, claim, self.graph.what)
        return claim, error

    def _confirm(self, node: fx.Node, value: Value, stored: Node, index: int) -> None:
        """The stored numbers of a node, which count from here on."""
        if node.op == "output":
            return
        if stored.upper is None:
            raise CertificateRejected(f"node {index} depends on the image and claims no bound")
        require_claim(stored.upper, stored.averagedness, self.claim(value.terms), f"node {index}")
        if value.terms == {node.name: Fraction(1)}:
            alpha = None if stored.averagedness is None else Fraction(stored.averagedness)
            old = self.atoms[node.name]
            own = Claim(Fraction(stored.upper), alpha)
            self.atoms[node.name] = Atom(own, old.spectrum, old.error, old.origin)

    def _cut(self, node: fx.Node, value: Value) -> Value:
        claim = self.claim(value.terms)
        if self.left:
            entry = self.ledger.take(None, self.left)
            self.ledger.confirm(entry, claim, self._error(value))
        self.pieces.append((claim, self._error(value)))
        self.atoms, self.start = {node.name: _START}, node.name
        self.sizes[node.name] = value.shape
        return Value({node.name: Fraction(1)}, value.shape)

    def _error(self, value: Value) -> Error | None:
        ((name, c), *others) = value.terms.items()
        single = not others and c == 1 and value.exact
        return self.atoms[name].error if single else None

    def _evaluate(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            if node is self.found.image:
                self.atoms[node.name] = _START
                return Value({node.name: Fraction(1)}, shape_of(node))
            value = self.found.values[node.name]
            return Constant(UNKNOWN if value is None else value, shape_of(node))
        if node.op == "output":
            return self._output(node)
        reads = [self.values[read] for read in node.all_input_nodes]
        if JUMP in reads:
            raise CertificateRejected(f"'{node.name}' reads what jumps with the image")
        if getattr(node.target, "__name__", "") == "getitem":
            several: Any = node.args
            return self.values[several[0]][several[1]]
        if not any(map(depends, reads)):
            return self._constant(node)
        if str(node.target).startswith("aten.sym_") or "_assert" in str(node.target):
            size = node.meta.get("val")
            return Constant(size if isinstance(size, int) else UNKNOWN)
        return self._whole_part(node) if node.target is WHOLE else self.apply(self, node)

    def _output(self, node: fx.Node) -> Any:
        results: Any = node.args[0]
        (result,) = results
        value = self.values[result] if isinstance(result, fx.Node) else None
        if isinstance(value, Value):
            return value
        if not isinstance(value, Constant):
            raise CertificateRejected("the network returns no tensor")
        constant = Claim(Fraction(0), Fraction(1, 2))
        if self.left:
            self.ledger.confirm(self.ledger.take(None, self.left), constant)
        self.pieces = [(constant, None)]
        return value

    def _constant(self, node: fx.Node) -> Any:
        """Computed where all that it is made of is known."""
        args, kwargs = self.found.arguments[node.name]
        try:
            given = [plain_value(self.known(arg)) for arg in args]
            named = {key: plain_value(self.known(arg)) for key, arg in kwargs.items()}
            with torch.no_grad():
                out = node.target(*given, **named)  # type: ignore[operator]
        except Exception:
            filled = _FILLED.get(str(node.target), lambda args: UNKNOWN)(args)
            out = node.meta.get("val")
            if isinstance(out, (list, tuple)):
                return tuple(Constant(UNKNOWN, sides_of(one)) for one in out)
            return Constant(filled, sides_of(out))
        if isinstance(out, (list, tuple)):
            return tuple(Constant(one, sides_of(one)) for one in out)
        return Constant(out, sides_of(out))

    def _whole_part(self, node: fx.Node) -> Value:
        arguments: Any = node.args
        x, others, number = arguments
        source = self.values[x]
        if not isinstance(source, Value) or any(depends(self.known(one)) for one in others):
            raise CertificateRejected("a part is given a second input that depends on the image")
        path, module = self.found.parts[number]
        name = ".".join(one for one in (self.graph.path, path) if one)
        image = shape_of(self.found.image)
        same = len(image) == len(source.shape) and all(map(equal_sizes, image, source.shape))
        claim, error = self.part(module, name, self.left, same)
        return self.atom(node, source, claim, error=error)

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
        before = self._error(source)
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
