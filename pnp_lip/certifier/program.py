"""From a module to the operators that run: one functional graph, made by :func:`torch.export.export`.

The exporter runs the module with symbolic sizes, hooks and replaced methods included. In-place calls and
views come out as functions, tensors that ``forward`` changes are listed, a decision that depends on
data cannot be exported, and what had to be assumed about sizes is written down: it becomes part of
the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind

from pnp_lip.certifier.calls import Call
from pnp_lip.certifier.conditions import conditions_of
from pnp_lip.certifier.functional import made_functional
from pnp_lip.certifier.surroundings import quiet, same_random_state
from pnp_lip.certifier.whole import kept_whole
from pnp_lip.plain_modules import Refusal

__all__ = ["VARYING", "NotExportable", "Program", "exported", "with_varying_level"]

#: In the place of an argument that depends on the noise level.
VARYING = object()


class NotExportable(Exception):
    """The exporter or the module itself raised an error; the message is its first line."""


@dataclass(frozen=True)
class Program:
    """A graph with what it was made for.

    Attributes
    ----------
    graph
        functional, in the order of execution.
    call
        how the module was called.
    constants
        values of placeholders other than the arguments, and how the module calls them.
    names
        of constants in the module.
    arguments
        names of the placeholders of the image and of a tensor of noise levels.
    conditions
        what the exporter assumed about sizes.
    varying
        arguments of nodes with :data:`VARYING` in the places that depend on the level.
    """

    graph: fx.GraphModule
    call: Call
    constants: dict[str, Any]
    names: dict[str, str]
    arguments: tuple[str, ...]
    conditions: tuple[str, ...]
    varying: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def nodes(self) -> list[fx.Node]:
        return list(self.graph.graph.nodes)

    def read(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a node reads, with :data:`VARYING` where the noise level decides."""
        return self.varying.get(node.name, (node.args, node.kwargs))

    def run(self, *given: Tensor) -> Tensor:
        """The graph executed."""
        values = self.constants | dict(zip(self.arguments, given, strict=True))
        inputs = [values[node.name] for node in self.nodes if node.op == "placeholder"]
        (out,) = fx.Interpreter(self.graph).run(*inputs)
        return out


def exported(module: nn.Module, call: Call, *, fixed: bool = False) -> Program:
    """The graph of ``module`` for one way of calling it.

    Parameters
    ----------
    module
        any module.
    call
        the way.
    fixed
        for images of just this size, instead of as many sizes as the exporter can.

    Raises
    ------
    Refusal
        random numbers, changed tensors, several outputs.
    NotExportable
        the exporter or the module raised an error.
    """
    given = call.example()
    free = dict.fromkeys(range(given[0].ndim), Dim.AUTO)
    sizes = None if fixed else (free, {0: Dim.AUTO})[: len(given)]
    root = call.module(module)
    with quiet(), same_random_state(), torch.no_grad(), kept_whole(module):
        try:
            first = export(root, given, dynamic_shapes=sizes, strict=False)
            program = first if made_functional(first) else first.run_decompositions({})
        except Exception as error:
            raise NotExportable(_reason(error)) from error
    _require_pure(program)
    constants, names = _constants(program)
    arguments = tuple(program.graph_signature.user_inputs)[: len(given)]
    conditions = conditions_of([first, program], arguments[0])
    return Program(program.graph_module, call, constants, names, arguments, conditions)


def with_varying_level(programs: Sequence[Program]) -> Program:
    """One program for several noise levels given as numbers, which may differ in constants alone.

    Raises
    ------
    Refusal
        they are not the same graph.
    """
    first = programs[0]
    varying: dict[str, tuple[Any, Any]] = {}
    constants = dict(first.constants)
    for other in programs[1:]:
        if len(first.nodes) != len(other.nodes) or first.conditions != other.conditions:
            raise Refusal("is another map at another noise level: register a rule")
        twins = dict(zip(other.nodes, first.nodes, strict=True))
        for twin, node in twins.items():
            given = node.op == "placeholder"
            if node.op != twin.op or (not given and node.target != twin.target):
                raise Refusal("calls other operators at another noise level: register a rule")
            if given and not _same(constants.get(node.name), other.constants.get(twin.name)):
                constants[node.name] = VARYING
            before = varying.get(node.name, (node.args, node.kwargs))
            varying[node.name] = _merged(before, (twin.args, twin.kwargs), twins)
    return replace(first, constants=constants, varying=varying)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    return one is not VARYING


def _merged(one: Any, other: Any, twins: dict[fx.Node, fx.Node]) -> Any:
    """Arguments of twins; numbers and texts are equal if they are written in the same way."""
    if isinstance(one, fx.Node) or isinstance(other, fx.Node):
        if not (isinstance(other, fx.Node) and twins[other] is one):
            raise Refusal("reads other tensors at another noise level: register a rule")
        return one
    several = isinstance(one, (tuple, list)) and isinstance(other, (tuple, list))
    if several and len(one) == len(other):
        return type(one)(_merged(a, b, twins) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _merged(one[key], other[key], twins) for key in one}
    return one if repr(one) == repr(other) else VARYING


def _reason(error: BaseException) -> str:
    """The refusal that caused an error, or its first line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Refusal):
            raise cause
        cause = cause.__cause__ or cause.__context__
    if "data-dependent" in str(error):
        return "it decides by the values of its input"
    if "found a fake tensor" in str(error):
        return "it changes a tensor where the exporter cannot see it, for instance through .data"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _require_pure(program: ExportedProgram) -> None:
    signature = program.graph_signature
    state = signature.buffers_to_mutate | signature.parameters_to_mutate
    changed = [str(name) for name in (state | signature.user_inputs_to_mutate).values()]
    if changed:
        names = ", ".join(sorted(repr(name.removeprefix("inner.")) for name in changed))
        raise Refusal(
            f"changes {names} in place whenever it is called, so it is no map of its input alone: work on "
            f"a copy, and call eval() first"
        )
    if len(signature.user_outputs) != 1:
        raise Refusal(f"returns {len(signature.user_outputs)} values: expected one tensor")


def _constants(program: ExportedProgram) -> tuple[dict[str, Any], dict[str, str]]:
    constants: dict[str, Any] = {}
    names: dict[str, str] = {}
    for entry in program.graph_signature.input_specs:
        if entry.kind is InputKind.USER_INPUT:
            constants.setdefault(entry.arg.name, None)
            continue
        target = str(entry.target)
        found = program.state_dict.get(target, program.constants.get(target))
        constants[entry.arg.name] = found.detach() if isinstance(found, Tensor) else found
        names[entry.arg.name] = target.removeprefix("inner.")
    return constants, names
