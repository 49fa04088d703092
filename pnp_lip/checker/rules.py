"""Claims of operators for the walk: a table of rules by operator, and what they are written with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from pnp_lip.checker.composition import Claim, beside, in_sequence, of_entrywise, of_linear, root_up
from pnp_lip.checker.execution import EXACT, Error
from pnp_lip.checker.file import Layer
from pnp_lip.checker.found import UNKNOWN
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.checker.values import JUMP, Atom, Constant, Value, depends, equal_sizes, shape_of
from pnp_lip.checker.walk import Walk

__all__ = ["NotRecomputed", "Op", "apply", "rule"]

Rule = Callable[..., Any]
_RULES: dict[str, Rule] = {}


class NotRecomputed(Exception):
    """An operator, or an argument of one, about which the checker has no theorem."""


def rule(names: str) -> Callable[[Rule], Rule]:
    """Decorator: the claim of these operators, given by their names without ``aten.``.

    The function takes an :class:`Op`, then the operator's arguments by name, the first as ``x``;
    others must have their defaults, unless it takes ``rest``.
    """

    def add(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names.split(), function))
        return function

    return add


def apply(walk: Walk, node: fx.Node) -> Any:
    """The value of a node by the rule of its operator; what has none counts as it stands.

    Of several results a rule bounds the first, unless it gives all.

    Raises
    ------
    CertificateRejected
        it claims too little, or nothing can be said of it.
    """
    name = str(node.target).removeprefix("aten.")
    op, left = Op(walk, node), list(walk.left)
    several: Any = node.meta.get("val")
    try:
        found = _applied(op, name)
        single = isinstance(found, Value) and isinstance(several, (list, tuple))
        return (found, *[JUMP] * len(several[1:])) if single else found
    except NotRecomputed as reason:
        sources = [v for v in map(walk.known, (*node.args, *node.kwargs.values())) if depends(v)]
        tags = getattr(node.target, "tags", ())
        single = len(left) == len(sources) == 1 and isinstance(sources[0], Value)
        single = single and not isinstance(several, (list, tuple))
        if torch.Tag.nondeterministic_seeded in tags or not single:
            raise CertificateRejected(
                f"'{node.name}' ({name}) cannot be checked again: {reason}"
            ) from reason
        walk.left = left
        layer = walk.ledger.take(walk.label(node), walk.left)
        walk.ledger.assume(layer, name)
        alpha = None if layer.averagedness is None else Fraction(layer.averagedness)
        return walk.atom(node, sources[0], Claim(Fraction(layer.upper), alpha))


def _applied(op: Op, name: str) -> Any:
    function = _RULES.get(name)
    if function is None:
        raise NotRecomputed("it has no rule here")
    taken = inspect.signature(function).parameters
    schema: Any = op.node.target
    args, kwargs = op.walk.found.arguments[op.node.name]
    named = {a.name: a.default_value for a in schema._schema.arguments}
    given = dict(zip(named, args, strict=False)) | dict(kwargs)
    passed = {}
    for index, (key, value) in enumerate(given.items()):
        own = "x" if index == 0 and key in named else key
        if own in taken or "rest" in taken:
            passed[own] = op.walk.known(value)
        elif value is not None and (isinstance(value, fx.Node) or value != named[key]):
            raise NotRecomputed(f"its argument '{key}' is {value!r}")
    return function(op, **passed)


@dataclass(frozen=True)
class Op:
    """One call of an operator."""

    walk: Walk
    node: fx.Node

    @property
    def shape(self) -> tuple[Any, ...]:
        return shape_of(self.node)

    def image(self, x: Any) -> Value:
        if not isinstance(x, Value):
            raise NotRecomputed("its first argument is constant")
        return x

    def fixed(self, value: Any) -> Any:
        """The known value of a constant argument."""
        if isinstance(value, Value):
            raise NotRecomputed("two of its arguments depend on the image")
        found = value.value if isinstance(value, Constant) else value
        if found is UNKNOWN:
            raise NotRecomputed("it reads a constant that depends on a size or on the noise level")
        return found

    def number(self, value: Any) -> Fraction:
        found = self.fixed(value)
        if isinstance(found, Tensor) and found.numel() == 1:
            found = found.item()
        if not isinstance(found, (int, float)) or abs(found) == float("inf") or found != found:
            raise NotRecomputed("it reads a constant that is no finite number")
        return Fraction(found)

    def layer(self) -> Layer:
        """The next statement of this node, which must have its name."""
        return self.walk.ledger.take(self.walk.label(self.node), self.walk.left)

    def leaf(self, x: Any, claim: Claim, *, error: Error | None = None, **rest: Any) -> Value:
        """The result of an operator with this claim."""
        source = self.image(x)
        self.walk.ledger.confirm(self.layer(), claim, error)
        return self.walk.atom(self.node, source, claim, error=error, **rest)

    def gain(self, x: Any, upper: Fraction, **rest: Any) -> Value:
        return self.leaf(x, of_linear(upper), **rest)

    def entrywise(self, x: Any, low: Fraction, high: Fraction, *, exact: bool = False) -> Value:
        """A scalar map of every entry with slopes in [low, high]."""
        values = [node.meta.get("val") for node in (self.node, *self.node.all_input_nodes)]
        if any(isinstance(value, Tensor) and value.is_complex() for value in values):
            raise NotRecomputed("it acts on complex numbers")
        return self.symmetric(self.fit(self.image(x)), low, high, exact=exact)

    def symmetric(self, x: Any, low: Fraction, high: Fraction, *, exact: bool = False) -> Value:
        """A map with a symmetric mean matrix between ``low`` and ``high``."""
        source = self.image(x)
        flat = self.walk.spectrum(source.terms) == (1, 1)
        origin = ("slopes", self.origin(source), low, high)
        error, spectrum = EXACT if exact else None, (low, high) if flat else None
        claim = of_entrywise(low, high)
        return self.leaf(source, claim, error=error, spectrum=spectrum, origin=origin)

    def origin(self, value: Value) -> Any:
        ((name, c), *others) = value.terms.items()
        return self.walk.atoms[name].origin if not others and c == 1 else None

    def fit(self, value: Value, wanted: tuple[Any, ...] | None = None) -> Value:
        """Broadcast to a shape: ``k`` copies cost a factor ``sqrt k``."""
        sides = self.shape if wanted is None else wanted
        padded = (1,) * (len(sides) - len(value.shape)) + value.shape
        copies = 1
        for own, want in zip(padded, sides, strict=True):
            if not equal_sizes(own, want):
                if not (equal_sizes(own, 1) and isinstance(want, int)):
                    raise CertificateRejected(
                        f"'{self.node.name}' may repeat a tensor once for every pixel"
                    )
                copies *= want
        if copies == 1:
            return Value(value.terms, sides, value.exact)
        claim = of_linear(root_up(Fraction(copies)))
        self.walk.ledger.confirm(self.layer(), claim)
        name = f"{self.node.name} copies {len(self.walk.atoms)}"
        self.walk.atoms[name] = Atom(in_sequence([self.walk.claim(value.terms), claim]))
        return Value({name: Fraction(1)}, sides, value.exact)

    def together(self, parts: Sequence[Value]) -> Value:
        """Tensors whose entries stand beside each other."""
        claim = beside([self.walk.claim(part.terms) for part in parts])
        self.walk.ledger.confirm(self.layer(), of_linear(Fraction(1)))
        self.walk.atoms[self.node.name] = Atom(claim)
        return Value({self.node.name: Fraction(1)}, self.shape)
