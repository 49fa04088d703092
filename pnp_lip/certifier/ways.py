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


def programs_of(module: nn.Module, settings: Settings) -> Iterator[Program]:
    """One program for each way to call the module."""
    found = _first(module, likely_shapes(module, settings.inputs.get(id(module))))
    shape = found[0].call.shape
    single = [] if shape[0] == 1 else list(_of_shape(module, (1, *shape[1:]), optional=True))
    if not (single and f"B == {shape[0]}" in found[0].conditions):
        yield from found  # else the number of images was taken as fixed: one image at a time
    yield from single
    if "C >= 2" in found[0].conditions:
        yield from _of_shape(module, (shape[0], 1, *shape[2:]), optional=True)


def _first(module: nn.Module, shapes: list[tuple[int, ...]]) -> list[Program]:
    """For the first of the shapes that the module takes."""
    for shape, optional in (*((shape, True) for shape in shapes), (shapes[0], False)):
        found = list(_of_shape(module, shape, optional=optional))
        if found:
            return found
    raise Refusal(
        f"({plain_type(module).__qualname__}) takes neither images of shape {list(shapes[0])} nor others "
        f"that were tried, with a noise level as its second argument: pass an input it takes with "
        f"example=, or register a rule"
    )


def _of_shape(module: nn.Module, shape: tuple[int, ...], *, optional: bool) -> Iterator[Program]:
    tried = (_exported(module, call, optional=optional) for call in calls_of(module, shape))
    numbers: list[Program] = []
    for program in filter(None, tried):
        if program.call.number is None:
            yield program
        else:
            numbers.append(program)
    if numbers:
        yield with_varying_level(numbers)


def _exported(module: nn.Module, call: Call, *, optional: bool) -> Program | None:
    """``None`` where the module does not take such a call."""
    if optional and not takes(module, call):
        return None
    problem: NotExportable | None = None
    for fixed in (False, True):
        try:
            return exported(module, call, fixed=fixed)
        except NotExportable as error:
            problem = problem or error
            if not optional and not takes(module, call):
                break
    if call.place is not None and not takes(module, call):
        return None
    raise Refusal(
        f"({plain_type(module).__qualname__}) has no rule, and its graph cannot be exported for "
        f"{call.what} ({problem}): pass an input it takes with example=, or register a rule with "
        f"pnp_lip.certifier.register_rule"
    ) from problem
