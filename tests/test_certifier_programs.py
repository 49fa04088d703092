"""Random programs of torch: what is proved of them is true of pairs of inputs, and the rest is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from benchmarks.programs import STEPS, RandomProgram, Verdict, judged
from pnp_lip.certifier import Operation, local_rules, register_operator

#: What a refusal never says: the words of an error that was not foreseen.
_UNFORESEEN = re.compile(
    r"has no attribute|object is not|NoneType|KeyError|index out of range|'Node'"
)


def _judged(seed: int, kind: str, **options: Any) -> Verdict:
    program = RandomProgram(seed, kind, **options)
    return judged(program, program.example)


def _require_sound(seed: int, kind: str, **options: Any) -> Verdict:
    verdict = _judged(seed, kind, **options)
    assert not verdict.fault, (seed, kind, verdict)
    assert not _UNFORESEEN.search(verdict.refusal), (seed, kind, verdict)
    return verdict


@pytest.mark.parametrize("kind", ["vectors", "signals", "images"])
def test_no_program_is_bounded_below_what_a_pair_of_inputs_attains(kind: str) -> None:
    verdicts = [_require_sound(seed, kind) for seed in range(13)]
    assert sum(not verdict.refusal for verdict in verdicts) >= 9


def test_no_program_of_free_size_is_bounded_below_what_a_pair_of_inputs_attains() -> None:
    for seed in range(4):
        _require_sound(seed, "images", fixed=False)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_alone_is_bounded_or_refused(name: str) -> None:
    kind = "vectors" if name == "dense layer on all entries" else "images"
    program = RandomProgram(5, kind, only=[name])
    assert program.names == [name]
    _require_sound(5, kind, only=[name])


def test_a_wrong_rule_is_found_by_a_pair_of_inputs() -> None:
    def false(verdict: Verdict) -> bool:
        return verdict.fault.startswith("claims")

    with local_rules():

        @register_operator(torch.ops.aten.flip.default, torch.ops.aten.roll.default)
        def _halved(op: Operation, x: Any, **given: Any) -> Any:
            return op.bounded(x, 0.5, "half of what it is")

        verdicts = [_judged(seed, "vectors", only=["moved"]) for seed in range(6)]
        assert sum(map(false, verdicts)) >= 2
    assert not any(false(_judged(seed, "vectors", only=["moved"])) for seed in range(6))


def test_a_wrong_averagedness_is_found_by_a_pair_of_inputs() -> None:
    with local_rules():

        @register_operator(torch.ops.aten.flip.default, torch.ops.aten.roll.default)
        def _entrywise(op: Operation, x: Any, **given: Any) -> Any:
            return op.entrywise(x, 0.0, 1.0)  # right about the constant, wrong about the rest

        verdicts = [_judged(seed, "vectors", only=["moved"]) for seed in range(6)]
        assert sum("averagedness" in verdict.fault for verdict in verdicts) >= 2
