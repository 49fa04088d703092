"""The state of a walk through a graph: what every node is, as a function of the input."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

from torch import Tensor, fx

from pnp_lip.certifier.rules import Settings
from pnp_lip.certifier.shapes import Shape, Source, fits, same_shape
from pnp_lip.certifier.statement import IDENTITY, Statement, averaged_with_identity, combine
from pnp_lip.certifier.tracing import Storage
from pnp_lip.plain_modules import Refusal

__all__ = ["Constant", "Moving", "Terms", "Walk", "is_number", "title"]

Terms = dict[str, Fraction]


@dataclass(frozen=True)
class Moving:
    """A tensor that depends on the input."""

    terms: Terms
    shape: Shape


class Constant:
    """A value that does not depend on the entries of the input, known or not."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Walk:
    """What is known so far.

    Attributes:
        name: path of the network, for messages.
        settings: of the rules.
        source, storage: what is known of shapes, and of memory that is shared.
        values: of the nodes.
        atoms: what is proved of the tensors that combinations refer to, as maps of the last cut.
        leaves: statements about single calls since the last cut.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.source, self.storage = Source(), Storage()
        self.values: dict[fx.Node, Moving | Constant] = {}
        self.atoms: dict[str, Statement] = {}
        self.leaves: list[Statement] = []

    def add_atom(self, node: fx.Node, as_map: Statement, leaf: Statement, shape: Shape) -> Moving:
        """A tensor that combinations can refer to: ``leaf`` proved of the call, ``as_map`` of the
        way from the last cut to its result."""
        self.atoms[node.name] = as_map
        self.leaves.append(leaf.named(leaf.name or self.label(node)))
        return Moving({node.name: Fraction(1)}, shape)

    def combined(self, terms: Terms) -> Statement:
        """The combination as a map of the piece's input."""
        parts = [(c, self.atoms[atom]) for atom, c in terms.items()]
        if len(parts) == 1 and parts[0][0] == 1:
            return parts[0][1]
        if len(parts) == 2 and sum(c for c, _ in parts) == 1:
            identity = [i for i, (_, part) in enumerate(parts) if part is IDENTITY]
            if identity and parts[1 - identity[0]][0] >= 0:
                weight, part = parts[1 - identity[0]]
                return averaged_with_identity(part, weight)
        return combine(parts, "sum of branches" if len(parts) > 1 else "multiple")

    def multiple(self, value: Moving, factor: Fraction) -> Moving:
        return Moving({atom: factor * c for atom, c in value.terms.items()}, value.shape)

    def operand(self, arg: Any) -> Moving | Constant:
        return self.values[arg] if isinstance(arg, fx.Node) else Constant(arg)

    def moving(self, arg: Any) -> Moving:
        value = self.operand(arg)
        assert isinstance(value, Moving)
        return value

    def known(self, arg: Any) -> Any:
        """The value of an argument; that of an unknown constant stays a node."""
        if isinstance(arg, fx.Node):
            value = self.values[arg]
            known = isinstance(value, Constant) and value.value is not None
            return value.value if known else arg  # type: ignore[union-attr]
        return arg

    def number(self, node: fx.Node, value: Any) -> float:
        if isinstance(value, Tensor) and value.numel() == 1:
            value = float(value)
        if not is_number(value) or not abs(value) < float("inf"):
            raise self.refusal(node, "scales by a number that is not known: use a constant")
        return float(value) if not isinstance(value, int) else value

    def require_unary(self, node: fx.Node, what: str) -> None:
        moving = [n for n in node.all_input_nodes if isinstance(self.values[n], Moving)]
        if moving != [node.args[0] if node.args else None]:
            raise self.refusal(
                node, f"gives {what} several tensors that depend on the input, or not as its first"
            )

    def require_plain_call(self, node: fx.Node, allowed: set[str]) -> None:
        """No argument by keyword that could change what is computed, a rounding mode for instance."""
        unknown = sorted(set(node.kwargs) - allowed)
        if unknown or not node.args:
            raise self.refusal(node, f"is called with {unknown or 'no positional argument'}")

    def require_fit(self, node: fx.Node, constant: Constant, tensor: Moving) -> None:
        value = constant.value
        fitting = is_number(value) or (
            isinstance(value, Tensor) and fits(value, tensor.shape, self.source)
        )
        if not fitting:
            raise self.refusal(node, "combines with a constant that may repeat the tensor to fit")

    def require_same_shape(self, node: fx.Node, a: Moving, b: Moving) -> None:
        if not same_shape(a.shape, b.shape, self.source):
            raise self.refusal(
                node, "adds or compares branches whose shapes are not known to be equal, so one may "
                "be repeated to fit: register a rule for the module around it, or state "
                "keeps_shape=True in the rule of a layer inside"
            )  # fmt: skip

    def label(self, node: fx.Node) -> str:
        return f"{self.name}.{node.name}" if self.name else node.name

    def where(self) -> str:
        return f"'{self.name or 'the network'}'"

    def refusal(self, node: fx.Node, reason: str) -> Refusal:
        return Refusal(f"node '{node.name}' ({title(node.target)}) of {self.where()} {reason}")


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def title(target: Any) -> str:
    if isinstance(target, str):
        return f"method {target}"
    module = getattr(target, "__module__", "") or "torch"
    return f"{module}.{getattr(target, '__name__', target)}"
