r"""The bound of a network from its graph, traced by :mod:`torch.fx`.

Every tensor is kept as a combination :math:`\sum_i c_i T_i(x)` with rational :math:`c_i`, so sums,
differences, multiples and convex combinations cost nothing until a nonlinear node reads them. The
graph is cut where every path goes through one tensor; what lies between two cuts is bounded as a map
of the first, and the pieces are composed. A chain of residual blocks thus keeps its averagedness.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from pnp_lip.certifier.function_rules import function_rule
from pnp_lip.certifier.outward import sqrt_up
from pnp_lip.certifier.rules import Refusal, Settings, apply_rule, keeps_shape
from pnp_lip.certifier.shapes import (
    Shape,
    Source,
    after_module,
    beside,
    fits,
    rearranged,
    same_shape,
)
from pnp_lip.certifier.statement import (
    IDENTITY,
    Statement,
    averaged_with_identity,
    combine,
    compose,
    lipschitz,
)
from pnp_lip.certifier.tracing import Storage, Trace, require_agreement, trace

__all__ = ["bound_graph"]

Terms = dict[str, Fraction]


@dataclass(frozen=True)
class _Moving:
    """A tensor that depends on the input."""

    terms: Terms
    shape: Shape


class _Constant:
    """A value that does not depend on the entries of the input, known or not."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


def bound_graph(module: nn.Module, name: str, settings: Settings) -> Statement:
    """What is proved of ``module`` by bounding the nodes of its graph.

    Raises:
        Refusal: the graph depends on data, a node has no rule, or terms of a sum may broadcast.
    """
    with trace(module, name) as traced:
        bounder = _Bounder(traced, name, settings)
        statement = bounder.run()
        require_agreement(traced, name, bounder.source, settings.inputs.get(id(module)))
    return statement


