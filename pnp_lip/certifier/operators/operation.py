"""One call of an operator, and what rules are written with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NoReturn

import torch
from torch import Tensor, fx

from pnp_lip.certifier.execution import EXACT
from pnp_lip.certifier.statement import lipschitz, symmetric
from pnp_lip.certifier.values import Atom, Dependent, Known, size_of, whole_factor
from pnp_lip.certifier.walk import Walk
from pnp_lip.plain_modules import Refusal
from pnp_lip.rounding import sqrt_up

__all__ = ["Operation", "per_axis"]


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

    @property
    def size(self) -> tuple[Any, ...]:
        """The shape of the result, of the first where there are several."""
        return size_of(self.node)

    @property
    def axes(self) -> int:
        """Those along which the operator acts, from its name."""
        return next(axes for axes in (1, 2, 3) if f"{axes}d" in str(self.node.target))

    def refuse(self, reason: str) -> NoReturn:
        raise Refusal(reason)

    def image(self, x: Any) -> Dependent:
        """``x``, which must depend on the image."""
        if not isinstance(x, Dependent):
            self.refuse("has a rule for a first argument that depends on the input only")
        return x

    def fixed(self, value: Any, what: str) -> Any:
        """The value of an argument that must not depend on the image."""
        if isinstance(value, Dependent):
            self.refuse(f"has {what} that depends on the input, which has no finite constant")
        found = value.value if isinstance(value, Known) else value
        if found is None and isinstance(value, Known):
            self.refuse(f"has {what} that is not known: it depends on a size or on the noise level")
        return found

    def number(self, value: Any, what: str) -> Fraction:
        """A finite number that does not depend on the image."""
        found = Known(self.fixed(value, what)).number()
        if found is None:
            self.refuse(f"has {what} that is no finite number")
        return found

    def extremes(self, value: Any, what: str) -> tuple[Fraction, Fraction]:
        """The least and the largest entry of a tensor that does not depend on the image; of a number."""
        number = Known(self.fixed(value, what)).number()
        if number is not None:
            return number, number
        found = torch.as_tensor(self.fixed(value, what)).detach()
        if found.is_complex() or not found.numel() or not torch.isfinite(found).all():
            self.refuse(f"has {what} with entries that are not finite real numbers")
        return Fraction(float(found.double().min())), Fraction(float(found.double().max()))

    def bounded(self, x: Any, upper: float, rule: str) -> Dependent:
        r"""A map of ``x`` with :math:`\mathrm{Lip} \le upper`."""
        return self.walk.add(self.node, self.image(x), lipschitz(rule, upper))

    def entrywise(
        self, x: Any, low: float | Fraction, high: float | Fraction, *, exact: bool = False
    ) -> Dependent:
        """A scalar map of every entry, which may differ between entries, with slopes in [low, high].

        Parameters
        ----------
        exact
            it is computed without rounding and keeps 0.
        """
        tensors = (node.meta.get("val") for node in (self.node, *self.node.all_input_nodes))
        if any(isinstance(one, Tensor) and one.is_complex() for one in tensors):
            self.refuse("acts on complex numbers, for which its slopes are not known")
        rule = f"entrywise, slope in [{float(low):g}, {float(high):g}]"
        return self.symmetric(self.broadcast(x), rule, Fraction(low), Fraction(high), exact=exact)

    def symmetric(
        self, x: Any, rule: str, low: Fraction, high: Fraction, *, exact: bool = False
    ) -> Dependent:
        """A map with a symmetric mean matrix between ``low`` and ``high``.

        It keeps its spectrum where ``x`` differs from the last cut by a constant.
        """
        source, statement = self.image(x), symmetric(rule, low, high)
        if exact:
            statement = replace(statement, execution=EXACT)
        spectrum = (low, high) if self.walk.spectrum(source.terms) == (1, 1) else None
        linear = self.walk.origin(source)
        origin = None if linear is None or linear.slopes else replace(linear, slopes=(low, high))
        return self.walk.add(self.node, source, statement, spectrum=spectrum, origin=origin)

    def combination(self, *parts: tuple[Fraction | int, Any]) -> Dependent:
        r""":math:`\sum_i c_ix_i`, broadcast.

        A constant changes nothing but what float32 rounds, which its size decides about.
        """
        terms, exact = dict[str, Fraction](), True
        for c, x in parts:
            value = self.broadcast(x) if isinstance(x, Dependent) else None
            exact = exact and (_is_zero(x) if value is None else value.exact)
            for atom, own in () if value is None else value.terms.items():
                terms[atom] = terms.get(atom, Fraction(0)) + c * own
        kept = {atom: c for atom, c in terms.items() if c} or {next(iter(terms)): Fraction(0)}
        return Dependent(kept, self.size, exact)

    def beside(self, values: Iterable[Any], rule: str) -> Dependent:
        r"""Entries of several tensors beside each other: :math:`u^2 = \sum u_i^2`."""
        parts = [value for value in values if isinstance(value, Dependent)]
        uppers = [Fraction(self.walk.combined(part.terms).upper) for part in parts]
        atom = Atom(lipschitz(rule, sqrt_up(sum((u**2 for u in uppers), Fraction(0)))))
        exact = all(part.exact for part in parts)
        return self.walk.keep(self.node, atom, lipschitz(rule, 1.0), exact)

    def fitted(self, *values: Any) -> list[Dependent]:
        """Those that depend on the image, broadcast."""
        return [self.broadcast(value) for value in values if isinstance(value, Dependent)]

    def broadcast(self, x: Any) -> Dependent:
        r"""``x`` in the shape of the result: ``k`` copies have :math:`\sqrt k` times the norm.

        Raises
        ------
        Refusal
            a number of copies that depends on the size of the image.
        """
        value, count = self.image(x), 1
        padded = (1,) * (len(self.size) - len(value.size)) + value.size
        for side, want in zip(padded, self.size, strict=True):
            factor = whole_factor(side, want)
            if factor is None or factor < 1 or (factor > 1 and type(side) is not type(want)):
                self.refuse(
                    f"combines tensors of shapes {value.size} and {self.size}, of which one may be "
                    f"repeated to fit the other, once for every pixel or image"
                )
            count *= int(factor)
        if count == 1:
            return replace(value, size=self.size)
        leaf = lipschitz(f"{count} copies", sqrt_up(Fraction(count)))
        return self.walk.add(self.node, value, leaf)


def _is_zero(value: Any) -> bool:
    found = value.value if isinstance(value, Known) else value
    return not found.any() if isinstance(found, Tensor) else bool(found == 0)


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """One number for every axis, or the numbers that are given."""
    entries = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return entries * axes if len(entries) == 1 else entries
