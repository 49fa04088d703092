"""Whether a graph in a certificate is the one that a network runs: node by node, as texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from pnp_lip.checker.entries import short
from pnp_lip.checker.found import UNKNOWN, Exported
from pnp_lip.checker.graph_file import Graph
from pnp_lip.checker.kept_parts import WHOLE
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["conditions_of", "label_of", "require_same_graph"]

_LETTERS = {1: "F", 2: "BF", 3: "BCL", 4: "BCHW", 5: "BCDHW"}


def require_same_graph(stored: Graph, found: Exported) -> None:
    """Every node has the stored operator, arguments and shape.

    Raises
    ------
    CertificateRejected
        with the first node that differs.
    """
    texts = _Texts(found)
    for index, (node, wanted) in enumerate(zip(found.nodes, stored.nodes, strict=False)):
        own = (texts.operator(node), texts.arguments(node), texts.shape(node))
        if own != (wanted.operator, wanted.arguments, wanted.shape):
            raise CertificateRejected(
                f"node {index} of the certificate is {_call(wanted.operator, wanted.arguments)} of shape "
                f"[{short(wanted.shape)}], the network runs {_call(*own[:2])} of shape [{short(own[2])}]"
            )
    if len(found.nodes) != len(stored.nodes):
        raise CertificateRejected(
            f"the certificate has {len(stored.nodes)} nodes for {stored.what}, the network runs "
            f"{len(found.nodes)}"
        )


def _call(operator: str, arguments: str) -> str:
    return f"{short(operator)}({short(arguments)})"


class _Texts:
    """How nodes are written in certificates."""

    def __init__(self, found: Exported) -> None:
        self.found = found
        self.place = {node: index for index, node in enumerate(found.nodes)}
        sides = found.image.meta["val"].shape
        names = _LETTERS.get(len(sides), "ABCDEFGHIJ")
        self.letters = {str(side): letter for side, letter in zip(sides, names, strict=False)}

    def operator(self, node: fx.Node) -> str:
        if node.op == "placeholder":
            given = self.found.inputs
            return ("input", "level")[given.index(node.name)] if node.name in given else "weight"
        if node.op == "output" or node.target is WHOLE:
            return "output" if node.op == "output" else "whole"
        plain = isinstance(node.target, torch._ops.OpOverload)
        return str(node.target) if plain else str(getattr(node.target, "__name__", node.target))

    def arguments(self, node: fx.Node) -> str:
        if node.op == "placeholder":
            return self.found.names[node.name]
        if node.target is WHOLE:
            x, others, call = node.args
            return ", ".join([self.found.parts[call][0], self.text(x), self.text(others)])  # type: ignore[index]
        args, kwargs = self.found.arguments[node.name]
        return ", ".join(
            [*map(self.text, args), *(f"{k}={self.text(kwargs[k])}" for k in sorted(kwargs))]
        )

    def text(self, value: Any) -> str:
        if isinstance(value, fx.Node):
            return f"#{self.place[value]}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(map(self.text, value)) + "]"
        return "?" if value is UNKNOWN else repr(value)

    def shape(self, node: fx.Node) -> str:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return ""
        text = ", ".join(map(str, value.shape))
        return re.sub(r"\b[su]\d+\b", lambda found: self.letters.get(found[0], found[0]), text)


def label_of(node: fx.Node, prefix: str) -> str:
    """Name of the statement about an operator: its layer of torch, else the path and the node."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = (str(one) for one in stack[-1]) if stack else ("inner", "")
    path = path.removeprefix("inner").removeprefix(".")
    if kind.startswith(("torch.nn.modules", "torch.nn.utils.parametri")):
        own = path.split("@")[0]
    else:
        own = f"{path}.{node.name}" if path else node.name
    return ".".join(one for one in (prefix, own) if one)


def conditions_of(found: Exported) -> tuple[str, ...]:
    """What the exporter assumed about sizes, in the letters of the axes, and the type of the images."""
    sides = found.image.meta["val"].shape
    letters = _LETTERS.get(len(sides), "ABCDEFGHIJ"[: len(sides)])
    texts: list[str] = []
    for letter, side in zip(letters, sides, strict=True):
        if isinstance(side, int):
            texts.append(f"{letter} == {side}")
            continue
        limits = found.programs[1].range_constraints.get(side.node.expr)
        if limits is not None:
            texts.append(f"{letter} >= {int(limits.lower)}")
            if "oo" not in str(limits.upper):
                texts.append(f"{letter} <= {int(limits.upper)}")
    for program in found.programs:
        for guard in program._guards_code or []:
            text = guard.replace("L['level'].size()[0]", letters[0])
            text = re.sub(r"L\['x'\]\.size\(\)\[(\d)\]", lambda one: letters[int(one[1])], text)
            sum_of = re.fullmatch(r"\((\d+) \+ ([A-Z])\) == (\d+)", text)
            if sum_of:
                text = f"{sum_of[2]} == {int(sum_of[3]) - int(sum_of[1])}"
            if text != f"{letters[0]} == {letters[0]}":
                texts.append(text)
    kind = str(found.image.meta["val"].dtype)
    return (*dict.fromkeys(texts), kind.replace("torch.", "dtype == "))


def conditions_over(all_conditions: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """What must be said of several graphs for one kind of call.

    One and several images cover all numbers of them, likewise channels.
    """
    found = {text: None for conditions in all_conditions for text in conditions}
    for letter in "BC":
        single = any(f"{letter} == 1" in one for one in all_conditions)
        several = any(
            not any(text.startswith(f"{letter} ==") for text in one) for one in all_conditions
        )
        if single and several:
            found = {t: None for t in found if t not in (f"{letter} == 1", f"{letter} >= 2")}
    return tuple(found)
