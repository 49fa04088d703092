"""What the checker proves of a network of operators: the least that a certificate may claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from pnp_lip.checker import CertificateRejected
from pnp_lip.checker.audit import Audit
from pnp_lip.checker.export import exported
from pnp_lip.checker.file import Layer, read_certificate
from pnp_lip.checker.graph_file import Graph, Node
from pnp_lip.checker.ledger import Ledger
from pnp_lip.checker.walk import Walk

#: A walk along other nodes and layers than those of the certificate.
Run = Callable[[tuple[Node, ...], tuple[Layer, ...]], None]

_LESS = 1 - 1e-3


def _walk(network: nn.Module, graph: Graph) -> Run:
    """Through one graph, which is exported once and whose norms are proved once."""
    found, proved = exported(network, graph), set[Any]()

    def run(nodes: tuple[Node, ...], layers: tuple[Layer, ...]) -> None:
        ledger = Ledger(layers, progress=False)
        ledger.proved = proved
        walk = Walk(replace(graph, nodes=nodes), found, ledger)
        Audit(walk, None).run()  # type: ignore[arg-type]

    return run


def claims_that_could_be_less(network: nn.Module, data: dict[str, Any]) -> list[str]:
    """Numbers of the first graph that the checker also confirms when they are a thousandth less."""
    read, found = read_certificate(data), []
    run, nodes, layers = _walk(network, read.graphs[0]), read.graphs[0].nodes, read.layers
    run(nodes, layers)
    for place, node in enumerate(nodes):
        for what, less in _less(node):
            if _confirmed(run, (*nodes[:place], less, *nodes[place + 1 :]), layers):
                found.append(f"{what} of {node.operator}({node.arguments})")
    for place in {place for node in nodes for place in node.layers}:
        for what, less in _less(layers[place]):
            if _confirmed(run, nodes, (*layers[:place], less, *layers[place + 1 :])):
                found.append(f"{what} of layer {layers[place].name}")
    return found


def _confirmed(run: Run, nodes: tuple[Node, ...], layers: tuple[Layer, ...]) -> bool:
    reason = ""
    try:
        run(nodes, layers)
    except CertificateRejected as rejected:
        reason = str(rejected)
    assert not reason or "below what" in reason
    return not reason


def _less(one: Any) -> Iterator[tuple[str, Any]]:
    """With a smaller bound, a smaller averagedness, or smaller errors of execution."""
    if one.upper:
        yield "upper", replace(one, upper=one.upper * _LESS)
    if one.averagedness is None and one.upper is not None:
        yield "averagedness", replace(one, averagedness=1.0)
    elif one.averagedness:
        yield "averagedness", replace(one, averagedness=one.averagedness * _LESS)
    for key, value in (getattr(one, "execution", None) or {}).items():
        if value:
            yield key, replace(one, execution={**one.execution, key: value * _LESS})