class _Bounder:
    """Walks the nodes in order; ``segment`` is the current piece between two cuts."""

    def __init__(self, traced: Trace, name: str, settings: Settings) -> None:
        self.traced, self.name, self.settings = traced, name, settings
        self.source, self.storage = Source(), Storage()
        self.values: dict[fx.Node, _Moving | _Constant] = {}
        self.atoms: dict[str, Statement] = {}
        self.leaves: list[Statement] = []
        self.pieces: list[Statement] = []

    def run(self) -> Statement:
        nodes = list(self.traced.graph.nodes)
        last_use = {node: max((nodes.index(u) for u in node.users), default=-1) for node in nodes}
        alive = -1
        for position, node in enumerate(nodes):
            if node.op == "output":
                return self._finish(node)
            self.storage.check(node, self.name)
            value = self.values[node] = self._evaluate(node)
            if isinstance(value, _Moving):
                if alive <= position:
                    self.values[node] = self._cut(node, value)
                alive = max(alive, last_use[node])
        raise Refusal(f"{self._where()} returns nothing")

    def _finish(self, output: fx.Node) -> Statement:
        (result,) = output.args
        value = self.values.get(result) if isinstance(result, fx.Node) else None
        if isinstance(value, _Constant):
            return Statement("does not depend on the input", 0.0, 0.5)
        if value is None:
            raise Refusal(f"{self._where()} returns {result!r}: expected one tensor")
        self._cut(output, value)
        return compose(self.pieces, "traced graph") if self.pieces else IDENTITY

    def _cut(self, node: fx.Node, value: _Moving) -> _Moving:
        """Close the piece that ends here; from now on this node is the input."""
        if self.leaves or set(value.terms.values()) != {Fraction(1)}:
            self.pieces.append(self._piece(value.terms))
        self.atoms, self.leaves = {node.name: IDENTITY}, []
        return _Moving({node.name: Fraction(1)}, value.shape)

    def _piece(self, terms: Terms) -> Statement:
        whole = self._combined(terms)
        if len(self.leaves) == 1 and whole is self.leaves[0]:
            return whole
        return Statement(
            whole.rule, whole.upper, whole.averagedness, self.name, parts=tuple(self.leaves)
        )

    def _combined(self, terms: Terms) -> Statement:
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

    # -- one node ----------------------------------------------------------------------------------

    def _evaluate(self, node: fx.Node) -> _Moving | _Constant:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "get_attr":
            return _Constant(operator.attrgetter(str(node.target))(self.traced.root))
        moving = [n for n in node.all_input_nodes if isinstance(self.values[n], _Moving)]
        if not moving:
            return self._without_input(node)
        if node.op == "call_module":
            return self._module(node)
        if node.target in _SHAPE_QUERIES or (
            node.target is getattr and node.args[1] in _ATTRIBUTES
        ):
            return _Constant()
        if node.target in _LINEAR:
            return self._linear(node, _LINEAR[node.target])
        if node.target in _JOINS:
            return self._join(node)
        if node.target in _EXTREMES:
            return self._extreme(node)
        if node.target is operator.getitem:
            return self._item(node)
        return self._function(node)

    def _placeholder(self, node: fx.Node) -> _Moving | _Constant:
        if self.atoms:
            return _Constant()  # the noise level, for instance
        self.atoms[node.name] = IDENTITY
        return _Moving({node.name: Fraction(1)}, Shape())

    def _without_input(self, node: fx.Node) -> _Constant:
        label = str(node.target)
        if any(word in label for word in ("rand", "normal", "bernoulli", "dropout", "multinomial")):
            raise self._refusal(node, "draws random numbers, so there is no single map")
        return _Constant()

    def _module(self, node: fx.Node) -> _Moving:
        module = self.traced.root.get_submodule(str(node.target))
        path = f"{self.name}.{node.target}" if self.name else str(node.target)
        self._require_unary(node, f"'{path}'")
        statement = apply_rule(module, path, self.settings)
        return self._applied(node, statement, module, path)

    def _function(self, node: fx.Node) -> _Moving:
        rule = function_rule(node.target)
        if rule is None:
            raise self._refusal(
                node, "has no rule; register one with pnp_lip.certifier.register_function_rule"
            )
        self._require_unary(node, f"{_title(node.target)}")
        args = [self._known(arg) for arg in node.args[1:]]
        kwargs = {key: self._known(arg) for key, arg in node.kwargs.items() if key != "input"}
        try:
            answer = rule.answer(*args, **kwargs)
        except (Refusal, TypeError, ValueError) as error:
            raise self._refusal(node, f"cannot be bounded: {error}") from error
        if isinstance(answer, nn.Module):
            statement = apply_rule(answer, self._label(node), self.settings)
            label = f"{_title(node.target)}{node.args[1:]}{node.kwargs}"
            return self._applied(node, statement, answer, label)
        return self._applied(
            node, answer.named(self._label(node)), None, node.name, rule.keeps_shape
        )

    def _applied(
        self, node: fx.Node, statement: Statement, module: nn.Module | None, label: str,
        keeps: bool = False,
    ) -> _Moving:  # fmt: skip
        """A new atom: ``statement`` after the node's tensor."""
        source = self._moving(node.args[0])
        before = self._combined(source.terms)
        self.leaves.append(statement)
        self.atoms[node.name] = statement if before is IDENTITY else compose((before, statement))
        shape = source.shape
        if module is not None:
            shape = after_module(module, shape, self.source, f"{type(module).__name__} {label}")
            keeps = keeps_shape(module)
        elif not keeps:
            shape = rearranged(shape, node.name)
        self.storage.record(node, module)
        return _Moving({node.name: Fraction(1)}, shape)

    def _linear(self, node: fx.Node, kind: str) -> _Moving:
        """Sums, differences, multiples, negatives."""
        self._require_plain_call(node, {"alpha"} if kind in ("add", "subtract") else set())
        if kind == "negative":
            return self._multiple(self._moving(node.args[0]), Fraction(-1))
        if kind in ("multiply", "divide"):
            return self._product(node, kind)
        a, b = node.args[:2]
        alpha = Fraction(self._number(node, node.kwargs.get("alpha", 1)))
        sign = -alpha if kind == "subtract" else alpha
        one, other = self._operand(a), self._operand(b)
        if isinstance(one, _Constant):
            assert isinstance(other, _Moving)
            self._require_fit(node, one, other)
            return self._multiple(other, sign)
        if isinstance(other, _Constant):
            self._require_fit(node, other, one)
            return one
        self._require_same_shape(node, one, other)
        terms = dict(one.terms)
        for atom, c in other.terms.items():
            terms[atom] = terms.get(atom, Fraction(0)) + sign * c
        return _Moving({atom: c for atom, c in terms.items() if c} or _zero(terms), one.shape)

    def _product(self, node: fx.Node, kind: str) -> _Moving:
        a, b = self._operand(node.args[0]), self._operand(node.args[1])
        if isinstance(a, _Moving) and isinstance(b, _Moving):
            raise self._refusal(node, "multiplies or divides two tensors that depend on the input, "
                                "which has no finite constant")  # fmt: skip
        tensor, factor = (a, b) if isinstance(a, _Moving) else (b, a)
        assert isinstance(tensor, _Moving)
        assert isinstance(factor, _Constant)
        if kind == "divide" and tensor is b:
            raise self._refusal(node, "divides by a tensor that depends on the input")
        value = factor.value
        if isinstance(value, Tensor) and value.numel() > 1:
            return self._entrywise_product(node, tensor, factor, kind)
        number = Fraction(self._number(node, value))
        if kind == "divide" and number == 0:
            raise self._refusal(node, "divides by zero")
        if isinstance(value, Tensor):
            self._require_fit(node, factor, tensor)
        return self._multiple(tensor, 1 / number if kind == "divide" else number)

    def _entrywise_product(
        self, node: fx.Node, tensor: _Moving, factor: _Constant, kind: str
    ) -> _Moving:
        self._require_fit(node, factor, tensor)
        sizes = factor.value.detach().abs().double()
        worst = sizes.min() if kind == "divide" else sizes.max()
        if not torch.isfinite(worst) or (kind == "divide" and worst == 0):
            raise self._refusal(node, "scales by entries that are not finite")
        value = Fraction(float(worst))
        upper = sqrt_up((1 / value if kind == "divide" else value) ** 2)
        statement = lipschitz("entrywise scaling", upper).named(self._label(node))
        before = self._combined(tensor.terms)
        self.leaves.append(statement)
        self.atoms[node.name] = compose((before, statement))
        return _Moving({node.name: Fraction(1)}, tensor.shape)

    def _join(self, node: fx.Node) -> _Moving:
        r"""Concatenation: :math:`\|(T_1x, T_2x)\|^2 = \|T_1x\|^2 + \|T_2x\|^2`."""
        self._require_plain_call(node, {"dim", "axis"})
        parts = node.args[0]
        if isinstance(parts, fx.Node):  # what chunk or split returned
            return self._moving(parts)
        assert isinstance(parts, (list, tuple))
        operands = [self._operand(part) for part in parts]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        joined = rearranged(Shape(), node.name)
        shapes = [v.shape for v in operands if isinstance(v, _Moving)]
        if axis == 1 and node.target is not torch.stack and len(shapes) == len(operands):
            joined = beside(shapes, self.source, node.name)
        return self._gathered(node, operands, joined, "concatenation")

    def _extreme(self, node: fx.Node) -> _Moving:
        r"""``|max(a, b) - max(a', b')|^2 <= |a - a'|^2 + |b - b'|^2``, entry by entry."""
        self._require_plain_call(node, set())
        if len(node.args) != 2 or not isinstance(node.args[1], fx.Node):
            raise self._refusal(node, "has a rule for two tensors only")
        a, b = self._operand(node.args[0]), self._operand(node.args[1])
        for one, other in ((a, b), (b, a)):
            if isinstance(one, _Constant) and isinstance(other, _Moving):
                self._require_fit(node, one, other)
        if isinstance(a, _Moving) and isinstance(b, _Moving):
            self._require_same_shape(node, a, b)
        shape = next(v.shape for v in (a, b) if isinstance(v, _Moving))
        return self._gathered(node, [a, b], shape, "maximum or minimum of two branches")

    def _gathered(
        self, node: fx.Node, operands: list[_Moving | _Constant], shape: Shape, rule: str
    ) -> _Moving:
        branches = [self._combined(v.terms) for v in operands if isinstance(v, _Moving)]
        upper = sqrt_up(sum((Fraction(b.upper) ** 2 for b in branches), Fraction(0)))
        self.atoms[node.name] = lipschitz(rule, upper)
        self.leaves.append(lipschitz(rule, 1.0).named(self._label(node)))
        return _Moving({node.name: Fraction(1)}, shape)

    def _item(self, node: fx.Node) -> _Moving:
        """Slices select every entry at most once."""
        tensor, index = node.args
        keys = index if isinstance(index, tuple) else (index,)
        basic = all(key is None or key is ... or isinstance(key, (int, slice)) for key in keys)
        if not basic or not isinstance(tensor, fx.Node):
            raise self._refusal(node, "indexes with tensors, which may repeat entries")
        value = self._moving(tensor)
        before = self._combined(value.terms)
        self.atoms[node.name] = compose((before, lipschitz("selection of entries", 1.0)))
        self.leaves.append(lipschitz("selection of entries", 1.0).named(self._label(node)))
        self.storage.record(node, nn.Identity())
        return _Moving({node.name: Fraction(1)}, rearranged(value.shape, f"[{index}]"))

    # -- small helpers -----------------------------------------------------------------------------

    def _multiple(self, value: _Moving, factor: Fraction) -> _Moving:
        return _Moving({atom: factor * c for atom, c in value.terms.items()}, value.shape)

    def _operand(self, arg: Any) -> _Moving | _Constant:
        return self.values[arg] if isinstance(arg, fx.Node) else _Constant(arg)

    def _moving(self, arg: Any) -> _Moving:
        value = self._operand(arg)
        assert isinstance(value, _Moving)
        return value

    def _known(self, arg: Any) -> Any:
        """The value of an argument; that of an unknown constant stays a node."""
        if isinstance(arg, fx.Node):
            value = self.values[arg]
            known = isinstance(value, _Constant) and value.value is not None
            return value.value if known else arg  # type: ignore[union-attr]
        return arg

    def _number(self, node: fx.Node, value: Any) -> float:
        if isinstance(value, Tensor) and value.numel() == 1:
            value = float(value)
        if not _is_number(value) or not abs(value) < float("inf"):
            raise self._refusal(node, "scales by a number that is not known: use a constant")
        return float(value) if not isinstance(value, int) else value

    def _require_unary(self, node: fx.Node, what: str) -> None:
        moving = [n for n in node.all_input_nodes if isinstance(self.values[n], _Moving)]
        if moving != [node.args[0] if node.args else None]:
            raise self._refusal(
                node, f"gives {what} several tensors that depend on the input, or not as its first"
            )

    def _require_plain_call(self, node: fx.Node, allowed: set[str]) -> None:
        """No argument by keyword that could change what is computed, a rounding mode for instance."""
        unknown = sorted(set(node.kwargs) - allowed)
        if unknown or not node.args:
            raise self._refusal(node, f"is called with {unknown or 'no positional argument'}")

    def _require_fit(self, node: fx.Node, constant: _Constant, tensor: _Moving) -> None:
        value = constant.value
        fitting = _is_number(value) or (
            isinstance(value, Tensor) and fits(value, tensor.shape, self.source)
        )
        if not fitting:
            raise self._refusal(node, "combines with a constant that may repeat the tensor to fit")

    def _require_same_shape(self, node: fx.Node, a: _Moving, b: _Moving) -> None:
        if not same_shape(a.shape, b.shape, self.source):
            raise self._refusal(
                node, "adds or compares branches whose shapes are not known to be equal, so one may "
                "be repeated to fit: register a rule for the module around it, or state "
                "keeps_shape=True in the rule of a layer inside"
            )  # fmt: skip

    def _label(self, node: fx.Node) -> str:
        return f"{self.name}.{node.name}" if self.name else node.name

    def _where(self) -> str:
        return f"'{self.name or 'the network'}'"

    def _refusal(self, node: fx.Node, reason: str) -> Refusal:
        return Refusal(f"node '{node.name}' ({_title(node.target)}) of {self._where()} {reason}")


def _zero(terms: Terms) -> Terms:
    """A combination that is zero, kept with one term of weight zero."""
    return {next(iter(terms)): Fraction(0)}


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _title(target: Any) -> str:
    if isinstance(target, str):
        return f"method {target}"
    module = getattr(target, "__module__", "") or "torch"
    return f"{module}.{getattr(target, '__name__', target)}"


_SHAPE_QUERIES: set[Any] = {"size", "dim", "numel", "ndimension", "is_floating_point"}
_ATTRIBUTES = {"shape", "ndim", "dtype", "device", "is_cuda"}
_LINEAR: dict[Any, str] = {
    target: kind
    for kind, targets in {
        "add": (operator.add, torch.add, "add"),
        "subtract": (operator.sub, torch.sub, torch.subtract, "sub"),
        "multiply": (operator.mul, torch.mul, torch.multiply, "mul"),
        "divide": (operator.truediv, torch.div, "div"),
        "negative": (operator.neg, torch.neg, "neg"),
    }.items()
    for target in targets
}
_JOINS: set[Callable[..., Any]] = {torch.cat, torch.concat, torch.stack}
_EXTREMES: set[Any] = {torch.maximum, torch.minimum, torch.max, torch.min}
