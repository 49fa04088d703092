"""A graph as a certificate keeps it: operators, arguments, shapes, and what was proved of every node.

All is plain text and numbers, so that another program can export the network again and compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx

from pnp_lip.certifier.conditions import axis_letters
from pnp_lip.certifier.program import VARYING, Program
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.values import shape_of, size_of
from pnp_lip.certifier.whole import WHOLE, call_of

__all__ = ["GraphRecord", "NodeRecord", "distinct", "record_of"]


class NodeRecord(NamedTuple):
    """One node.

    Attributes
    ----------
    operator
        its name, or ``input``, ``level``, ``weight``, ``whole``, ``output``.
    arguments
        as text; ``#3`` is node 3, ``?`` what depends on the noise level. The name in the
        network of a weight or of a part that stays whole.
    shape
        with the letters of the axes of images.
    upper, averagedness
        of the node as a map of the last cut, ``None`` if it is constant.
    leaves
        statements about the operator itself.
    """

    operator: str
    arguments: str
    shape: str
    upper: float | None
    averagedness: float | None
    leaves: tuple[Statement, ...]


@dataclass(frozen=True)
class GraphRecord:
    """What one way of calling a network runs.

    Attributes
    ----------
    path
        of the network that was exported, empty for the whole.
    shape
        of the images that it was exported for.
    level
        name of the argument that is the noise level, if it is passed.
    kind
        of the level: ``none``, ``tensor``, ``number``.
    nodes
        in the order of execution.
    """

    path: str
    shape: tuple[int, ...]
    level: str | None
    kind: str
    nodes: tuple[NodeRecord, ...]

    def leaves(self) -> Iterator[Statement]:
        """The statements that it rests on."""
        for node in self.nodes:
            yield from node.leaves

    def to_json(self, layers: Sequence[Statement]) -> dict[str, Any]:
        """Plain data: nodes as lists, their leaves by their place among the layers."""
        place = {_key_of(layer): index for index, layer in enumerate(layers)}
        nodes = [
            [*node[:-1], [place[_key_of(leaf)] for leaf in node.leaves]] for node in self.nodes
        ]
        return {**vars(self), "shape": list(self.shape), "nodes": nodes}

    @classmethod
    def from_json(cls, data: dict[str, Any], layers: Sequence[Statement]) -> GraphRecord:
        """The inverse of :meth:`to_json`."""
        rows = ([*row, tuple(layers[i] for i in leaves)] for *row, leaves in data["nodes"])
        nodes = tuple(NodeRecord(*row) for row in rows)
        return cls(data["path"], tuple(data["shape"]), data["level"], data["kind"], nodes)


def record_of(
    program: Program, path: str, proved: Sequence[tuple[Statement | None, Sequence[Statement]]]
) -> GraphRecord:
    """The record of a graph, with the statement and the leaves of every node."""
    write, records = _Writer(program), []
    for node, (claim, leaves) in zip(program.nodes, proved, strict=True):
        upper, alpha = (None, None) if claim is None else (claim.upper, claim.averagedness)
        parts = tuple(part for leaf in leaves for part in leaf.leaves())
        operator, arguments, shape = write.operator(node), write.arguments(node), write.shape(node)
        records.append(NodeRecord(operator, arguments, shape, upper, alpha, parts))
    call = program.call
    kind = "none" if call.place is None else "tensor" if call.number is None else "number"
    return GraphRecord(path, call.shape, call.place, kind, tuple(records))


class _Writer:
    """Texts of the nodes of one graph."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.position = {node: index for index, node in enumerate(program.nodes)}
        image = next(node for node in program.nodes if node.name == program.arguments[0])
        sides = size_of(image)
        self.letters = dict(zip(map(str, sides), axis_letters(len(sides)), strict=True))

    def operator(self, node: fx.Node) -> str:
        if node.op == "output" or node.target is WHOLE:
            return "output" if node.op == "output" else "whole"
        if node.op == "placeholder":
            given = self.program.arguments
            return ("input", "level")[given.index(node.name)] if node.name in given else "weight"
        known = isinstance(node.target, torch._ops.OpOverload)
        return str(node.target) if known else str(getattr(node.target, "__name__", node.target))

    def arguments(self, node: fx.Node) -> str:
        if node.op == "placeholder":
            return self.program.names.get(node.name, "")
        args, kwargs = self.program.read(node)
        if node.target is WHOLE:
            return ", ".join([call_of(node).path, *map(self.text, args[:2])])
        named = [f"{key}={self.text(kwargs[key])}" for key in sorted(kwargs)]
        return ", ".join([*map(self.text, args), *named])

    def text(self, value: Any) -> str:
        if isinstance(value, fx.Node):
            return f"#{self.position[value]}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self.text, value))}]"
        return "?" if value is VARYING else repr(value)

    def shape(self, node: fx.Node) -> str:
        text = ", ".join(map(str, shape_of(node.meta.get("val"))))
        return re.sub(r"\b[su]\d+\b", lambda match: self.letters.get(match[0], match[0]), text)


def _key_of(leaf: Statement) -> tuple[Any, ...]:
    """Equal for statements that say the same."""
    return leaf.name, leaf.rule, leaf.upper, leaf.averagedness, id(leaf.bound)


def distinct(leaves: Sequence[Statement]) -> tuple[Statement, ...]:
    """Each statement once: several ways of calling a network rest on the same layers."""
    return tuple({_key_of(leaf): leaf for leaf in leaves}.values())
