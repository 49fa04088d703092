r"""The bound of a network from its graph of operators.

The graph is cut where every path goes through one tensor; what lies between two cuts is bounded as a map
of the first, and the pieces are composed. A chain of residual blocks thus keeps its averagedness.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from pnp_lip.certifier.composition import compose, made_of
from pnp_lip.certifier.conditions import of_sizes
from pnp_lip.certifier.operators import OPERATORS, apply_operator
from pnp_lip.certifier.operators.arrangement import FILLED, filled
from pnp_lip.certifier.program import VARYING, Program
from pnp_lip.certifier.rules import Settings, apply_rule, naming
from pnp_lip.certifier.statement import IDENTITY, Statement
from pnp_lip.certifier.surroundings import WHOLE, call_of
from pnp_lip.certifier.values import JUMPING, Dependent, Known, is_equal, shape_of, size_of
from pnp_lip.certifier.walk import Walk, depends
from pnp_lip.plain_modules import Refusal, require_finite

__all__ = ["Bounder"]


class Bounder:
    """Walks the nodes in order and cuts where it can."""

    def __init__(self, program: Program, name: str, settings: Settings) -> None:
        self.walk = Walk(program, name, settings)
        self.pieces: list[Statement] = []
        self.proved: list[Any] = []

    def run(self) -> Statement:
        walk, nodes = self.walk, self.walk.program.nodes
        position = {node: index for index, node in enumerate(nodes)}
        alive = -1
        for index, node in enumerate(nodes[:-1]):
            before, claim = len(walk.leaves), None
            with naming(walk.place(node)):
                value = walk.values[node] = self._evaluate(node)
            if isinstance(value, Dependent):
                claim = walk.combined(value.terms)
                if alive <= index:
                    walk.values[node] = self._cut(node, value)
            if depends(value):
                alive = max(alive, *(position[user] for user in node.users), index)
            self.proved.append((claim, walk.leaves[before:]))
        before, statement = len(walk.leaves), self._finish(nodes[-1])
        self.proved.append((statement, walk.leaves[before:]))
        return statement

    def _finish(self, output: fx.Node) -> Statement:
        (result,) = output.args[0]  # type: ignore[misc, str-unpack]
        value = self.walk.values[result] if isinstance(result, fx.Node) else None
        if isinstance(value, Known):
            return self._noted(Statement("does not depend on the input", 0.0, 0.5))
        if not isinstance(value, Dependent):
            raise Refusal(f"returns {result!r}: expected a tensor")
        self._cut(output, value)
        return compose(self.pieces, "graph of operators") if self.pieces else self._noted(IDENTITY)

    def _cut(self, node: fx.Node, value: Dependent) -> Dependent:
        """Close the piece that ends here."""
        whole, leaves = self.walk.combined(value.terms), self.walk.leaves[self.walk.since :]
        if not value.exact:
            whole = replace(whole, execution=None)
        if leaves and not (len(leaves) == 1 and whole is leaves[0]):
            whole = made_of(leaves, replace(whole, name=self.walk.name, execution=None))
        elif not leaves and whole is not IDENTITY:
            whole = self._noted(replace(whole, parts=()))
        if whole is not IDENTITY:
            self.pieces.append(whole)
        return self.walk.cut(node, value)

    def _noted(self, leaf: Statement) -> Statement:
        """A statement that no operator made."""
        self.walk.leaves.append(leaf)
        return leaf

    def _evaluate(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._placeholder(node)
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        refused = random and node.target not in OPERATORS
        if any(self.walk.values[read] is JUMPING for read in node.all_input_nodes):
            raise Refusal("reads where a maximum or minimum is, which jumps")
        if node.target is operator.getitem:
            source, index = node.args
            return self.walk.values[source][index]  # type: ignore[index]
        if not (refused or any(map(depends, map(self.walk.values.get, node.all_input_nodes)))):
            return self._without_image(node)
        if str(node.target).startswith(("aten.sym_", "aten._assert_tensor_metadata")):
            return Known(node.meta.get("val") if isinstance(node.meta.get("val"), int) else None)
        if node.target is WHOLE:
            return self._whole(node)
        return apply_operator(self.walk, node)

    def _placeholder(self, node: fx.Node) -> Dependent | Known:
        program = self.walk.program
        if node.name == program.arguments[0]:
            return self.walk.cut(node, Dependent({node.name: Fraction(1)}, size_of(node)))
        value = program.constants.get(node.name)
        if isinstance(value, Tensor):
            path = program.names.get(node.name, node.name)
            require_finite(value, f"{self.walk.name}.{path}".strip("."))
        return Known(None if program.varying.get(node.name) is VARYING else value, size_of(node))

    def _without_image(self, node: fx.Node) -> Any:
        """A constant, computed where everything it is made of is known."""
        meta = node.meta.get("val")
        try:
            args, kwargs = map_aggregate(self.walk.program.read(node), self._value)
            with torch.no_grad():
                found = node.target(*args, **kwargs)  # type: ignore[operator]
        except Exception:
            found = None
        if isinstance(meta, (tuple, list)):
            return tuple(map(Known, found or [None] * len(meta), map(shape_of, meta)))
        if found is None and node.target in FILLED:
            return apply_operator(self.walk, node, filled)
        return Known(found, size_of(node) if found is None else shape_of(found))

    def _value(self, argument: Any) -> Any:
        value = self.walk.known(argument)
        if not isinstance(value, Known):
            return value
        if value.value is None or (value.size and not isinstance(value.value, Tensor)):
            raise ValueError("not known")
        return value.value

    def _whole(self, node: fx.Node) -> Dependent:
        source, others, _ = self.walk.known(node.args)
        call = call_of(node)
        path = f"{self.walk.name}.{call.path}".strip(".")
        if not isinstance(source, Dependent) or depends(others):
            raise Refusal(f"gives '{path}' an input other than the first that depends on the image")
        statement = apply_rule(call.module, path, self.walk.settings)
        image = next(iter(self.walk.sizes.values()))
        same = len(image) == len(source.size) and all(map(is_equal, image, source.size))
        sizes = of_sizes(statement.conditions)
        if sizes and not same:
            raise Refusal(
                f"calls '{path}', which is bounded for sizes with {sizes} only, on images of another size "
                f"than those of the network"
            )
        return self.walk.add(node, source, statement)
