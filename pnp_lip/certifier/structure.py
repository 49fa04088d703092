r"""The bound of a network from its graph, traced by :mod:`torch.fx`.

Every tensor is kept as a combination :math:`\sum_i c_i T_i(x)` with rational :math:`c_i`, so sums,
differences, multiples and convex combinations cost nothing until a nonlinear node reads them. The
graph is cut where every path goes through one tensor; what lies between two cuts is bounded as a map
of the first, and the pieces are composed. A chain of residual blocks thus keeps its averagedness.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from typing import Any

from torch import fx, nn

from pnp_lip.certifier.agreement import require_agreement
from pnp_lip.certifier.function_rules import function_rule
from pnp_lip.certifier.graph_algebra import operation_of
from pnp_lip.certifier.graph_values import Constant, Moving, Terms, Walk, title
from pnp_lip.certifier.rules import Settings, apply_rule
from pnp_lip.certifier.shapes import Shape, after_module, rearranged
from pnp_lip.certifier.statement import IDENTITY, Statement, compose
from pnp_lip.certifier.tracing import Trace, trace
from pnp_lip.plain_modules import Refusal

__all__ = ["bound_graph"]


def bound_graph(module: nn.Module, name: str, settings: Settings) -> Statement:
    """What is proved of ``module`` by bounding the nodes of its graph.

    Raises:
        Refusal: the graph depends on data, a node has no rule, or terms of a sum may broadcast.
    """
    with trace(module, name) as traced:
        bounder = _Bounder(traced, name, settings)
        statement = bounder.run()
        require_agreement(traced, name, bounder.walk.source, settings.inputs.get(id(module)))
    return statement


class _Bounder:
    """Walks the nodes in order and cuts where it can."""

    def __init__(self, traced: Trace, name: str, settings: Settings) -> None:
        self.traced, self.walk = traced, Walk(name, settings)
        self.pieces: list[Statement] = []

    def run(self) -> Statement:
        nodes = list(self.traced.graph.nodes)
        last_use = {node: max((nodes.index(u) for u in node.users), default=-1) for node in nodes}
        alive = -1
        for position, node in enumerate(nodes):
            if node.op == "output":
                return self._finish(node)
            self.walk.storage.check(node, self.walk.name)
            value = self.walk.values[node] = self._evaluate(node)
            if isinstance(value, Moving):
                if alive <= position:
                    self.walk.values[node] = self._cut(node, value)
                alive = max(alive, last_use[node])
        raise Refusal(f"{self.walk.where()} returns nothing")

    def _finish(self, output: fx.Node) -> Statement:
        (result,) = output.args
        value = self.walk.values.get(result) if isinstance(result, fx.Node) else None
        if isinstance(value, Constant):
            return Statement("does not depend on the input", 0.0, 0.5)
        if value is None:
            raise Refusal(f"{self.walk.where()} returns {result!r}: expected one tensor")
        self._cut(output, value)
        return compose(self.pieces, "traced graph") if self.pieces else IDENTITY

    def _cut(self, node: fx.Node, value: Moving) -> Moving:
        """Close the piece that ends here; from now on this node is the input."""
        if self.walk.leaves or set(value.terms.values()) != {Fraction(1)}:
            self.pieces.append(self._piece(value.terms))
        self.walk.atoms, self.walk.leaves = {node.name: IDENTITY}, []
        return Moving({node.name: Fraction(1)}, value.shape)

    def _piece(self, terms: Terms) -> Statement:
        whole = self.walk.combined(terms)
        if len(self.walk.leaves) == 1 and whole is self.walk.leaves[0]:
            return whole
        return Statement(
            whole.rule,
            whole.upper,
            whole.averagedness,
            self.walk.name,
            parts=tuple(self.walk.leaves),
        )

    def _evaluate(self, node: fx.Node) -> Moving | Constant:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "get_attr":
            return Constant(operator.attrgetter(str(node.target))(self.traced.root))
        moving = [n for n in node.all_input_nodes if isinstance(self.walk.values[n], Moving)]
        if not moving:
            return self._without_input(node)
        if node.op == "call_module":
            return self._module(node)
        if node.target in _SHAPE_QUERIES or (
            node.target is getattr and node.args[1] in _ATTRIBUTES
        ):
            return Constant()
        operation = operation_of(node.target)
        return self._function(node) if operation is None else operation(self.walk, node)

    def _placeholder(self, node: fx.Node) -> Moving | Constant:
        if self.walk.atoms:
            return Constant()  # the noise level, for instance
        self.walk.atoms[node.name] = IDENTITY
        return Moving({node.name: Fraction(1)}, Shape())

    def _without_input(self, node: fx.Node) -> Constant:
        label = str(node.target)
        if any(word in label for word in ("rand", "normal", "bernoulli", "dropout", "multinomial")):
            raise self.walk.refusal(node, "draws random numbers, so there is no single map")
        return Constant()

    def _module(self, node: fx.Node) -> Moving:
        module = self.traced.root.get_submodule(str(node.target))
        path = f"{self.walk.name}.{node.target}" if self.walk.name else str(node.target)
        self.walk.require_unary(node, f"'{path}'")
        statement = apply_rule(module, path, self.walk.settings)
        return self._applied(node, statement, module, path)

    def _function(self, node: fx.Node) -> Moving:
        rule = function_rule(node.target)
        if rule is None:
            raise self.walk.refusal(
                node, "has no rule; register one with pnp_lip.certifier.register_function_rule"
            )
        self.walk.require_unary(node, f"{title(node.target)}")
        args = [self.walk.known(arg) for arg in node.args[1:]]
        kwargs = {key: self.walk.known(arg) for key, arg in node.kwargs.items() if key != "input"}
        try:
            answer = rule.answer(*args, **kwargs)
        except (Refusal, TypeError, ValueError) as error:
            raise self.walk.refusal(node, f"cannot be bounded: {error}") from error
        if isinstance(answer, nn.Module):
            statement = apply_rule(answer, self.walk.label(node), self.walk.settings)
            label = f"{title(node.target)}{node.args[1:]}{node.kwargs}"
            return self._applied(node, statement, answer, label)
        return self._applied(node, answer, None, node.name, rule.keeps_shape)

    def _applied(
        self,
        node: fx.Node,
        statement: Statement,
        module: nn.Module | None,
        label: str,
        keeps: bool = False,
    ) -> Moving:
        """A new atom: ``statement`` after the node's tensor."""
        walk = self.walk
        source = walk.moving(node.args[0])
        before = walk.combined(source.terms)
        shape = source.shape
        if module is not None:
            shape = after_module(module, shape, walk.source, f"{type(module).__name__} {label}")
        elif not keeps:
            shape = rearranged(shape, node.name)
        walk.storage.record(node, module)
        as_map = statement if before is IDENTITY else compose((before, statement))
        return walk.add_atom(node, as_map, statement, shape)


_SHAPE_QUERIES: set[Any] = {"size", "dim", "numel", "ndimension", "is_floating_point"}
_ATTRIBUTES = {"shape", "ndim", "dtype", "device", "is_cuda"}
