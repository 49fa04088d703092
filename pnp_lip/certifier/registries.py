"""The registries of rules, which can be restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["local_rules", "undone"]

_REGISTRIES: list[dict[Any, Any]] = []


def undone(registry: dict[Any, Any]) -> dict[Any, Any]:
    """Let :func:`local_rules` restore this registry, too."""
    _REGISTRIES.append(registry)
    return registry


@contextmanager
def local_rules() -> Iterator[None]:
    """Undo, at the end of the block, every rule that was registered in it.

    That is every rule of modules, slopes and operators.

    Examples
    --------
    >>> from torch import nn
    >>> from pnp_lip.certifier import Refusal, local_rules, prove, register_slope
    >>> class Sign(nn.Module):
    ...     def forward(self, x):
    ...         return x.sign()
    >>> with local_rules():
    ...     register_slope(Sign, lambda module: (0.0, 1.0))  # wrong, and forgotten
    >>> prove(Sign())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pnp_lip.plain_modules.Refusal: ...
    """
    before = [dict(registry) for registry in _REGISTRIES]
    try:
        yield
    finally:
        for registry, rules in zip(_REGISTRIES, before, strict=True):
            registry.clear()
            registry.update(rules)
