"""The graph of a network, exported again and compared with the one in a certificate, node by node.

Written for checking: nothing of the code that made the certificate is used, only the exporter of torch.
"""

from __future__ import annotations

import copy
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind

from pnp_lip.checker.architecture import keeps_shape
from pnp_lip.checker.graph_file import Graph
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["UNKNOWN", "WHOLE", "Exported", "exported"]

#: In the place of what depends on the noise level.
UNKNOWN = object()
#: Noise levels at which a graph for numbers is exported.
_LEVELS = (0.06, 0.31, 0.5)
_AGREEMENT = 1e-4
#: Arguments on any value of which the theorems of our classes hold.
_FREE = {"sigma"}


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


_CALLS: list[tuple[str, nn.Module, Callable[[Tensor, list[Tensor]], Tensor]]] = []


@torch.library.custom_op("pnp_lip::checked_part", mutates_args=())
def _part(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    return _CALLS[call][2](x.clone(), others).clone()


@_part.register_fake
def _(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    _, part, run = _CALLS[call]
    return torch.empty_like(x) if keeps_shape(part) else run(x, others)


#: Stands in a graph for a part that stays whole.
WHOLE = torch.ops.pnp_lip.checked_part.default


class _Caller(nn.Module):
    """A network as a function of tensors alone."""

    def __init__(self, inner: nn.Module, level: str | None, number: float | None) -> None:
        super().__init__()
        self.inner, self.level, self.number = inner, level, number
        self.training = inner.training

    def forward(self, x: Tensor, level: Tensor | None = None) -> Any:
        if self.level is None:
            return self.inner(x)
        return self.inner(x, **{self.level: level if self.number is None else self.number})


def exported(network: nn.Module, graph: Graph) -> Exported:
    """Export ``network`` in the way that ``graph`` was made.

    Raises
    ------
    CertificateRejected
        it cannot be exported so, is no map of its input alone, or computes
        something else than its graph.
    """
    levels: tuple[float | None, ...] = _LEVELS if graph.kind == "number" else (None,)
    inner = _copied(network)
    wholes = {node.arguments.split(", ")[0] for node in graph.nodes if node.operator == "whole"}
    _CALLS.clear()
    for path in sorted(wholes):
        _keep_whole(inner, path)
    before: list[ExportedProgram] = []
    programs: list[ExportedProgram] = []
    for level in levels:
        caller = _Caller(inner, graph.level, level)
        first, program, given = _export(caller, graph)
        _require_pure(program)
        _require_agreement(caller, program, given)
        before, programs = before or [first], [*programs, program]
    for path in wholes:
        del vars(inner.get_submodule(path))["forward"]
    return _merged(before + programs, [(path, part) for path, part, _ in _CALLS], graph)


def _export(caller: _Caller, graph: Graph) -> tuple[ExportedProgram, ExportedProgram, Any]:
    like = next(caller.parameters(), torch.zeros(()))
    x = torch.rand(graph.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    given = [x, torch.rand(graph.shape[0])] if graph.kind == "tensor" else [x]
    given = [one.to(like.device, like.dtype) for one in given]
    free = (dict.fromkeys(range(x.ndim), Dim.AUTO), {0: Dim.AUTO})[: len(given)]
    for sizes in (free, None):
        try:
            with _quiet(), torch.no_grad():
                first = export(caller, tuple(given), dynamic_shapes=sizes, strict=False)
                if any(map(_may_change_tensors, first.graph.nodes)):
                    return first, first.run_decompositions({}), given
                return first, first, given
        except CertificateRejected:
            raise
        except Exception as error:
            problem = error
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    raise CertificateRejected(
        f"the network cannot be exported again: {lines[0][:200]}"
    ) from problem


def _may_change_tensors(node: fx.Node) -> bool:
    """An operator in place, or one of which that is not known."""
    if node.op != "call_function" or getattr(node.target, "__module__", "") == "_operator":
        return False
    return not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable


def _require_pure(program: ExportedProgram) -> None:
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.parameters_to_mutate:
        raise CertificateRejected("the network changes its own tensors when it is called")
    if signature.user_inputs_to_mutate or len(signature.user_outputs) != 1:
        raise CertificateRejected("the network changes its input, or returns several values")


def _require_agreement(caller: _Caller, program: ExportedProgram, given: Any) -> None:
    with torch.no_grad(), _quiet():
        outs = [f(*(one.clone() for one in given)) for f in (caller, caller, program.module())]
    if not torch.equal(outs[0], outs[1]):
        raise CertificateRejected("the network gives two answers for one input")
    scale = torch.linalg.vector_norm(outs[0].double()).clamp_min(1e-300)
    if outs[0].shape != outs[2].shape or not (
        torch.linalg.vector_norm((outs[0] - outs[2]).double()) <= _AGREEMENT * scale
    ):
        raise CertificateRejected("the exported graph computes something else than the network")


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise CertificateRejected(f"the network cannot be copied: {error}") from error


def _keep_whole(root: nn.Module, path: str) -> None:
    """Let calls of one part stand in the graph as one operator."""
    try:
        part = root.get_submodule(path)
    except AttributeError as error:
        raise CertificateRejected(f"the network has no part '{path}'") from error
    if "forward" in vars(part):
        raise CertificateRejected(
            f"'{path}' has its own 'forward', which replaces that of its class"
        )
    forward = type(part).forward
    signature = inspect.signature(forward)

    def record(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rest = dict(list(signature.bind(part, x, *args, **kwargs).arguments.items())[2:])
        tensors = [key for key, value in rest.items() if isinstance(value, Tensor)]
        given = [k for k, value in rest.items() if value is not signature.parameters[k].default]
        if keeps_shape(part) and not set(given) <= _FREE:
            raise CertificateRejected(f"'{path}' is called with {given}: its theorem excludes that")

        def run(image: Tensor, others: list[Tensor]) -> Tensor:
            bound = signature.bind(part, image, *args, **kwargs)
            bound.arguments.update(zip(tensors, others, strict=True))
            out: Tensor = forward(*bound.args, **bound.kwargs)
            return out

        _CALLS.append((path, part, run))
        out: Tensor = WHOLE(x, [rest[key] for key in tensors], len(_CALLS) - 1)
        return out

    vars(part)["forward"] = record


def _merged(programs: list[ExportedProgram], parts: list[Any], graph: Graph) -> Exported:
    """What the programs for several noise levels have in common."""
    first, others = programs[1], programs[2:]
    nodes = list(first.graph.nodes)
    values, names = _placeholders(first)
    arguments = {node.name: (node.args, node.kwargs) for node in nodes}
    for other in others:
        twins, theirs = list(other.graph.nodes), _placeholders(other)[0]
        targets = [node.target for node in nodes if node.op == "call_function"]
        if targets != [node.target for node in twins if node.op == "call_function"]:
            raise CertificateRejected("the network runs other operators at another noise level")
        if len(nodes) != len(twins):
            raise CertificateRejected("the network runs another graph at another noise level")
        place = dict(zip(twins, nodes, strict=True))
        for node, twin in zip(nodes, twins, strict=True):
            if node.op == "placeholder" and not _equal(values[node.name], theirs[twin.name]):
                values[node.name] = UNKNOWN
            read = (twin.args, twin.kwargs) if node.target is not WHOLE else (twin.args[:2], {})
            own = arguments[node.name]
            found = _common((own[0][: len(read[0])], own[1]), read, place)
            arguments[node.name] = tuple(found)
    inputs = tuple(first.graph_signature.user_inputs)[: 2 if graph.kind == "tensor" else 1]
    count = dict(enumerate(parts))
    return Exported(tuple(programs), nodes, arguments, values, names, inputs, count)


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
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) == len(other):
            return [_common(a, b, place) for a, b in zip(one, other, strict=True)]
        return UNKNOWN
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _common(one[key], other[key], place) for key in one}
    return one if _equal(one, other) else UNKNOWN


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns, logs and prints about what it then raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
