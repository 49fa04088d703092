"""The bound of a network through its graphs, one for every way in which it may be called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from pnp_lip.certifier.calls import Call, calls_of, likely_shapes
from pnp_lip.certifier.composition import worst
from pnp_lip.certifier.conditions import of_type
from pnp_lip.certifier.faithfulness import calls_like, fingerprint, require_faithful, takes
from pnp_lip.certifier.graph import Bounder
from pnp_lip.certifier.program import NotExportable, Program, exported, with_varying_level
from pnp_lip.certifier.record import record_of
from pnp_lip.certifier.rules import Settings
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.surroundings import attributes_restored
from pnp_lip.certifier.whole import recorded_calls
from pnp_lip.plain_modules import Refusal, plain_type

__all__ = ["bound_graph"]


def bound_graph(module: nn.Module, name: str, settings: Settings) -> Statement:
    """What is proved of ``module`` by bounding the operators that it runs, for every way to call it.

    Raises
    ------
    Refusal
        it cannot be exported, is no map of its input alone, or has an operator without a rule.
    """
    before = fingerprint(module)
    with attributes_restored(module), recorded_calls():
        _refuse_early(module, name, settings)
        programs = list(_programs_of(module, settings))
        _require_same(before, module)
        statements = []
        for program in programs:
            bounder = Bounder(program, name, settings)
            statements.append(bounder.run())
            settings.memory.graphs.append(record_of(program, name, bounder.proved))
        for program in programs:
            require_faithful(module, program)
        _require_same(before, module)
    return _conditioned(worst(statements), programs)


def _conditioned(statement: Statement, programs: list[Program]) -> Statement:
    """With the conditions of every way to call; that of several images covers one image with it.

    A module may decide by the type of its numbers, so that of its images is a condition, too.
    """
    found = [condition for program in programs for condition in program.conditions]
    covered = {"C == 1", "C >= 2"} if {"C == 1", "C >= 2"} <= set(found) else set()
    if any(program.call.shape[0] != 1 for program in programs):
        covered |= {"B == 1", "B >= 2"}
    own, dtype = [one for one in found if one not in covered], programs[0].call.like.dtype
    conditions = tuple(dict.fromkeys((*own, *statement.conditions, of_type(dtype))))
    execution = statement.execution if dtype == torch.float32 else None
    return replace(statement, conditions=conditions, execution=execution)


def _require_same(before: str, module: nn.Module) -> None:
    if fingerprint(module) != before:
        raise Refusal(
            "changes attributes of its own whenever it is called, so it is no map of its input alone: "
            "keep its state outside of it"
        )


def _refuse_early(module: nn.Module, name: str, settings: Settings) -> None:
    """What has no rule at one size has none for all, and one size is exported ten times as fast.

    Whether the module can be exported at all is left to those that follow.

    Raises
    ------
    Refusal
        an operator without a rule, or attributes that change.
    """
    like = next(module.parameters(), torch.zeros((), dtype=settings.dtype))
    shapes = likely_shapes(module, settings.inputs.get(id(module)))
    calls = (call for shape in shapes for call in calls_of(module, shape, like))
    before, call = fingerprint(module), next((one for one in calls if takes(module, one)), None)
    try:
        program = None if call is None else exported(module, call, fixed=True)
    except (Refusal, NotExportable):
        return
    if program is not None:
        _require_same(before, module)
        Bounder(program, name, settings).run()


def _programs_of(module: nn.Module, settings: Settings) -> Iterator[Program]:
    """One program for each way to call the module."""
    shapes = likely_shapes(module, settings.inputs.get(id(module)))
    like = next(module.parameters(), torch.zeros((), dtype=settings.dtype))
    found = _first(module, shapes, like)
    shape = found[0].call.shape
    single = [] if shape[0] == 1 else list(_of_shape(module, (1, *shape[1:]), like))
    fixed = shape[0] != 1 and any(f"B == {shape[0]}" in one.conditions for one in found)
    if fixed and not single:
        raise Refusal(
            f"takes {shape[0]} images at once, neither one nor another number of them: write it for one "
            f"image"
        )
    yield from [] if fixed else found  # one image at a time, if their number was taken as fixed
    yield from single
    if "C >= 2" in found[0].conditions:
        yield from _of_shape(module, (shape[0], 1, *shape[2:]), like)


def _first(module: nn.Module, shapes: list[tuple[int, ...]], like: Tensor) -> list[Program]:
    """For the first of the shapes that the module takes."""
    for shape, optional in (*((shape, True) for shape in shapes), (shapes[0], False)):
        found = list(_of_shape(module, shape, like, optional=optional))
        if found:
            return found
    raise Refusal(
        f"({plain_type(module).__qualname__}) takes neither images of shape {list(shapes[0])} nor others "
        f"that were tried, with a noise level as its second argument: pass an input it takes with "
        f"example=, or register a rule"
    )


def _of_shape(
    module: nn.Module, shape: tuple[int, ...], like: Tensor, *, optional: bool = True
) -> Iterator[Program]:
    calls = calls_of(module, shape, like)
    numbers: list[Program] = []
    for program in filter(None, (_exported(module, call, optional=optional) for call in calls)):
        if program.call.number is None:
            yield program
        else:
            numbers.append(program)
    if numbers:
        yield with_varying_level(numbers)


def _exported(module: nn.Module, call: Call, *, optional: bool) -> Program | None:
    """``None`` where the module does not take such a call: an exporter may let through what cannot run."""
    problem: NotExportable | None = None
    for fixed in (False, True):
        try:
            program = exported(module, call, fixed=fixed)
            taken = not optional or any(takes(module, one) for one in calls_like(program))
            return program if taken else None
        except Refusal:
            if optional and not takes(module, call):
                return None
            raise
        except NotExportable as error:
            problem = problem or error
            if not fixed and not takes(module, call):
                break
    if (optional or call.place is not None) and not takes(module, call):
        return None
    raise Refusal(
        f"({plain_type(module).__qualname__}) has no rule, and its graph cannot be exported for "
        f"{call.what} ({problem}): pass an input it takes with example=, or register a rule with "
        f"pnp_lip.certifier.register_rule"
    ) from problem
