"""The nodes of a graph gone through in order: what the certificate claims of each is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import fx, nn

from pnp_lip.checker.composition import Claim, in_sequence
from pnp_lip.checker.execution import Error, in_turn
from pnp_lip.checker.found import UNKNOWN
from pnp_lip.checker.graph_file import Node
from pnp_lip.checker.kept_parts import WHOLE
from pnp_lip.checker.ledger import require_claim
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.checker.rules import apply
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
from pnp_lip.checker.walk import Walk

__all__ = ["Audit"]

Proved = tuple[Claim, Error | None]

#: Constants of one number, whatever their size.
_FILLED: dict[str, Callable[[Any], Any]] = {
    "aten.zeros.default": lambda args: 0.0,
    "aten.ones.default": lambda args: 1.0,
    "aten.full.default": lambda args: args[1] if isinstance(args[1], (int, float)) else UNKNOWN,
}


class Audit:
    """Of one graph; ``part`` proves a part that stays whole."""

    def __init__(
        self, walk: Walk, part: Callable[[nn.Module, str, list[int], bool], Proved]
    ) -> None:
        self.walk, self.part = walk, part
        self.pieces: list[Proved] = []

    def run(self) -> Proved:
        """The claim of the whole graph."""
        walk, nodes = self.walk, self.walk.found.nodes
        place = {node: index for index, node in enumerate(nodes)}
        alive = -1
        for index, (node, stored) in enumerate(zip(nodes, walk.graph.nodes, strict=True)):
            walk.left = list(stored.layers)
            value = walk.values[node] = self._evaluate(node)
            if isinstance(value, Value):
                self._confirm(node, value, stored, index)
                if alive <= index:  # no tensor from before is read from here on
                    walk.values[node] = self._cut(node, value)
            elif stored.upper is not None and node.op != "output":
                raise CertificateRejected(f"node {index} is constant, but claims a bound")
            if depends(value):
                alive = max([alive, index, *(place[user] for user in node.users)])
            if walk.left:
                raise CertificateRejected(f"node {index} names layers that its operator has not")
        return self._whole(walk.graph.nodes[-1])

    def _whole(self, stored: Node) -> Proved:
        claim = in_sequence([claim for claim, _ in self.pieces])
        error = in_turn([(one.upper, error) for one, error in self.pieces])
        if stored.upper is None:
            raise CertificateRejected("the output of a graph has no bound")
        require_claim(stored.upper, stored.averagedness, claim, self.walk.graph.what)
        return claim, error

    def _confirm(self, node: fx.Node, value: Value, stored: Node, index: int) -> None:
        """The stored numbers of a node, which count from here on."""
        if node.op == "output":
            return
        if stored.upper is None:
            raise CertificateRejected(f"node {index} depends on the image and claims no bound")
        require_claim(
            stored.upper, stored.averagedness, self.walk.claim(value.terms), f"node {index}"
        )
        if value.terms == {node.name: Fraction(1)}:
            alpha = None if stored.averagedness is None else Fraction(stored.averagedness)
            old = self.walk.atoms[node.name]
            own = Claim(Fraction(stored.upper), alpha)
            self.walk.atoms[node.name] = Atom(own, old.spectrum, old.error, old.origin)

    def _cut(self, node: fx.Node, value: Value) -> Value:
        claim = self.walk.claim(value.terms)
        if self.walk.left:
            entry = self.walk.ledger.take(None, self.walk.left)
            self.walk.ledger.confirm(entry, claim, self.walk.error(value))
        self.pieces.append((claim, self.walk.error(value)))
        return self.walk.cut(node, value.shape)

    def _evaluate(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            if node is self.walk.found.image:
                return self.walk.cut(node, shape_of(node))
            value = self.walk.found.values[node.name]
            return Constant(UNKNOWN if value is None else value, shape_of(node))
        if node.op == "output":
            return self._output(node)
        reads = [self.walk.values[read] for read in node.all_input_nodes]
        if JUMP in reads:
            raise CertificateRejected(f"'{node.name}' reads what jumps with the image")
        if getattr(node.target, "__name__", "") == "getitem":
            several: Any = node.args
            return self.walk.values[several[0]][several[1]]
        if not any(map(depends, reads)):
            return self._constant(node)
        if str(node.target).startswith("aten.sym_") or "_assert" in str(node.target):
            size = node.meta.get("val")
            return Constant(size if isinstance(size, int) else UNKNOWN)
        return self._whole_part(node) if node.target is WHOLE else apply(self.walk, node)

    def _output(self, node: fx.Node) -> Any:
        results: Any = node.args[0]
        (result,) = results
        value = self.walk.values[result] if isinstance(result, fx.Node) else None
        if isinstance(value, Value):
            return value
        if not isinstance(value, Constant):
            raise CertificateRejected("the network returns no tensor")
        constant = Claim(Fraction(0), Fraction(1, 2))
        if self.walk.left:
            self.walk.ledger.confirm(self.walk.ledger.take(None, self.walk.left), constant)
        self.pieces = [(constant, None)]
        return value

    def _constant(self, node: fx.Node) -> Any:
        """Computed where all that it is made of is known."""
        args, kwargs = self.walk.found.arguments[node.name]
        try:
            given = [plain_value(self.walk.known(arg)) for arg in args]
            named = {key: plain_value(self.walk.known(arg)) for key, arg in kwargs.items()}
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
        source = self.walk.values[x]
        if not isinstance(source, Value) or any(depends(self.walk.known(one)) for one in others):
            raise CertificateRejected("a part is given a second input that depends on the image")
        path, module = self.walk.found.parts[number]
        name = ".".join(one for one in (self.walk.graph.path, path) if one)
        image = shape_of(self.walk.found.image)
        same = len(image) == len(source.shape) and all(map(equal_sizes, image, source.shape))
        claim, error = self.part(module, name, self.walk.left, same)
        return self.walk.atom(node, source, claim, error=error)
