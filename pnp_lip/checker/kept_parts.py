"""Parts of a network whose class has a theorem: their calls stand in a graph as one operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.checker.architecture import keeps_shape
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["CALLS", "WHOLE", "keep_whole"]

#: Arguments on any value of which the theorems of our classes hold.
_FREE = {"sigma"}

#: Path and module of every call, and how it is run again.
CALLS: list[tuple[str, nn.Module, Callable[[Tensor, list[Tensor]], Tensor]]] = []


@torch.library.custom_op("pnp_lip::checked_part", mutates_args=())
def _part(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    return CALLS[call][2](x.clone(), others).clone()


@_part.register_fake
def _(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    _, part, run = CALLS[call]
    return torch.empty_like(x) if keeps_shape(part) else run(x, others)


#: Stands in a graph for a part that stays whole.
WHOLE = torch.ops.pnp_lip.checked_part.default


def keep_whole(root: nn.Module, path: str) -> None:
    """Let calls of one part stand in the graph as one operator."""
    try:
        part = root.get_submodule(path)
    except AttributeError as error:
        raise CertificateRejected(f"the network has no part '{path}'") from error
    if "forward" in vars(part):
        raise CertificateRejected(
            f"'{path}' has its own 'forward', which replaces that of its class"
        )
    forward = type(part).forward
    signature = inspect.signature(forward)

    def record(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rest = dict(list(signature.bind(part, x, *args, **kwargs).arguments.items())[2:])
        tensors = [key for key, value in rest.items() if isinstance(value, Tensor)]
        given = [k for k, value in rest.items() if value is not signature.parameters[k].default]
        if keeps_shape(part) and not set(given) <= _FREE:
            raise CertificateRejected(f"'{path}' is called with {given}: its theorem excludes that")

        def run(image: Tensor, others: list[Tensor]) -> Tensor:
            bound = signature.bind(part, image, *args, **kwargs)
            bound.arguments.update(zip(tensors, others, strict=True))
            out: Tensor = forward(*bound.args, **bound.kwargs)
            return out

        CALLS.append((path, part, run))
        out: Tensor = WHOLE(x, [rest[key] for key in tensors], len(CALLS) - 1)
        return out

    vars(part)["forward"] = record
