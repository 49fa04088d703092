"""Mutants change what live functions do, and nothing that the definition leaves out."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("mutmut")

from benchmarks.mutants.findings import Findings
from benchmarks.mutants.mutant import Mutant
from benchmarks.mutants.run import Verdict
from benchmarks.mutants.sites import mutants_of, mutated
from benchmarks.mutants.swap import Functions, NotReplaceable
from benchmarks.mutation import interval

_TEXT = '''"""A module."""

LIMIT = 3
TABLE = {"double": lambda x: 2 * x}


def shifted(x: int, by: int = 1) -> int:
    """x plus something."""
    if x < 0:
        raise ValueError("expected x >= 0, got " + str(x))
    return x + by


def counted(start: int):
    def step(x: int) -> int:
        return x * start

    return step


tripled = counted(3)
'''


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "mutated_module.py"
    path.write_text(_TEXT)
    spec = importlib.util.spec_from_file_location("mutated_module", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules["mutated_module"] = found
    spec.loader.exec_module(found)
    return found


def _find(tmp_path: Path, before: str, after: str) -> Mutant:
    (found,) = (
        m
        for m in mutants_of(tmp_path, "mutated_module.py")
        if (m.before, m.after) == (before, after)
    )
    return found


def test_texts_annotations_defaults_errors_and_constants_are_left_alone(
    module: ModuleType, tmp_path: Path
) -> None:
    mutants = mutants_of(tmp_path, "mutated_module.py")
    assert {mutant.line for mutant in mutants} == {4, 9, 11, 16}
    assert {mutant.function for mutant in mutants} == {"", "shifted", "counted.step"}


def test_a_mutant_runs_in_every_live_function_and_closure(
    module: ModuleType, tmp_path: Path
) -> None:
    shifted, tripled = module.shifted, module.tripled
    functions = Functions(tmp_path, ["mutated_module.py"])
    for before, after, function, was, becomes in (
        ("x + by", "x - by", lambda: shifted(5), 6, 4),
        ("x * start", "x / start", lambda: tripled(6), 18, 2),
        ("2", "3", lambda: module.TABLE["double"](2), 4, 6),
    ):
        assert function() == was
        text = mutated(tmp_path, _find(tmp_path, before, after))
        assert functions.replace("mutated_module.py", text) >= 1
        assert function() == becomes


def test_functions_say_that_they_are_entered(module: ModuleType, tmp_path: Path) -> None:
    entered: list[str] = []
    Functions(tmp_path, ["mutated_module.py"]).record(entered.append)
    assert module.shifted(1) == 2
    assert module.tripled(2) == 6
    assert entered == ["mutated_module.py::shifted", "mutated_module.py::counted.step"]


def test_a_mutant_that_defines_other_functions_is_not_run(
    module: ModuleType, tmp_path: Path
) -> None:
    functions = Functions(tmp_path, ["mutated_module.py"])
    with pytest.raises(NotReplaceable, match="other functions are defined"):
        functions.replace("mutated_module.py", _TEXT.replace("lambda x: 2 * x", "None"))


_TESTS = """
import builtins
import mutated_module

def test_a_sum():
    assert mutated_module.shifted(2, 3) == 5

def test_that_passes_only_while_it_is_watched():
    assert mutated_module.shifted(2, 3)
    assert hasattr(builtins, "__function_was_entered__")
"""
_SESSION = """
import json
from pathlib import Path
from benchmarks.mutants import Session
from benchmarks.mutants.sites import mutants_of

root, known, verdicts = Path(), {}, {}
files = (root, ["mutated_module.py"], ["test_it.py"])
Session(*files).run(lambda session: known.update(session.record("test_it.py")))

def work(session):
    for mutant in mutants_of(root, "mutated_module.py"):
        verdicts[f"{mutant.before} -> {mutant.after}"] = vars(session.verdict(mutant))

Session(*files, known).run(work)
Path("verdicts.json").write_text(json.dumps(verdicts))
"""


def test_what_fails_without_a_change_kills_no_mutant(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS)
    paths = [str(tmp_path), str(Path(__file__).parents[1])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-c", _SESSION]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    good, bad = "test_it.py::test_a_sum", "test_it.py::test_that_passes_only_while_it_is_watched"
    for change, outcome, test in (
        ("x + by -> x - by", "killed", good),
        ("0 -> 1", "survived", ""),
        ("x * start -> x / start", "no test enters it", ""),
    ):
        assert (verdicts[change]["outcome"], verdicts[change]["test"]) == (outcome, test)
    assert verdicts["0 -> 1"]["unfit"] == [bad]


def test_a_verdict_holds_until_the_file_changes_and_the_first_one_stays_known(
    module: ModuleType, tmp_path: Path
) -> None:
    def findings(*, again: bool = False) -> Findings:
        return Findings(tmp_path, tmp_path / "state", "room", again=again)

    drawn = mutants_of(tmp_path, "mutated_module.py")[:2]
    for mutant, outcome in zip(drawn, ("survived", "killed"), strict=True):
        findings().add(mutant, Verdict(outcome))
    assert findings().missing(drawn, 2) is None
    assert findings(again=True).missing(drawn, 2) == drawn[0]
    findings().add(drawn[0], Verdict("killed"))
    row = findings().row(drawn, 2)
    assert (row["killed_at_first"], row["killed"], row["controls"]) == (1, 2, 2)
    (tmp_path / "mutated_module.py").write_text(_TEXT + "\n")
    assert findings().missing(drawn, 2) == drawn[0]


def test_an_interval_holds_the_share_and_shrinks() -> None:
    for killed, drawn in ((9, 10), (90, 100), (0, 5), (5, 5)):
        low, high = interval(killed, drawn)
        assert -1e-12 <= low <= killed / drawn <= high <= 1 + 1e-12
    assert interval(90, 100)[0] > interval(9, 10)[0]
