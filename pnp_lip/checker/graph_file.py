"""The graphs in a certificate, read strictly; what they say is compared with the network elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pnp_lip.checker.entries import Entries, short
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["Graph", "Node", "read_graph"]

_NODES, _CHARACTERS, _PIXELS = 10**5, 10**4, 2**22
_KINDS = ("none", "tensor", "number")
_NODE = ("operator", "arguments", "shape", "upper", "averagedness", "layers")


@dataclass(frozen=True)
class Node:
    """One operator, and what is claimed of it.

    Attributes
    ----------
    operator, arguments, shape
        as texts; ``#3`` is node 3.
    upper, averagedness
        of the node as a map of the last cut, ``None`` if it is constant.
    layers
        places of the statements about the operator among the layers of the certificate.
    """

    operator: str
    arguments: str
    shape: str
    upper: float | None
    averagedness: float | None
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """One way of calling a part of the network, and what it runs."""

    path: str
    shape: tuple[int, ...]
    level: str | None
    kind: str
    nodes: tuple[Node, ...]

    @property
    def what(self) -> str:
        """For messages."""
        level = "" if self.kind == "none" else f" and {self.kind}s as '{self.level}'"
        return f"'{self.path or 'the network'}' on images {list(self.shape)}{level}"


def read_graph(data: Any, index: int, layers: int) -> Graph:
    """Check every entry's presence, type and range.

    Parameters
    ----------
    data
        what stands in the file.
    index
        of the graph.
    layers
        how many layers the certificate has.

    Raises
    ------
    CertificateRejected
        with the entry and what was expected there.
    """
    entries = Entries(data, f"graph {index}")
    entries.require({"path", "shape", "level", "kind", "nodes"})
    kind = entries.get("kind", str)
    level = entries.get("level", (str, type(None)))
    if kind not in _KINDS or (kind == "none") != (level is None):
        raise CertificateRejected(
            f"graph {index} has the level {level!r} of the kind {short(kind)}"
        )
    nodes = entries.get("nodes", list)
    if not 0 < len(nodes) <= _NODES:
        raise CertificateRejected(f"graph {index} has {len(nodes)} nodes: expected 1 to {_NODES}")
    read = tuple(_node(one, f"node {i} of graph {index}", layers) for i, one in enumerate(nodes))
    return Graph(entries.get("path", str), entries.shape("shape", _PIXELS), level, kind, read)


def _node(data: Any, what: str, layers: int) -> Node:
    if not isinstance(data, list) or len(data) != len(_NODE):
        raise CertificateRejected(f"expected {what} as {len(_NODE)} entries, got {short(data)}")
    entries = Entries(dict(zip(_NODE, data, strict=True)), what)
    operator, arguments, shape = (entries.get(key, str) for key in _NODE[:3])
    if max(len(operator), len(arguments), len(shape)) > _CHARACTERS:
        raise CertificateRejected(f"{what} has a text of more than {_CHARACTERS} characters")
    upper = entries.optional("upper", 0.0)
    places = entries.get("layers", list)
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < layers for i in places):
        raise CertificateRejected(f"{what} names the layers {short(places)}, there are {layers}")
    alpha = entries.optional("averagedness", 0.0, 1.0)
    return Node(operator, arguments, shape, upper, alpha, tuple(places))
