"""From a module to a graph that is known to compute the same, or a refusal.

Symbolic tracing runs ``forward`` once with placeholders, so it may take another branch than a call
with tensors does (``isinstance(x, Tensor)``), miss that an argument is changed in place, or freeze a
random number. Hence three checks: no random numbers are drawn, in-place calls change nothing that is
read later, and graph and module agree on an example.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from deepinv.models import Denoiser
from torch import fx, nn

from pnp_lip.certifier.rules import has_rule
from pnp_lip.plain_modules import Refusal, plain_type, require_plain

__all__ = ["Storage", "Trace", "trace"]


@dataclass(frozen=True)
class Trace:
    """A module and the graph of its ``forward``."""

    root: nn.Module
    graph: fx.Graph


class _Tracer(fx.Tracer):
    """Looks into modules without a rule, and into every ``Sequential``."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) is nn.Sequential:
            return False
        return has_rule(m) or plain_type(m).__module__.startswith("torch.")


@contextmanager
def trace(module: nn.Module, name: str) -> Iterator[Trace]:
    """The graph of ``module``; attributes that tracing leaves on it are removed at the end.

    Raises:
        Refusal: tracing failed, for instance at a decision that depends on data.
    """
    for path, part in module.named_modules():
        require_plain(part, ".".join(p for p in (name, path) if p))
    where, before = f"'{name or 'the network'}'", set(vars(module))
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    random = torch.get_rng_state()
    try:
        graph = _Tracer().trace(module, _defaults(module))
        if not torch.equal(random, torch.get_rng_state()):
            raise Refusal(f"{where} ({kind}) draws random numbers, so there is no single map")
        yield Trace(module, graph)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(
            f"{where} ({kind}) has no rule and cannot be traced: {error}; register a rule for it "
            f"with pnp_lip.certifier.register_rule"
        ) from error
    finally:
        for key in set(vars(module)) - before:
            delattr(module, key)


def _defaults(module: nn.Module) -> dict[str, object] | None:
    """Arguments fixed at their defaults: all but the first, except a denoiser's noise level."""
    if isinstance(module, Denoiser):
        return None
    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.default is not p.empty} or None


@dataclass
class Storage:
    """Which nodes share memory, and which of them an in-place call has made invalid."""

    owner: dict[fx.Node, fx.Node] = field(default_factory=dict)
    stale: set[fx.Node] = field(default_factory=set)

    def check(self, node: fx.Node, name: str) -> None:
        """Refuse to read a tensor that was changed after it was computed."""
        for read in node.all_input_nodes:
            if read in self.stale:
                raise Refusal(
                    f"node '{node.name}' of '{name or 'the network'}' reads '{read.name}', which an "
                    f"in-place call has changed: pass inplace=False"
                )

    def record(self, node: fx.Node, module: nn.Module | None) -> None:
        """Note what ``node``, computed by ``module``, shares and changes."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        changes = _changes_input(node, module)
        shares = changes or module is None or not _is_fresh(module)
        owner = self.owner.get(source, source)
        if changes:
            self.stale |= {n for n, o in self.owner.items() if o is owner} | {owner, source}
        self.owner[node] = owner if shares else node


def _changes_input(node: fx.Node, module: nn.Module | None) -> bool:
    title = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    called = node.op != "call_module" and str(title).endswith("_")
    inside = module is not None and any(getattr(m, "inplace", False) for m in module.modules())
    return called or inside or bool(node.kwargs.get("inplace", False))


def _is_fresh(module: nn.Module) -> bool:
    """Whether the output never shares memory with the input."""
    kind = plain_type(module)
    views = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.Dropout3d)
    return kind.__module__.startswith("torch.nn.") and kind not in views
