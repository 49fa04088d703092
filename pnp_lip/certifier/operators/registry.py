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
from pnp_lip.certifier.statement import lipschitz, symmetric
from pnp_lip.certifier.values import Dependent, Known, Sigma, size_of
from pnp_lip.certifier.walk import Walk
from pnp_lip.plain_modules import Refusal

__all__ = ["OPERATORS", "Operation", "apply_operator", "per_axis", "register_operator"]

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
        "scaled_dot_product_attention", "square", "einsum",
    ),
    "drops entries at random: call eval() first": ("native_dropout",),
    "jumps, so it has no finite constant": (
        "sign", "round", "floor", "ceil", "gt", "lt", "ge", "le", "eq", "ne", "argmax", "argmin",
        "hardshrink", "threshold", "heaviside",
    ),
    "reads the value of a tensor, so that a decision may depend on data": (
        "item", "_local_scalar_dense", "is_nonzero", "nonzero",
    ),
    "returns indices, which jump: use return_indices=False": (
        "max_pool2d_with_indices", "max_pool3d_with_indices",
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

    def bounded(self, x: Any, upper: float, rule: str) -> Dependent:
        r"""A map of ``x`` with :math:`\mathrm{Lip} \le upper`."""
        return self.walk.add(self.node, self.image(x), lipschitz(rule, upper))

    @property
    def axes(self) -> int:
        """Those along which the operator acts, from its name."""
        return next(axes for axes in (1, 2, 3) if f"{axes}d" in str(self.node.target))

    def entrywise(
        self, x: Any, low: float | Fraction, high: float | Fraction, *, exact: bool = False
    ) -> Dependent:
        """A scalar map of every entry, which may differ between entries, with slopes in [low, high].

        Parameters
        ----------
        exact
            it is computed without rounding and keeps 0.
        """
        if any(_is_complex(node) for node in (self.node, *self.node.all_input_nodes)):
            self.refuse("acts on complex numbers, for which its slopes are not known")
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


def _is_complex(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_complex()


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
        if name.endswith("_backward"):
            why = "is a derivative taken inside forward, which multiplies tensors that depend on the input"
        raise walk.refusal(node, why)
    taken = inspect.signature(rule).parameters
    given: dict[str, Any] = {}
    target: Any = node.target
    defaults = {one.name: one.default_value for one in target._schema.arguments}
    args, kwargs = walk.program.read(node)
    for own, read in (dict(zip(defaults, args, strict=False)) | kwargs).items():
        name, value = "x" if own in ("self", "input") else own, walk.known(read)
        if name in taken or "given" in taken:
            given[name] = value
        elif not _is_default(value, defaults[own]):
            raise walk.refusal(node, f"is called with {own}={value!r}, which no rule names")
    try:
        return rule(Operation(walk, node), **given)
    except Refusal:
        raise
    except (TypeError, ValueError) as error:
        raise walk.refusal(node, f"cannot be bounded: {error}") from error


def _is_default(value: Any, default: Any) -> bool:
    if value is None or value is default:
        return True
    return not isinstance(value, (Known, Dependent, Tensor)) and bool(value == default)


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """One number for every axis, or the numbers that are given."""
    entries = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return entries * axes if len(entries) == 1 else entries
