"""When a module computes what its class says, and nothing else.

The common ground of the certifier, which proves, and the checker, which does not trust it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from pnp_lip.errors import PnpLipError

__all__ = ["Refusal", "network_kind", "plain_type", "require_plain"]


class Refusal(PnpLipError, ValueError):
    """A network about which nothing can be proved; the message names the part that stops it."""


def require_plain(module: nn.Module, name: str) -> None:
    """Refuse what could make a module compute something else than its class does.

    Raises:
        Refusal: hooks, methods replaced on the instance, parametrisations in training mode, or
            parameters that are not finite.
    """
    where = f"'{name or 'the network'}'"
    everywhere = nn.modules.module
    if module._forward_hooks or module._forward_pre_hooks:
        raise Refusal(f"{where} has forward hooks, which may change its output: remove them")
    if everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks:
        raise Refusal("global forward hooks are set, which may change every output: remove them")
    for key in vars(module):
        if callable(getattr(type(module), key, None)):
            raise Refusal(f"{where} has its own '{key}', which replaces that of its class")
    if parametrize.is_parametrized(module) and module.training:
        raise Refusal(f"{where} is parametrised and in training mode: call eval() first")
    values = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    for key, value in values:
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise Refusal(f"'{name}.{key}' contains NaN or infinity".replace("'.", "'"))


def plain_type(module: nn.Module) -> type[nn.Module]:
    """The class of a module; of the underlying one where torch parametrised it."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def network_kind(module: nn.Module) -> str:
    """How certificates name the class of a network: ours by its name alone, which outlives the file
    it stands in; another class with its module."""
    kind = plain_type(module)
    ours = kind.__module__.split(".")[0] == "pnp_lip"
    return kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"
