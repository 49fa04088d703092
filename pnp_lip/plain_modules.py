"""When a module computes what its class says, and nothing else.

The common ground of the certifier, which proves, and the checker, which does not trust it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pnp_lip.errors import PnpLipError

__all__ = [
    "Refusal",
    "network_kind",
    "plain_type",
    "require_finite",
    "require_plain",
    "require_plain_parts",
]


class Refusal(PnpLipError, ValueError):
    """A network about which nothing can be proved; the message names the part that stops it."""


def require_plain(module: nn.Module, name: str) -> None:
    """Refuse what could make a module compute something else than its class does.

    Raises
    ------
    Refusal
        hooks, a compiled call, methods replaced on the instance, parametrisations in
        training mode or that give another value each time, or tensors that are not finite.
    """
    where = f"'{name or 'the network'}'"
    everywhere = nn.modules.module
    if module._forward_hooks or module._forward_pre_hooks:
        raise Refusal(f"{where} has forward hooks, which may change its output: remove them")
    if everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks:
        raise Refusal("global forward hooks are set, which may change every output: remove them")
    if module._compiled_call_impl is not None:
        raise Refusal(f"{where} has a compiled call, which replaces its forward: prove it before")
    for key in vars(module):
        if callable(getattr(type(module), key, None)):
            raise Refusal(f"{where} has its own '{key}', which replaces the one of its class")
    if parametrize.is_parametrized(module):
        _require_plain_parametrisation(module, name)
    values = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    for key, value in values:
        require_finite(value, f"{name}.{key}" if name else key)


def require_plain_parts(
    module: nn.Module, name: str, handed: frozenset[int] | set[int] = frozenset()
) -> None:
    """:func:`require_plain` for every descendant, except below those whose ``id`` is in ``handed``."""
    for key, part in module.named_children():
        path = f"{name}.{key}" if name else key
        if id(part) not in handed:
            require_plain(part, path)
            require_plain_parts(part, path, handed)


def require_finite(value: Tensor, name: str) -> None:
    """Refuse a tensor that holds NaN or infinity, or that has no values.

    Raises
    ------
    Refusal
        as said.
    """
    if value.device.type == "meta":
        raise Refusal(f"'{name}' is on the meta device, without values: load the weights first")
    if value.layout != torch.strided:
        raise Refusal(
            f"'{name}' is stored as {value.layout}, of which no entries are read: call to_dense()"
        )
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise Refusal(f"'{name}' contains NaN or infinity")


def _require_plain_parametrisation(module: nn.Module, name: str) -> None:
    where = f"'{name or 'the network'}'"
    parts: Any = module.parametrizations
    if module.training or any(part.training for part in parts.modules()):
        raise Refusal(f"{where} is parametrised and in training mode: call eval() first")
    with torch.no_grad():
        for key in parts:
            if not torch.equal(getattr(module, key), getattr(module, key)):
                raise Refusal(f"{where} has a '{key}' that is another one every time it is read")


def plain_type(module: nn.Module) -> type[nn.Module]:
    """The class of a module; of the underlying one where torch parametrised it."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def network_kind(module: nn.Module) -> str:
    """How certificates name the class of a network.

    Ours by its name alone, which outlives the file it stands in; another class with its module.
    """
    kind = plain_type(module)
    ours = kind.__module__.split(".")[0] == "pnp_lip"
    return kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"
