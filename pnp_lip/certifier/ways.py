"""The graphs of one network, for every way in which it may be called."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from pnp_lip.certifier.calls import Call, calls_of, likely_shapes
from pnp_lip.certifier.faithfulness import takes
from pnp_lip.certifier.program import NotExportable, Program, exported, with_varying_level
from pnp_lip.certifier.rules import Settings
from pnp_lip.plain_modules import Refusal, plain_type

__all__ = ["programs_of"]


def programs_of(module: nn.Module, name: str, settings: Settings) -> Iterator[Program]:
    """One program for each way to call the module."""
    shapes = likely_shapes(module, settings.inputs.get(id(module)))
    found = _first(module, name, shapes)
    shape = found[0].call.shape
    single = [] if shape[0] == 1 else list(_of_shape(module, name, (1, *shape[1:]), optional=True))
    if not (single and f"B == {shape[0]}" in found[0].conditions):
        yield from found  # else the number of images was taken as fixed: one image at a time
    yield from single
    if any(condition == "C >= 2" for condition in found[0].conditions):
        yield from _of_shape(module, name, (shape[0], 1, *shape[2:]), optional=True)


def _first(module: nn.Module, name: str, shapes: list[tuple[int, ...]]) -> list[Program]:
    """For the first of the shapes that the module takes."""
    for shape in shapes:
        found = list(_of_shape(module, name, shape, optional=True))
        if found:
            return found
    found = list(_of_shape(module, name, shapes[0], optional=False))
    if not found:
        raise Refusal(
            f"'{name or 'the network'}' ({plain_type(module).__qualname__}) takes neither images of shape "
            f"{list(shapes[0])} nor others that were tried, with a noise level as its second argument: "
            f"pass an input it takes with example=, or register a rule"
        )
    return found


def _of_shape(
    module: nn.Module, name: str, shape: tuple[int, ...], *, optional: bool
) -> Iterator[Program]:
    numbers: list[Program] = []
    for call in calls_of(module, name, shape):
        program = _exported(module, name, call, optional=optional)
        if program is None:
            continue
        if call.number is None:
            yield program
        else:
            numbers.append(program)
    if numbers:
        try:
            yield with_varying_level(numbers)
        except Refusal as refusal:
            raise Refusal(f"'{name or 'the network'}' {refusal}") from refusal


def _exported(module: nn.Module, name: str, call: Call, *, optional: bool) -> Program | None:
    """``None`` where the module does not take such a call."""
    if optional and not takes(module, call):
        return None
    where = f"'{name or 'the network'}' ({plain_type(module).__qualname__})"
    problem: NotExportable | None = None
    for fixed in (False, True):
        try:
            return exported(module, call, fixed=fixed)
        except Refusal as refusal:
            text = str(refusal)
            raise Refusal(text if text.startswith("'") else f"{where} {text}") from refusal
        except NotExportable as error:
            problem = problem or error
            if not optional and not takes(module, call):
                break
    if call.place is not None and not takes(module, call):
        return None
    raise Refusal(
        f"{where} has no rule, and its graph cannot be exported for {call.what} ({problem}): pass an "
        f"input it takes with example=, or register a rule with pnp_lip.certifier.register_rule"
    ) from problem
