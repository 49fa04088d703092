"""Whether a traced graph computes what its module computes, seen on an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from deepinv.models import Denoiser
from torch import Tensor, fx, nn

from pnp_lip.certifier.shapes import Source
from pnp_lip.certifier.tracing import Trace
from pnp_lip.plain_modules import Refusal

__all__ = ["inputs_of_modules", "require_agreement"]

_SIDES = ((16, 24), (15, 17), (64, 64))
_TOLERANCE = 1e-3


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
    """Run ``network`` on ``example`` and note what every module inside is given first.

    Raises:
        ValueError: the network does not take the example.
    """
    seen: dict[int, tuple[Any, ...]] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        copies = tuple(a.clone() if isinstance(a, Tensor) else a for a in arguments)
        seen.setdefault(id(module), copies)

    handles = [module.register_forward_pre_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(example, *([0.1] if isinstance(network, Denoiser) else []))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the network does not take the example of shape {tuple(example.shape)}: {error}"
        ) from error
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
