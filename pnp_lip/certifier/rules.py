"""Which argument bounds which module; the registry that :func:`pnp_lip.certify` goes by.

A rule belongs to one class exactly: a subclass may compute something else, so it needs its own. Such a
module is kept whole. A module without a rule is exported to a graph of operators, see
:mod:`pnp_lip.certifier.graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pnp_lip.certifier.digest import tensor_bytes
from pnp_lip.certifier.statement import Statement
from pnp_lip.norms import NormBound, convolution_norm, matrix_norm
from pnp_lip.plain_modules import Refusal, plain_type, require_plain, require_plain_parts

__all__ = [
    *("RULES", "ModuleRule", "Settings", "apply_rule", "apply_to_part", "keeps_shape", "naming"),
    *("register_rule", "rule_of"),
]


@dataclass
class Settings:
    """What rules may depend on, and what one proof has computed.

    Attributes
    ----------
    gap
        relative distance allowed between the upper and the lower bound of a norm.
    shapes
        of what each submodule received first in a forward pass on the example, by ``id(module)``.
    without_rule
        bounds a module whose class has no rule.
    dtype
        of images for a module without parameters, whose type decides otherwise.
    graphs, layers, norms
        records of graphs, statements in them, norms.
    handed
        modules that rules handed on, by ``id(module)``, for every rule at work.
    bar
        shows how many norms were proved.
    """

    gap: float
    shapes: dict[int, tuple[int, ...]]
    without_rule: Rule
    dtype: torch.dtype = torch.float32
    graphs: list[dict[str, Any]] = field(default_factory=list)
    layers: dict[Any, Statement] = field(default_factory=dict)
    norms: dict[Any, NormBound] = field(default_factory=dict)
    handed: list[set[int]] = field(default_factory=lambda: [set()])
    bar: tqdm[Any] | None = None

    def norm(self, weight: Tensor, **given: Any) -> NormBound:
        """Of a matrix, or of a convolution with the given arguments; computed once for each."""
        key = tensor_bytes(weight), tuple(sorted(given.items()))
        if key not in self.norms:
            compute: Any = matrix_norm if weight.ndim == 2 else convolution_norm
            self.norms[key] = compute(weight, gap=self.gap, **given)
            if self.bar is not None:
                self.bar.update()
        return self.norms[key]


Rule = Callable[[nn.Module, str, Settings], Statement]


@dataclass(frozen=True)
class ModuleRule:
    """A rule with what is known of the class.

    Attributes
    ----------
    prove
        the rule.
    keeps_shape
        whether the outputs of a module have the shape of its input.
    arguments
        names of further arguments, on any value of which the statement holds.
    features
        of a module from ``[B, ...]`` to ``[B, features]``, how many; ``None`` elsewhere.
    """

    prove: Rule
    keeps_shape: Callable[[Any], bool]
    arguments: tuple[str, ...]
    features: Callable[[nn.Module], int] | None = None


#: By class.
RULES: dict[type[nn.Module], ModuleRule] = {}


def register_rule(
    *kinds: type[nn.Module],
    keeps_shape: bool | Callable[[Any], bool] = False,
    arguments: tuple[str, ...] = ("sigma",),
    features: Callable[[nn.Module], int] | None = None,
) -> Callable[[Rule], Rule]:
    """Decorator: this function proves a bound for modules of exactly these classes.

    The function takes the module, its path in the network (for messages) and the
    :class:`Settings`, and returns a :class:`~pnp_lip.certifier.statement.Statement`. It is trusted:
    a wrong rule makes wrong certificates. So is the class: its ``forward`` must neither change its
    arguments nor return one of them, or a view of one.

    Parameters
    ----------
    kinds
        the classes.
    keeps_shape
        the output always has the shape of the input, or a function that says so of a
        module; needed where such a module is a part of a network without a rule.
    arguments
        names of arguments of ``forward``, besides the first, on any value of which the
        rule's statement holds; a call with another one is refused.
    features
        of classes from ``[B, ...]`` to ``[B, features]`` whose ``forward`` decides by
        values, how many; other shapes are found by running the module.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip.certifier import lipschitz, local_rules, prove, register_rule
    >>> class Sorted(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.sort(dim=1).values
    >>> with local_rules():
    ...     @register_rule(Sorted, keeps_shape=True)
    ...     def _sorted(module, name, settings):
    ...         return lipschitz("sorting is nonexpansive", 1.0)
    ...     print(prove(torch.nn.Sequential(Sorted(), torch.nn.Sigmoid())).upper)
    0.25
    """
    known = keeps_shape if callable(keeps_shape) else lambda module: keeps_shape

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, ModuleRule(rule, known, arguments, features)))
        return rule

    return add


def rule_of(module: nn.Module) -> ModuleRule | None:
    """The rule of exactly this class, if there is one."""
    return RULES.get(plain_type(module))


def keeps_shape(module: nn.Module) -> bool:
    """Whether the rule of this class says that outputs have the shape of inputs."""
    rule = rule_of(module)
    return rule is not None and rule.keeps_shape(module)


def apply_rule(module: nn.Module, name: str, settings: Settings) -> Statement:
    """What is proved of ``module``: by the rule of its class, else through its graph.

    Raises
    ------
    Refusal
        an operator without a rule, a graph that cannot be exported; or, for a class with a
        rule, hooks or replaced methods of the module or of a part that its rule relies on.
    """
    settings.handed[-1].add(id(module))
    rule = rule_of(module)
    if rule is not None:
        require_plain(module, name)
        settings.handed.append(set())
    with naming(f"'{name or 'the network'}'"):
        prove = settings.without_rule if rule is None else rule.prove
        statement = prove(module, name, settings).named(name)
    if rule is not None:
        require_plain_parts(module, name, settings.handed.pop())
    return statement


def apply_to_part(module: Any, key: str, name: str, settings: Settings) -> Statement:
    """:func:`apply_rule` for the part ``module.key`` of a module at the path ``name``."""
    return apply_rule(getattr(module, key), f"{name}.{key}".strip("."), settings)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Let what is refused inside begin with a place, unless it names one in quotes already."""
    try:
        yield
    except (Refusal, TypeError, ValueError) as error:
        if isinstance(error, Refusal) and str(error).startswith("'"):
            raise
        reason = error if isinstance(error, Refusal) else f"cannot be bounded: {error}"
        raise Refusal(f"{where} {reason}") from error
