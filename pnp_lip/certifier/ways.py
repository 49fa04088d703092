"""The bound of a network through its graphs, one for every way in which it may be called."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from pnp_lip.certifier.calls import Call, calls_of, likely_shapes
from pnp_lip.certifier.composition import worst
from pnp_lip.certifier.conditions import of_type
from pnp_lip.certifier.faithfulness import fingerprint, require_faithful, takes
from pnp_lip.certifier.graph import Bounder
from pnp_lip.certifier.program import VARYING, NotExportable, Program, exported
from pnp_lip.certifier.record import record_of
from pnp_lip.certifier.rules import Settings
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.surroundings import restored
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
    like = next(module.parameters(), torch.zeros((), dtype=settings.dtype))
    with restored(module):
        first = _first_call(module, likely_shapes(module, settings.shapes.get(id(module))), like)
        # What has no rule at one size has none for all, and one size is exported ten times as fast.
        with suppress(NotExportable):
            program = exported(module, first, fixed=True)
            _require_same(before, module)
            Bounder(program, name, settings).run()
        programs = _programs_of(module, first.shape, like)
        _require_same(before, module)
        statements = []
        for program in programs:
            bounder = Bounder(program, name, settings)
            statements.append(bounder.run())
            settings.graphs.append(record_of(program, name, bounder.proved, settings.layers))
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
        raise Refusal("changes attributes of its own whenever it is called: keep state outside")


def _first_call(module: nn.Module, shapes: list[tuple[int, ...]], like: Tensor) -> Call:
    """The first, over all shapes, that the module takes."""
    calls = (call for shape in shapes for call in calls_of(module, shape, like))
    found = next((call for call in calls if takes(module, call)), None)
    if found is not None:
        return found
    *_, last = calls_of(module, shapes[0], like)
    if last.place is None:
        _exported(module, last)  # what this refuses says more
    raise Refusal(
        f"({plain_type(module).__qualname__}) takes neither images of shape {list(shapes[0])} nor others "
        f"that were tried, with a noise level as its second argument: pass an input it takes with "
        f"example=, or register a rule"
    )


def _programs_of(module: nn.Module, shape: tuple[int, ...], like: Tensor) -> list[Program]:
    """One program for each way to call the module, on several images and on one."""
    found = _of_shape(module, shape, like)
    single = [] if shape[0] == 1 else _of_shape(module, (1, *shape[1:]), like)
    grey = "C >= 2" in found[0].conditions
    if shape[0] != 1 and any(f"B == {shape[0]}" in one.conditions for one in found):
        found = []  # one image at a time, if their number was taken as fixed
        if not single:
            raise Refusal(f"takes {shape[0]} images at once, neither one nor another number")
    return found + single + (_of_shape(module, (shape[0], 1, *shape[2:]), like) if grey else [])


def _of_shape(module: nn.Module, shape: tuple[int, ...], like: Tensor) -> list[Program]:
    """Those of the calls that the module takes; noise levels given as numbers make one."""
    calls = [call for call in calls_of(module, shape, like) if takes(module, call)]
    found = [_exported(module, call) for call in calls]
    numbers = [program for program in found if program.call.number is not None]
    others = [program for program in found if program.call.number is None]
    return [*others, _with_varying_level(numbers)] if numbers else others


def _exported(module: nn.Module, call: Call) -> Program:
    """For as many sizes as the exporter can, else for the one of the call."""
    problems = []
    for fixed in (False, True):
        try:
            return exported(module, call, fixed=fixed)
        except NotExportable as problem:
            problems.append(problem)
    raise Refusal(
        f"({plain_type(module).__qualname__}) has no rule, and its graph cannot be exported for "
        f"{call.what} ({problems[0]}): pass an input it takes with example=, or use register_rule"
    ) from problems[0]


def _with_varying_level(programs: list[Program]) -> Program:
    """One program for several noise levels given as numbers, which may differ in constants alone."""
    first = programs[0]
    varying: dict[str, Any] = {}
    for other in programs[1:]:
        if _operators(first) != _operators(other) or first.conditions != other.conditions:
            raise Refusal("calls other operators at another noise level: register a rule")
        twins = dict(zip(other.nodes, first.nodes, strict=True))
        for twin, node in twins.items():
            one, same = first.constants.get(node.name), other.constants.get(twin.name)
            before = varying.get(node.name, (node.args, node.kwargs))
            varying[node.name] = _merged(before, (twin.args, twin.kwargs), twins)
            if isinstance(one, Tensor) and (same is None or not torch.equal(one, same)):
                varying[node.name] = VARYING
    return replace(first, varying=varying)


def _operators(program: Program) -> list[Any]:
    return [(node.op, node.op == "placeholder" or node.target) for node in program.nodes]


def _merged(one: Any, other: Any, twins: dict[fx.Node, fx.Node]) -> Any:
    """Arguments of twins; numbers and texts are equal if they are written in the same way."""
    if isinstance(one, fx.Node) or isinstance(other, fx.Node):
        if not (isinstance(other, fx.Node) and twins[other] is one):
            raise Refusal("reads other tensors at another noise level: register a rule")
        return one
    several = isinstance(one, (tuple, list)) and isinstance(other, (tuple, list))
    if several and len(one) == len(other):
        return type(one)(_merged(a, b, twins) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _merged(one[key], other[key], twins) for key in one}
    return one if repr(one) == repr(other) else VARYING
