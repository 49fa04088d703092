r"""The state of a walk through a graph: what every node is, as a function of the image.

Every tensor is a combination :math:`\sum_i c_i T_i(x)` with rational :math:`c_i` of *atoms* :math:`T_i`,
the results of operators that are not linear combinations themselves. So sums, differences, multiples
and convex combinations cost nothing until an operator reads them. An atom may be known to have a
symmetric mean matrix, :math:`T(x) - T(y) = M(x - y)`; sums of such atoms are bounded by their spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from torch import fx

from pnp_lip.certifier.composition import averaged_with_identity, combine, compose
from pnp_lip.certifier.program import VARYING, Program
from pnp_lip.certifier.rules import Settings
from pnp_lip.certifier.statement import IDENTITY, Statement, symmetric
from pnp_lip.certifier.values import Atom, Dependent, Known, Linear, Spectrum, Terms, size_of
from pnp_lip.rounding import format_up, round_up

__all__ = ["Walk", "depends"]

_START = Atom(IDENTITY, (Fraction(1), Fraction(1)))


def depends(value: Any) -> bool:
    """Whether a value, or one of several, depends on the image."""
    several = isinstance(value, (tuple, list))
    return any(map(depends, value)) if several else isinstance(value, Dependent)


@dataclass
class Walk:
    """What is known so far.

    Attributes
    ----------
    program, name, settings
        of the network.
    values
        of the nodes.
    atoms
        since the last cut.
    leaves
        statements about single operators, in order.
    since
        how many of them stand before the last cut.
    sizes
        of the tensors at cuts, by the names of their atoms.
    """

    program: Program
    name: str
    settings: Settings
    values: dict[fx.Node, Any] = field(default_factory=dict)
    atoms: dict[str, Atom] = field(default_factory=dict)
    leaves: list[Statement] = field(default_factory=list)
    since: int = 0
    sizes: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def cut(self, node: fx.Node, value: Dependent) -> Dependent:
        """From now on this node is the input."""
        self.atoms, self.since = {node.name: _START}, len(self.leaves)
        self.sizes[node.name] = value.size
        return Dependent({node.name: Fraction(1)}, value.size)

    def add(self, node: fx.Node, source: Dependent, leaf: Statement, **about: Any) -> Dependent:
        """The result of an operator on one tensor: ``leaf`` after ``source``; more about the atom."""
        leaf = leaf.named(leaf.name or self.label(node))
        before = self.combined(source.terms)
        as_map = leaf if before is IDENTITY else compose((before, leaf))
        return self.keep(node, Atom(as_map, **about), leaf, source.exact)

    def keep(self, node: fx.Node, atom: Atom, leaf: Statement, exact: bool) -> Dependent:
        """A new atom, for whose operator ``leaf`` is proved."""
        name = f"{node.name} {len(self.leaves)}"
        self.atoms[name] = atom
        self.leaves.append(leaf.named(leaf.name or self.label(node)))
        return Dependent({name: Fraction(1)}, size_of(node), exact)

    def combined(self, terms: Terms) -> Statement:
        """The combination as a map of the last cut."""
        parts = [(c, self.atoms[atom].statement) for atom, c in terms.items()]
        if len(parts) == 1 and parts[0][0] == 1:
            return parts[0][1]
        found = combine(parts, "sum of branches" if len(parts) > 1 else "multiple")
        branches = [(c, part) for c, part in parts if part is not IDENTITY]
        blended = len(parts) == 2 and len(branches) == 1 and sum(c for c, _ in parts) == 1
        if blended and branches[0][0] >= 0:
            found = _better(found, averaged_with_identity(branches[0][1], branches[0][0]))
        spectrum = self.spectrum(terms)
        if spectrum is None:
            return found
        low, high = format_up(round_up(-spectrum[0])), format_up(round_up(spectrum[1]))
        return _better(found, symmetric(f"symmetric, from -({low}) to {high}", *spectrum))

    def spectrum(self, terms: Terms) -> Spectrum | None:
        """Of the combination, if every atom of it has one."""
        low = high = Fraction(0)
        for name, c in terms.items():
            found = self.atoms[name].spectrum
            if found is None:
                return None
            ends = c * found[0], c * found[1]
            low, high = low + min(ends), high + max(ends)
        return low, high

    def origin(self, value: Dependent) -> Linear | None:
        """Of a value that is one atom."""
        ((name, c), *others) = value.terms.items()
        return self.atoms[name].origin if not others and c == 1 else None

    def known(self, arg: Any) -> Any:
        """An argument of an operator: values of nodes, also within lists."""
        if isinstance(arg, fx.Node):
            return self.values[arg]
        if arg is VARYING:
            return Known()
        if isinstance(arg, (list, tuple)):
            return type(arg)(self.known(item) for item in arg)
        return arg

    def label(self, node: fx.Node) -> str:
        """The path of the layer that called an operator, or the path of the call."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("inner", "")
        path = str(path).removeprefix("inner").removeprefix(".")
        layer = str(kind).startswith(("torch.nn.modules", "torch.nn.utils.parametri"))
        own = path.split("@")[0] if layer else f"{path}.{node.name}".strip(".")
        return f"{self.name}.{own}".strip(".")

    def place(self, node: fx.Node) -> str:
        """For messages."""
        called = f"'{node.name}' ({node.target}) in '{self.label(node)}'"
        return f"{called} of '{self.name or 'the network'}'"


def _better(one: Statement, other: Statement) -> Statement:
    """The smaller bound with the smaller averagedness, both proved of the same map."""
    first, second = sorted((one, other), key=lambda s: (s.upper, s.averagedness or 0.0))
    alphas = [s.averagedness for s in (first, second) if s.averagedness is not None]
    return replace(first, averagedness=min(alphas)) if len(alphas) == 2 else first
