"""Which rule bounds which operator; every argument that a rule does not name must have its default."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NoReturn

from torch import Tensor, fx

from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.rules import undone
from pnp_lip.certifier.statement import Statement, lipschitz, symmetric
from pnp_lip.certifier.values import Dependent, Known, Sigma, size_of
from pnp_lip.certifier.walk import Walk
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import round_up, sqrt_up

__all__ = ["OPERATORS", "Operation", "apply_operator", "register_operator"]

OperatorRule = Callable[..., Any]

#: The rules, by operator, such as ``torch.ops.aten.relu.default``.
OPERATORS: dict[Any, OperatorRule] = undone({})

#: Why some operators have no rule.
_REASONS = {
    "normalises by statistics of its input, which has no finite constant": (
        "native_group_norm", "group_norm", "layer_norm", "native_layer_norm", "instance_norm",
        "rms_norm", "_fused_rms_norm", "_batch_norm_with_update",
        "_native_batch_norm_legit_functional", "linalg_vector_norm", "norm", "var", "std",
    ),
    "multiplies tensors that depend on the input, which has no finite constant": (
        "scaled_dot_product_attention", "bmm", "square", "einsum",
    ),
    "drops entries at random: call eval() first": ("native_dropout",),
    "jumps, so it has no finite constant": (
        "sign", "round", "floor", "ceil", "gt", "lt", "ge", "le", "eq", "ne", "argmax", "argmin",
        "hardshrink", "threshold", "heaviside",
    ),
    "reads the value of a tensor, so that a decision may depend on data": (
        "item", "_local_scalar_dense", "is_nonzero", "nonzero",
    ),
    "indexes with tensors, which may repeat entries": ("index", "gather", "index_select", "take"),
}  # fmt: skip
_WHY = {name: reason for reason, names in _REASONS.items() for name in names}


def register_operator(*operators: Any) -> Callable[[OperatorRule], OperatorRule]:
    """Decorator: this function bounds calls of ``operators`` in exported networks.

    The function takes an :class:`Operation`, then the operator's arguments by the names of its schema
    (``self`` and ``input`` are called ``x``), and returns what :meth:`Operation.bounded` or
    :meth:`Operation.entrywise` return. Arguments that it does not take must have their defaults in
    the network, otherwise the network is refused. It is trusted.

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

    def add(rule: OperatorRule) -> OperatorRule:
        for one in operators:
            OPERATORS[one] = rule
        return rule

    return add


@dataclass(frozen=True)
class Operation:
    """One call of an operator in a graph.

    Attributes
    ----------
    walk
        the state of the walk.
    node
        the call.
    """

    walk: Walk
    node: fx.Node

    def refuse(self, reason: str) -> NoReturn:
        raise self.walk.refusal(self.node, reason)

    def image(self, x: Any) -> Dependent:
        """``x``, which must depend on the image."""
        if not isinstance(x, Dependent):
            self.refuse("has a rule for a first argument that depends on the input only")
        return x

    def fixed(self, value: Any, what: str) -> Any:
        """The value of an argument that must not depend on the image."""
        if isinstance(value, Dependent):
            self.refuse(f"has {what} that depends on the input, which has no finite constant")
        if isinstance(value, Known):
            value = value.value
            if value is None:
                self.refuse(
                    f"has {what} that is not known: it depends on a size or on the noise level"
                )
        return value

    def bounded(
        self, x: Any, upper: float, rule: str, *, statement: Statement | None = None
    ) -> Dependent:
        r"""A map of ``x`` with :math:`\mathrm{Lip} \le upper`."""
        return self.walk.add(self.node, self.image(x), statement or lipschitz(rule, upper))

    def rearranged(self, x: Any, rule: str = "permutation of entries") -> Dependent:
        """Every entry of ``x`` occurs at most once in the result."""
        return self.bounded(x, 1.0, rule)

    def copied(self, x: Any, count: int, rule: str) -> Dependent:
        """Every entry of ``x`` occurs at most ``count`` times in the result, and nothing else."""
        return self.bounded(x, sqrt_up(Fraction(count)), rule)

    def entrywise(
        self, x: Any, low: float | Fraction, high: float | Fraction, *, exact: bool = False
    ) -> Dependent:
        """A scalar map of every entry, which may differ between entries, with slopes in [low, high].

        Parameters
        ----------
        exact
            it is computed without rounding and keeps 0.
        """
        source = self.walk.repeated(self.node, self.image(x), size_of(self.node))
        ends = Fraction(low), Fraction(high)
        statement = symmetric(f"entrywise, slope in [{float(low):g}, {float(high):g}]", *ends)
        if exact:
            statement = replace(statement, execution=Execution.exact())
        linear = self.walk.origin(source)
        start = self.walk.spectrum(source.terms)
        identity = start == (1, 1)
        origin = (
            Sigma(linear, *ends) if linear is not None and not isinstance(linear, Sigma) else None
        )
        return self.walk.add(
            self.node, source, statement, spectrum=ends if identity else None, origin=origin
        )


def apply_operator(walk: Walk, node: fx.Node) -> Any:
    """The value of a node, by the rule of its operator.

    Raises
    ------
    Refusal
        no rule, an argument that the rule does not name, or what the rule refuses.
    """
    rule = OPERATORS.get(node.target)
    if rule is None:
        name = str(node.target).split(".")[1] if "." in str(node.target) else str(node.target)
        why = _WHY.get(name, "has no rule; register one with pnp_lip.certifier.register_operator")
        raise walk.refusal(node, why)
    taken = inspect.signature(rule).parameters
    given: dict[str, Any] = {}
    schema: Any = node.target
    values = list(node.args)
    args, kwargs = walk.program.varying.get(node.name, (node.args, node.kwargs))
    values = [walk.known(_picked(one, other)) for one, other in zip(node.args, args, strict=True)]
    for index, argument in enumerate(schema._schema.arguments):
        name = "x" if argument.name in ("self", "input") else argument.name
        if index < len(values):
            value = values[index]
        elif argument.name in node.kwargs:
            value = walk.known(_picked(node.kwargs[argument.name], kwargs[argument.name]))
        else:
            continue
        if name in taken or "given" in taken:
            given[name] = value
        elif not _is_default(value, argument.default_value):
            raise walk.refusal(
                node, f"is called with {argument.name}={value!r}, which no rule names"
            )
    try:
        return rule(Operation(walk, node), **given)
    except Refusal:
        raise
    except (TypeError, ValueError) as error:
        raise walk.refusal(node, f"cannot be bounded: {error}") from error


def _picked(own: Any, merged: Any) -> Any:
    """Nodes of the graph itself, and :data:`VARYING` where the noise level decides."""
    return own if isinstance(own, fx.Node) else merged


def _is_default(value: Any, default: Any) -> bool:
    if value is None or value is default:
        return True
    return not isinstance(value, (Known, Dependent, Tensor)) and bool(value == default)


def outward(low: Fraction, high: Fraction) -> tuple[Fraction, Fraction]:
    """The interval with floating-point ends."""
    return -Fraction(round_up(-low)), Fraction(round_up(high))
