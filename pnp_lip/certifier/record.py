"""A graph as a certificate keeps it: operators, arguments, shapes, and what was proved of every node.

All is plain text and numbers, so that another program can export the network again and compare.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import fx

from pnp_lip.certifier.conditions import axis_letters
from pnp_lip.certifier.program import VARYING, Program
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.surroundings import WHOLE, call_of
from pnp_lip.certifier.values import shape_of, size_of

__all__ = ["place_of", "record_of"]


def place_of(leaf: Statement, layers: dict[Any, Statement]) -> int:
    """Where it stands among the layers; added to them if it is new."""
    key = (leaf.name, leaf.rule, leaf.upper, leaf.averagedness, id(leaf.bound))
    layers.setdefault(key, leaf)
    return list(layers).index(key)


def record_of(program: Program, path: str, proved: list[Any], layers: Any) -> dict[str, Any]:
    """What one way of calling a network runs.

    Parameters
    ----------
    program
        the graph.
    path
        of the network that was exported, empty for the whole.
    proved
        of every node: the statement about it as a map of the last cut, ``None`` if it is constant, and
        those about its operator.
    layers
        gathers what is said about operators.

    Returns
    -------
    dict
        the path, the ``shape`` of images, the argument that is the noise ``level`` and its ``kind``:
        ``none``, ``tensor``, ``number``. A node is a list of its operator (or ``input``, ``level``,
        ``weight``, ``whole``, ``output``), its arguments (``#3`` is node 3, ``?`` what depends on
        the noise level) or name in the network, its shape in the letters of the axes, its bound and
        averagedness, and the places of its operator's statements among the layers.
    """
    write, nodes = _Writer(program), []
    for node, (claim, leaves) in zip(program.nodes, proved, strict=True):
        bounds = (None, None) if claim is None else (claim.upper, claim.averagedness)
        places = [place_of(part, layers) for leaf in leaves for part in leaf.leaves()]
        nodes.append([*write.texts(node), *bounds, places])
    call = program.call
    about = {"path": path, "shape": list(call.shape), "level": call.place, "kind": call.kind}
    return {**about, "nodes": nodes}


class _Writer:
    """Texts of the nodes of one graph."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.position = {node: index for index, node in enumerate(program.nodes)}
        sides = size_of(next(one for one in program.nodes if one.name == program.arguments[0]))
        self.letters = dict(zip(map(str, sides), axis_letters(len(sides)), strict=True))

    def texts(self, node: fx.Node) -> tuple[str, str, str]:
        """Of operator, arguments and shape."""
        shape = ", ".join(map(str, shape_of(node.meta.get("val"))))
        shape = re.sub(r"\b[su]\d+\b", lambda match: self.letters.get(match[0], match[0]), shape)
        if node.op == "placeholder":
            given = self.program.arguments
            kind = ("input", "level")[given.index(node.name)] if node.name in given else "weight"
            return kind, self.program.names.get(node.name, ""), shape
        args, kwargs = self.program.read(node)
        if node.target is WHOLE:
            return "whole", ", ".join([call_of(node).path, *map(self.text, args[:2])]), shape
        known = isinstance(node.target, torch._ops.OpOverload) or node.op == "output"
        operator = str(node.target) if known else getattr(node.target, "__name__", node.target)
        named = [f"{key}={self.text(kwargs[key])}" for key in sorted(kwargs)]
        return str(operator), ", ".join([*map(self.text, args), *named]), shape

    def text(self, value: Any) -> str:
        if isinstance(value, fx.Node):
            return f"#{self.position[value]}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self.text, value))}]"
        return "?" if value is VARYING else repr(value)
