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
from typing import Any

import torch
from deepinv.models import Denoiser
from torch import Tensor, fx, nn

from pnp_lip.certifier.rules import Refusal, has_rule, plain_type, require_plain
from pnp_lip.certifier.shapes import Source

__all__ = ["Storage", "Trace", "inputs_of_modules", "require_agreement", "trace"]

_SIDES = ((16, 24), (15, 17), (64, 64))
_TOLERANCE = 1e-3


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


def require_agreement(
    traced: Trace, name: str, source: Source, seen: tuple[Any, ...] | None = None
) -> None:
    """Refuse a graph that does not compute what the module computes on an example.

    Args:
        traced: the graph.
        name: of the module, for messages.
        source: what is known of the input's shape.
        seen: arguments that the module was given in a run of the whole network.

    Raises:
        Refusal: they differ, or the module runs on no example.
    """
    problem: Exception | None = None
    for arguments in [seen] if seen else _examples(traced.root, source):
        try:
            difference = _difference(traced, arguments)
        except Exception as error:
            problem = problem or error
            continue
        if difference <= _TOLERANCE:
            return
        raise Refusal(
            f"the traced graph of '{name or 'the network'}' does not compute what the module does "
            f"(relative difference {difference:.2g}), because of a type check or an in-place "
            f"change: register a rule for {type(traced.root).__qualname__}"
        )
    raise Refusal(
        f"'{name or 'the network'}' could not be compared with its traced graph on an example "
        f"({problem}): pass one with example=, or register a rule for "
        f"{type(traced.root).__qualname__}"
    )


def inputs_of_modules(network: nn.Module, example: Tensor) -> dict[int, tuple[Any, ...]]:
    """Run ``network`` on ``example`` and note what every module inside is given first."""
    seen: dict[int, tuple[Any, ...]] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        copies = tuple(a.clone() if isinstance(a, Tensor) else a for a in arguments)
        seen.setdefault(id(module), copies)

    handles = [module.register_forward_pre_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(example, *([0.1] if isinstance(network, Denoiser) else []))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _examples(module: nn.Module, source: Source) -> Iterator[tuple[Any, ...]]:
    """Inputs of the likely shapes, random in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    reference = next(module.parameters(), torch.zeros(()))
    level = (0.1,) if isinstance(module, Denoiser) else ()
    shapes: list[tuple[int, ...]] = []
    if source.features is not None and source.channels is None:
        shapes.append((2, source.features))
    for sides in _SIDES:
        for channels in _likely_channels(module, source):
            shapes.append((2, channels, *(sides + sides[:1])[: source.axes or 2]))
    for shape in shapes:
        x = torch.rand(shape, generator=generator) * 2 - 1
        yield x.to(reference.device, reference.dtype), *level


def _likely_channels(module: nn.Module, source: Source) -> list[int]:
    if source.channels is not None:
        return [source.channels]
    found = [getattr(part, "in_channels", None) for part in module.modules()]
    found += [p.shape[1] for p in module.parameters() if p.ndim > 2]
    return list(dict.fromkeys(c for c in (*found, 1, 3, 2, 4) if isinstance(c, int)))


@torch.no_grad()
def _difference(traced: Trace, arguments: tuple[Any, ...]) -> float:
    expected = traced.root(*_fresh(arguments))
    placeholders = sum(node.op == "placeholder" for node in traced.graph.nodes)
    given = (*_fresh(arguments), *[None] * placeholders)[:placeholders]
    found = fx.Interpreter(traced.root, graph=traced.graph).run(*given)
    if found.shape != expected.shape:
        return float("inf")
    scale = torch.linalg.vector_norm(expected.double()).clamp_min(1e-300)
    return float(torch.linalg.vector_norm((found - expected).double()) / scale)


def _fresh(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies, because a network may change its input."""
    return tuple(a.clone() if isinstance(a, Tensor) else a for a in arguments)


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
