"""Whether a graph computes what its module computes, and whether the module is a map of its input."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from pnp_lip.certifier.calls import Call, Called
from pnp_lip.certifier.conditions import admits
from pnp_lip.certifier.digest import digest
from pnp_lip.certifier.program import NotExportable, Program, exported
from pnp_lip.certifier.surroundings import WHOLE
from pnp_lip.certifier.values import named
from pnp_lip.plain_modules import Refusal

__all__ = ["fingerprint", "require_faithful", "takes"]

_SIDES = ((16, 24, 8), (15, 17, 9), (64, 96, 32), (5, 7, 6))
#: Of images that are only exported, by the number of axes; and how many of them.
_LARGE, _MANY = {0: (), 1: (768,), 2: (768, 1024), 3: (128, 96, 128)}, 16
_AMPLITUDES = (1.0, 0.1, 100.0)
#: Between the graph and the module; two runs on the same numbers, which may be added up in another
#: order; float32 and float64, after all roundings of a network.
_TOLERANCE, _SAME, _ROUNDINGS = 1e-4, 1e-5, 1e-2

#: What the exporter may leave out where sizes are numbers, or write in another way.
_LEFT_OUT = named(
    "slice.Tensor slice_scatter alias detach clone contiguous view reshape _unsafe_view"
)


#: A digest that stays the same as long as nothing changes; what cannot be read has its identity.
fingerprint = partial(digest, unreadable=lambda value: str(id(value)))


@torch.no_grad()
def takes(module: nn.Module, call: Call) -> bool:
    """Whether the module can be called so at all; a refusal of ours says nothing about that."""
    try:
        _outcome(module, call, call.example())
    except Exception as error:  # a level that is not in a table may be another time
        return isinstance(error, (Refusal, KeyError))
    return True


@torch.no_grad()
def require_faithful(module: nn.Module, program: Program) -> None:
    """Refuse a graph that does not compute what the module computes.

    Compared on random images of two sizes, with entries of size 0.1, 1 and 100. The module is run again,
    with gradients, in inference mode and on the same numbers in another order of memory, and a copy of
    it in float64, where a cast that copies in float32 may return a view that is written to. For many
    large images the same operators are called.

    Raises
    ------
    Refusal
        they differ, the module gives two answers, or it cannot be run.
    """
    _require_same_at_large(module, program)
    compared = 0
    for call in [*_resized(program, program.call.shape[0], *_SIDES), program.call]:
        for seed, amplitude in enumerate(_AMPLITUDES[: 1 if compared else None]):
            given = call.example(seed, amplitude)
            try:
                expected = _outcome(module, call, given)
            except Exception as error:
                if call.shape == program.call.shape:
                    raise Refusal(f"could be exported but not run: {error}") from error
                continue
            same = torch.equal(expected, _outcome(module, call, given))
            if not same or not (compared or _same_in_other_ways(module, call, given, expected)):
                raise Refusal("gives two answers for one input, so there is no single map")
            difference = _relative(program.run(*given), expected)
            if not difference <= _TOLERANCE:
                raise Refusal(
                    f"has an exported graph that does not compute what the module does (relative "
                    f"difference {difference:.2g} for {call.what}), because of a check of types or a "
                    f"swallowed exception: register a rule for {type(module).__qualname__}"
                )
            if not compared and not _in_double(module, call, given, expected) <= _ROUNDINGS:
                raise Refusal("is another map in float64 than in float32: clone before changing it")
            compared += 1
        if compared > len(_AMPLITUDES):
            return


def _require_same_at_large(module: nn.Module, program: Program) -> None:
    """Of many large images sides are numbers of Python; ``forward`` saw symbols, which are no ``int``."""
    shape = program.call.shape
    for call in _resized(program, 1 if shape[0] == 1 else _MANY, _LARGE[len(shape[2:])]):
        with suppress(NotExportable):
            if _differ(*map(_calls_of_tensors, (program, exported(module, call, fixed=True)))):
                raise Refusal(f"calls other operators for {call.what}: register a rule")


def _calls_of_tensors(program: Program) -> list[Any]:
    """Operators that return tensors, with their arguments, but for the number of a whole call."""
    found = [n for n in program.nodes if isinstance(n.meta.get("val"), (Tensor, tuple, list))]
    kept = [node for node in found if node.target not in _LEFT_OUT]
    return [(n.target, n.args[: 2 if n.target is WHOLE else 99], *n.kwargs.values()) for n in kept]


def _differ(one: Any, other: Any) -> bool:
    """Whether two calls do, but for what symbols and other nodes stand for."""
    if isinstance(one, (tuple, list)):
        return len(one) != len(other) or any(map(_differ, one, other))
    return not isinstance(one, fx.Node) and repr(one) != repr(other)


def _resized(program: Program, images: int, *several: tuple[int, ...]) -> list[Call]:
    """Calls on images of other sizes that meet the conditions, if these can be read."""
    shape, found = program.call.shape, []
    for sides in several:
        shape = (images, *shape[1:2], *sides[: len(shape) - 2])
        with suppress(ValueError):
            if admits(program.conditions, shape, program.call.like.dtype):
                found.append(replace(program.call, shape=shape))
    return found


def _same_in_other_ways(module: nn.Module, call: Call, given: Any, expected: Tensor) -> bool:
    """Whether calls whose way should not matter give the answer too, where they are possible."""
    tracked = tuple(one.clone().requires_grad_() for one in given)
    ways: list[Any] = [(torch.enable_grad, given), (torch.enable_grad, tracked)]
    ways += [(torch.inference_mode, given)]
    ways += [(torch.no_grad, tuple(_with_last(one, axis) for one in given)) for axis in (-2, 1)]
    differences = []
    for way, values in ways:
        with suppress(RuntimeError), way():
            differences.append(_relative(_outcome(module, call, values).detach(), expected))
    return all(difference <= _SAME for difference in differences)


def _with_last(images: Tensor, axis: int) -> Tensor:
    """The same numbers, neighbours in memory along another axis."""
    return images if images.ndim < 2 else images.movedim(axis, -1).contiguous().movedim(-1, axis)


def _in_double(module: nn.Module, call: Call, given: tuple[Tensor, ...], expected: Tensor) -> float:
    """The relative difference from the answer in float64.

    0 where the module does not run there, or where a copy is not what the module is.
    """
    if expected.dtype != torch.float32:
        return 0.0
    try:
        copied = copy.deepcopy(module)
        if not torch.equal(_outcome(copied, call, given), expected):
            return 0.0
        found = _outcome(copied.double(), call, tuple(one.double() for one in given))
    except Exception:
        return 0.0
    return _relative(found, expected)


def _outcome(module: nn.Module, call: Call, given: tuple[Tensor, ...]) -> Tensor:
    return Called(module, call)(*(tensor.clone() for tensor in given))


def _relative(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    scale = torch.linalg.vector_norm(expected.to(torch.cdouble)).clamp_min(1e-300)
    return float(torch.linalg.vector_norm(found.to(torch.cdouble) - expected) / scale)
