"""Which argument bounds which module; the registry that :func:`pnp_lip.certify` goes by.

A rule belongs to one class exactly: a subclass may compute something else, so it needs its own.
A module without a rule is traced and bounded through its graph, see
:mod:`pnp_lip.certifier.structure`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pnp_lip.certifier.statement import Statement, compose
from pnp_lip.plain_modules import Refusal, plain_type, require_plain

__all__ = [
    "Settings",
    "apply_rule",
    "chain",
    "has_rule",
    "keeps_shape",
    "register_rule",
]


@dataclass(frozen=True)
class Settings:
    """What rules may depend on.

    Attributes:
        gap: relative distance allowed between the upper and the lower bound of a norm.
        inputs: what modules were seen to read, by their identity, when an example was run.
    """

    gap: float = 1e-3
    inputs: dict[int, tuple[Any, ...]] = field(default_factory=dict)


Rule = Callable[[nn.Module, str, Settings], Statement]
_RULES: dict[type[nn.Module], Rule] = {}
_KEEPING: set[type[nn.Module]] = set()


def register_rule(*kinds: type[nn.Module], keeps_shape: bool = False) -> Callable[[Rule], Rule]:
    """Decorator: this function proves a bound for modules of exactly these classes.

    The function takes the module, its path in the network (for messages) and the
    :class:`Settings`, and returns a :class:`~pnp_lip.certifier.statement.Statement`. It is trusted:
    a wrong rule makes wrong certificates.

    Args:
        kinds: the classes.
        keeps_shape: the output always has the shape of the input; needed where an output of such a
            module is added to something else.
    """

    def add(rule: Rule) -> Rule:
        for kind in kinds:
            _RULES[kind] = rule
            (_KEEPING.add if keeps_shape else _KEEPING.discard)(kind)
        return rule

    return add


def has_rule(module: nn.Module) -> bool:
    """Whether a rule is registered for exactly this class."""
    return plain_type(module) in _RULES


def keeps_shape(module: nn.Module) -> bool:
    """Whether the rule of this class says that outputs have the shape of inputs."""
    return plain_type(module) in _KEEPING


def apply_rule(module: nn.Module, name: str, settings: Settings) -> Statement:
    """What is proved of ``module``: by the rule of its class, else through its traced graph.

    Raises:
        Refusal: a part without a rule, hooks that may change the output, values that are not
            finite, or a graph that cannot be traced or bounded.
    """
    from pnp_lip.certifier.structure import bound_graph  # it calls this function in turn

    require_plain(module, name)
    kind = plain_type(module)
    if kind in _RULES:
        try:
            return _RULES[kind](module, name, settings).named(name)
        except Refusal:
            raise
        except (TypeError, ValueError) as error:
            raise Refusal(f"'{name or 'the network'}' cannot be bounded: {error}") from error
    if kind.__module__.startswith("torch."):
        raise Refusal(
            f"no rule for {kind.__module__}.{kind.__qualname__} at '{name or 'the network'}': "
            f"nothing is claimed about it; register one with pnp_lip.certifier.register_rule"
        )
    return bound_graph(module, name, settings).named(name)


def chain(modules: Iterable[tuple[str, nn.Module]], prefix: str, settings: Settings) -> Statement:
    """The composition of named modules, the first applied first; one may occur several times."""
    parts = [
        apply_rule(module, f"{prefix}.{name}" if prefix else name, settings)
        for name, module in modules
    ]
    return compose(parts)
