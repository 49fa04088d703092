"""Which rule bounds which operator; every argument that a rule does not name must have its default."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.certifier.operators.operation import Operation
from pnp_lip.certifier.values import JUMPING, Dependent, Known, named
from pnp_lip.certifier.walk import Walk, depends
from pnp_lip.plain_modules import Refusal

__all__ = ["OPERATORS", "Operation", "apply_operator", "named", "register_operator"]


#: The rules, by operator, such as ``torch.ops.aten.relu.default``.
OPERATORS: dict[Any, Callable[..., Any]] = {}

#: Why some operators have no rule.
_REASONS = {
    "normalises by statistics of its input, which has no finite constant": (
        "native_group_norm group_norm layer_norm native_layer_norm instance_norm rms_norm var std "
        "_fused_rms_norm _batch_norm_with_update _native_batch_norm_legit_functional"
    ),
    "multiplies tensors that depend on the input, which has no finite constant": (
        "scaled_dot_product_attention square glu lstm gru gru_cell lstm_cell cdist addcmul"
    ),
    "has no rule; its slopes have no bound, so register one with pnp_lip.certifier.register_operator": (
        "exp expm1 log log1p sqrt rsqrt pow reciprocal"
    ),
    "is recurrent, and has no rule": "rnn_tanh rnn_relu",
    "drops entries at random: call eval() first": "native_dropout",
    "jumps, so it has no finite constant": (
        "sign round floor ceil gt lt ge le eq ne argmax argmin hardshrink threshold heaviside"
    ),
    "reads the value of a tensor, so that a decision may depend on data": (
        "item _local_scalar_dense is_nonzero nonzero"
    ),
    "returns indices, which jump: use return_indices=False": (
        "max_pool2d_with_indices max_pool3d_with_indices"
    ),
    "indexes with tensors, which may repeat entries": "gather take scatter grid_sampler",
}
_WHY = {name: reason for reason, names in _REASONS.items() for name in names.split()}


def register_operator(*operators: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: this function bounds calls of ``operators`` in exported networks.

    The function takes an :class:`Operation`, then the operator's arguments by the names of its schema
    (``self`` and ``input`` are called ``x``), and returns what :meth:`Operation.bounded` or
    :meth:`Operation.entrywise` return. Arguments that it does not take must have their defaults in
    the network, otherwise the network is refused. It is trusted.

    Parameters
    ----------
    operators
        such as ``torch.ops.aten.relu.default``; or names in ``torch.ops.aten``, several in one
        string, without the overload where it is the default.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip.certifier import local_rules, prove, register_operator
    >>> class Waves(torch.nn.Module):
    ...     def forward(self, x):
    ...         return 0.5 * torch.special.bessel_j0(x)
    >>> with local_rules():
    ...     @register_operator(torch.ops.aten.special_bessel_j0.default)
    ...     def _bessel(op, x):
    ...         return op.entrywise(x, -0.582, 0.582)
    ...     print(prove(Waves(), example=torch.zeros(1, 1, 8, 8)).upper)
    0.291
    """

    def add(rule: Callable[..., Any]) -> Callable[..., Any]:
        for one in operators:
            OPERATORS.update(dict.fromkeys(named(one) if isinstance(one, str) else (one,), rule))
        return rule

    return add


def apply_operator(walk: Walk, node: fx.Node, rule: Callable[..., Any] | None = None) -> Any:
    """The value of a node, by the rule of its operator if none is given.

    Of several results only the first is bounded, unless the rule says so itself.

    Raises
    ------
    Refusal
        no rule, an argument that the rule does not name, or what the rule refuses.
    """
    rule = rule or OPERATORS.get(node.target)
    if rule is None:
        raise Refusal(_why(node.target))
    found, several = rule(Operation(walk, node), **_arguments(walk, node, rule)), node.meta["val"]
    first = several[0] if isinstance(several, (tuple, list)) else several
    if depends(found) and not (first.is_floating_point() or first.is_complex()):
        raise Refusal(f"converts to {first.dtype}, which jumps")
    if isinstance(found, Dependent) and first is not several:
        return (found, *[JUMPING] * (len(several) - 1))
    return found


def _why(target: Any) -> str:
    name = str(target).split(".")[1] if "." in str(target) else str(target)
    if name.endswith("_backward"):
        return "is a derivative taken inside forward, which multiplies tensors that depend on the input"
    if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()) and name not in _WHY:
        return "draws random numbers, so there is no single map"
    return _WHY.get(name, "has no rule; register one with pnp_lip.certifier.register_operator")


def _arguments(walk: Walk, node: fx.Node, rule: Callable[..., Any]) -> dict[str, Any]:
    """What the rule takes, with the defaults of the operator.

    All where it takes ``everything``; all that do not depend on the image where it takes ``given``.

    Raises
    ------
    Refusal
        an argument that depends on the image, or has not its default, and is not taken.
    """
    target: Any = node.target
    taken, schema = inspect.signature(rule).parameters, target._schema.arguments
    args, kwargs = walk.program.read(node)
    read = dict(zip((one.name for one in schema), args, strict=False)) | kwargs
    found: dict[str, Any] = {}
    for one in schema:
        name = "x" if one.name in ("self", "input") else one.name
        value = walk.known(read.get(one.name, one.default_value))
        if name in taken or "everything" in taken:
            found[name] = value
        elif depends(value):
            raise Refusal(f"has an argument '{one.name}' that depends on the input")
        elif "given" in taken:
            found[name] = value
        elif not _is_default(value, one.default_value):
            raise Refusal(f"is called with {one.name}={value!r}, which no rule names")
    return found


def _is_default(value: Any, default: Any) -> bool:
    if value is None or value is default:
        return True
    return not isinstance(value, (Known, Dependent, Tensor)) and bool(value == default)
