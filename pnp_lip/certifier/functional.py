r"""Calls in place that no other operator can see, written as the functions that they are.

``relu_(conv(x))`` is ``relu(conv(x))`` where the result of ``conv`` is fresh memory that nothing else
reads. The exporter's own way, for calls in place of every kind, runs the network four times more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from pnp_lip.certifier.aten import named

__all__ = ["made_functional"]

_ENTRYWISE = (
    "relu leaky_relu elu celu selu silu mish hardtanh hardswish hardsigmoid sigmoid tanh clamp clamp_min "
    "clamp_max neg add.Tensor sub.Tensor mul.Tensor div.Tensor"
)
#: By the call in place; all compute the same entries in fresh memory.
_FUNCTIONS = {
    in_place: function
    for function in named(_ENTRYWISE)
    for in_place in named("{}_.{}".format(*str(function).split(".")[1:]))
}
_FRESH = {
    *_FUNCTIONS.values(),
    *named("conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding linear batch_norm"),
    *named("conv_transpose1d conv_transpose2d.input conv_transpose3d.input"),
}


def made_functional(program: ExportedProgram) -> bool:
    """Whether nothing is changed in place, after calls in place were written as functions if all can be."""
    functions: dict[fx.Node, Any] = {}
    for node in program.graph.nodes:
        if not _may_change(node):
            continue
        function = _FUNCTIONS.get(node.target)
        if function is None or not _is_own(node, functions):
            return False
        functions[node] = function
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
    types = {value.dtype for value in _tensors(node)}
    fresh = functions.get(changed, changed.target) in _FRESH
    return fresh and len(types) == 1 and next(iter(types)).is_floating_point


def _tensors(node: fx.Node) -> Iterator[Tensor]:
    for read in (node, *node.all_input_nodes):
        value = read.meta.get("val")
        if isinstance(value, Tensor):
            yield value
