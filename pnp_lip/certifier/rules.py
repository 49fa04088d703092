"""Which argument bounds which module; the registry that :func:`pnp_lip.certify` goes by.

A rule belongs to one class exactly: a subclass may compute something else, so it needs its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from pnp_lip.certifier.statement import Statement, compose

__all__ = ["Refusal", "Settings", "apply_rule", "chain", "register_rule"]


class Refusal(ValueError):
    """A network about which nothing can be proved; the message names the part that stops it."""


@dataclass(frozen=True)
class Settings:
    """What rules may depend on.

    Attributes:
        gap: relative distance allowed between the upper and the lower bound of a norm.
    """

    gap: float = 1e-3


Rule = Callable[[nn.Module, str, Settings], Statement]
_RULES: dict[type[nn.Module], Rule] = {}


def register_rule(*kinds: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Decorator: this function proves a bound for modules of exactly these classes.

    The function takes the module, its path in the network (for messages) and the
    :class:`Settings`, and returns a :class:`~pnp_lip.certifier.statement.Statement`. It is trusted:
    a wrong rule makes wrong certificates.
    """

    def add(rule: Rule) -> Rule:
        for kind in kinds:
            _RULES[kind] = rule
        return rule

    return add


def apply_rule(module: nn.Module, name: str, settings: Settings) -> Statement:
    """The statement that the registered rule proves for ``module``.

    Raises:
        Refusal: no rule for this class, hooks that may change the output, or values that are not
            finite.
    """
    kind = _plain_type(module)
    if kind not in _RULES:
        raise Refusal(
            f"no rule for {kind.__module__}.{kind.__qualname__} at '{name or 'the network'}': "
            f"nothing is claimed about it; register one with pnp_lip.certifier.register_rule"
        )
    if module._forward_hooks or module._forward_pre_hooks:
        raise Refusal(f"'{name or 'the network'}' has forward hooks, which may change its output")
    for key, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise Refusal(f"'{name}.{key}'".replace("'.", "'") + " contains NaN or infinity")
    return _RULES[kind](module, name, settings).named(name)


def chain(modules: list[tuple[str, nn.Module]], prefix: str, settings: Settings) -> Statement:
    """The composition of named children, the first applied first."""
    parts = [
        apply_rule(module, f"{prefix}.{name}" if prefix else name, settings)
        for name, module in modules
    ]
    return compose(tuple(parts))


def _plain_type(module: nn.Module) -> type[nn.Module]:
    """The class of a module; of the underlying one where torch parametrised it."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind
