"""Calls in place whose tensor no other operator reads, taken for the functions that they are.

``y = conv(x); y.relu_()`` and ``relu(conv(x))`` compute the same where ``y`` owns its memory and nothing
else reads it before. Written for checking: shares no code with what proves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

__all__ = ["written_as_functions"]

_NAMES = (
    "add.Tensor sub.Tensor mul.Tensor div.Tensor relu.default leaky_relu.default elu.default celu.default "
    "selu.default silu.default mish.default hardtanh.default hardswish.default hardsigmoid.default "
    "sigmoid.default tanh.default clamp.default clamp_min.default clamp_max.default neg.default"
)
#: Operators whose results own their memory, besides those named above.
_OWNING = (
    "conv1d.default conv2d.default conv3d.default conv1d.padding conv2d.padding conv3d.padding "
    "conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input linear.default "
    "batch_norm.default"
)


def _operator(name: str) -> Any:
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


_AS_FUNCTION = {_operator(n.replace(".", "_.")): _operator(n) for n in _NAMES.split()}
_OWN = {_operator(name) for name in (_NAMES + " " + _OWNING).split()} | set(_AS_FUNCTION)


def written_as_functions(program: ExportedProgram) -> bool:
    """Whether the graph has no call in place any more, as far as is known of its operators."""
    changing = [node for node in program.graph.nodes if _may_change_tensors(node)]
    if not all(_changes_only_its_own(node) for node in changing):
        return False
    for node in changing:
        node.target = _AS_FUNCTION[node.target]
    program.graph_module.recompile()
    return True


def _may_change_tensors(node: fx.Node) -> bool:
    """An operator in place, or one of which that is not known."""
    if node.op != "call_function" or getattr(node.target, "__module__", "") == "_operator":
        return False
    return not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable


def _changes_only_its_own(node: fx.Node) -> bool:
    """Real numbers of one type, in memory that only this call reads."""
    own = node.args[0] if node.target in _AS_FUNCTION else None
    if not isinstance(own, fx.Node) or own.target not in _OWN or len(own.users) != 1:
        return False
    values = [one.meta.get("val") for one in (node, *node.all_input_nodes)]
    types = {value.dtype for value in values if isinstance(value, torch.Tensor)}
    return len(types) == 1 and types.pop().is_floating_point
