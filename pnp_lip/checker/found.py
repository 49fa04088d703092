"""What a network runs, and what several of its graphs have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from pnp_lip.checker.kept_parts import WHOLE
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["UNKNOWN", "Exported", "in_common"]

#: In the place of what depends on the noise level.
UNKNOWN = object()


@dataclass(frozen=True)
class Exported:
    """What a network runs, called in one way.

    Attributes
    ----------
    programs
        of torch, the first before and after the decomposition, then for other noise levels.
    nodes
        of the graph.
    arguments
        of nodes by name, with :data:`UNKNOWN` where the noise level decides.
    values
        of placeholders by name: ``None`` for the image, weights, :data:`UNKNOWN`.
    names
        of placeholders in the network.
    inputs
        names of the placeholders of the image and of a tensor of noise levels.
    parts
        modules that stay whole, with their paths, by the numbers of their calls.
    """

    programs: tuple[ExportedProgram, ...]
    nodes: list[fx.Node]
    arguments: dict[str, tuple[Any, Any]]
    values: dict[str, Any]
    names: dict[str, str]
    inputs: tuple[str, ...]
    parts: dict[int, tuple[str, nn.Module]]

    @property
    def image(self) -> fx.Node:
        return next(node for node in self.nodes if node.name == self.inputs[0])


def in_common(programs: list[ExportedProgram], parts: list[Any], inputs: int) -> Exported:
    """What the programs for several noise levels have in common, of so many inputs."""
    first, others = programs[1], programs[2:]
    nodes = list(first.graph.nodes)
    values, names = _placeholders(first)
    arguments = {node.name: (node.args, node.kwargs) for node in nodes}
    for other in others:
        twins, theirs = list(other.graph.nodes), _placeholders(other)[0]
        runs = [[n.target for n in graph if n.op == "call_function"] for graph in (nodes, twins)]
        if runs[0] != runs[1] or len(nodes) != len(twins):
            raise CertificateRejected("the network runs other operators at another noise level")
        place = dict(zip(twins, nodes, strict=True))
        for node, twin in zip(nodes, twins, strict=True):
            if node.op == "placeholder" and not _equal(values[node.name], theirs[twin.name]):
                values[node.name] = UNKNOWN
            read = (twin.args, twin.kwargs) if node.target is not WHOLE else (twin.args[:2], {})
            own = arguments[node.name]
            found = _common((own[0][: len(read[0])], own[1]), read, place)
            arguments[node.name] = tuple(found)
    given, numbered = tuple(first.graph_signature.user_inputs)[:inputs], dict(enumerate(parts))
    return Exported(tuple(programs), nodes, arguments, values, names, given, numbered)


def _placeholders(program: ExportedProgram) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for entry in program.graph_signature.input_specs:
        target = str(entry.target)
        found = program.state_dict.get(target, program.constants.get(target))
        values[entry.arg.name] = found.detach() if isinstance(found, Tensor) else found
        own = entry.kind is InputKind.USER_INPUT
        names[entry.arg.name] = "" if own else target.removeprefix("inner.")
    return values, names


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return one is other or (one is not UNKNOWN and type(one) is type(other) and one == other)


def _common(one: Any, other: Any, place: dict[fx.Node, fx.Node]) -> Any:
    """Arguments where they agree, :data:`UNKNOWN` elsewhere; tensors must be the same."""
    if isinstance(one, fx.Node) or isinstance(other, fx.Node):
        if not isinstance(other, fx.Node) or place[other] is not one:
            raise CertificateRejected("the network reads other tensors at another noise level")
        return one
    several = isinstance(one, (list, tuple)) and isinstance(other, (list, tuple))
    if several and len(one) == len(other):
        return [_common(a, b, place) for a, b in zip(one, other, strict=True)]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _common(one[key], other[key], place) for key in one}
    return one if _equal(one, other) else UNKNOWN
