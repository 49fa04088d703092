"""From a module to the operators that run: one functional graph, made by :func:`torch.export.export`.

The exporter runs the module with symbolic sizes, hooks and replaced methods included. In-place calls and
views come out as functions, tensors that ``forward`` changes are listed, a decision that depends on
data cannot be exported, and what had to be assumed about sizes is written down: it becomes part of
the statement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind

from pnp_lip.certifier.calls import Call, Called
from pnp_lip.certifier.conditions import conditions_of
from pnp_lip.certifier.surroundings import kept_whole, undisturbed
from pnp_lip.certifier.values import named
from pnp_lip.plain_modules import Refusal

__all__ = ["VARYING", "NotExportable", "Program", "exported", "made_functional"]

#: In the place of an argument that depends on the noise level.
VARYING = object()
#: Operators whose result is fresh memory, among them those that are also called in place.
_FRESH = named(
    "relu leaky_relu elu celu selu silu mish hardtanh hardswish hardsigmoid sigmoid tanh clamp clamp_min "
    "clamp_max neg add.Tensor sub.Tensor mul.Tensor div.Tensor batch_norm linear conv1d conv2d conv3d "
    "conv1d.padding conv2d.padding conv3d.padding conv_transpose1d conv_transpose2d.input "
    "conv_transpose3d.input"
)


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
    constants, names
        values of placeholders other than the arguments, and how the module calls them.
    arguments
        names of the placeholders of the image and of a tensor of noise levels.
    conditions
        what the exporter assumed about sizes.
    varying
        arguments of nodes with :data:`VARYING` in the places that depend on the level, and itself for
        constants that do.
    """

    graph: fx.GraphModule
    call: Call
    constants: dict[str, Any]
    names: dict[str, str]
    arguments: tuple[str, ...]
    conditions: tuple[str, ...]
    varying: dict[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> list[fx.Node]:
        return list(self.graph.graph.nodes)

    def read(self, node: fx.Node) -> Any:
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
    given = call.blank()
    free = dict.fromkeys(range(given[0].ndim), Dim.AUTO)
    sizes = None if fixed else (free, {0: Dim.AUTO})[: len(given)]
    with undisturbed(), torch.no_grad(), kept_whole(module):
        try:
            first = export(Called(module, call), given, dynamic_shapes=sizes, strict=False)
            program = first if made_functional(first) else first.run_decompositions({})
        except Exception as error:
            raise NotExportable(_reason(error)) from error
    _require_pure(program)
    entries = program.graph_signature.input_specs
    targets = {e.arg.name: str(e.target) for e in entries if e.kind is not InputKind.USER_INPUT}
    held = {**program.constants, **program.state_dict}
    found = {name: held.get(target) for name, target in targets.items()}
    constants = {k: v.detach() if isinstance(v, Tensor) else v for k, v in found.items()}
    names = {name: target.removeprefix("inner.") for name, target in targets.items()}
    arguments = tuple(program.graph_signature.user_inputs)[: len(given)]
    conditions = conditions_of([first, program], arguments[0])
    return Program(program.graph_module, call, constants, names, arguments, conditions)


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
    changed = [*state.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        names = ", ".join(sorted(repr(str(name).removeprefix("inner.")) for name in changed))
        raise Refusal(
            f"changes {names} in place whenever it is called: work on a copy, and call eval() first"
        )


def made_functional(program: ExportedProgram) -> bool:
    """Whether nothing is changed in place, after calls in place were written as functions if all can be.

    ``relu_(conv(x))`` is ``relu(conv(x))`` where the result of ``conv`` is fresh memory that nothing
    else reads. The exporter's own way, for calls in place of every kind, runs the network four times
    more.
    """
    functions: dict[fx.Node, Any] = {}
    for node in filter(_may_change, program.graph.nodes):
        name, _, overload = str(node.target).removeprefix("aten.").partition("_.")
        twins = named(f"{name}.{overload}") if hasattr(torch.ops.aten, name) else [None]
        if twins[0] not in _FRESH or not _is_own(node, functions):
            return False
        functions[node] = twins[0]
    for node, function in functions.items():
        node.target = function
    program.graph_module.recompile()
    return True


def _may_change(node: fx.Node) -> bool:
    """Whether an operator changes a tensor, or may do so as far as is known."""
    if node.op != "call_function" or getattr(node.target, "__module__", "") == "_operator":
        return False
    return not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable


def _is_own(node: fx.Node, functions: dict[fx.Node, Any]) -> bool:
    """Whether a call in place changes fresh memory that nothing else reads, among equal types."""
    changed = node.args[0]
    if not isinstance(changed, fx.Node) or list(changed.users) != [node]:
        return False
    values = [read.meta.get("val") for read in (node, *node.all_input_nodes)]
    types = {value.dtype for value in values if isinstance(value, Tensor)}
    fresh = functions.get(changed, changed.target) in _FRESH
    return fresh and len(types) == 1 and next(iter(types)).is_floating_point
