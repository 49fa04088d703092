"""Run tests against mutants, each in a process of its own that starts with everything imported.

pytest collects the tests once. Then a process is forked for every mutant; it replaces the code of the live
functions and runs the tests that enter the mutated function until one fails.

The control: what killed a mutant has to pass, in the same order and in a process that is made the same way,
with every function of the file replaced by itself. A test that does not is dropped, and the mutant judged
without it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mutants.mutant import Mutant
from benchmarks.mutants.process import forked, limit
from benchmarks.mutants.swap import Functions, NotReplaceable

__all__ = ["KILLED", "NOT_ENTERED", "NOT_REPLACEABLE", "SURVIVED", "TIMEOUT", "Session", "Verdict"]

KILLED, SURVIVED, TIMEOUT, NOT_ENTERED = "killed", "survived", "timeout", "no test enters it"
NOT_REPLACEABLE = "not replaceable"


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Args:
        outcome: one of the names of this module.
        test: that killed it.
        unfit: tests that failed although nothing was changed, and were not counted.
    """

    outcome: str
    test: str = ""
    unfit: tuple[str, ...] = ()


@dataclass
class Session:
    """Tests that are collected once, and what they enter.

    Args:
        root: of the project.
        paths: files whose functions are watched and mutated.
        tests: files of tests.
        known: what earlier sessions recorded: by test, seconds and functions.
        seconds: of tests that a mutant has to survive; the later ones of its order are not run.
    """

    root: Path
    paths: list[str]
    tests: list[str]
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = float("inf")

    def run(self, work: Callable[[Session], None]) -> None:
        """Collect, then do the work."""
        self._work = work
        self._controlled: dict[tuple[str, ...], bool] = {}
        pytest.main(["-p", "no:cacheprovider", "-s", *self.tests], plugins=[self])

    def pytest_configure(self, config: pytest.Config) -> None:
        """Hypothesis draws the same examples each time, and does not shrink them."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutants", phases=phases, database=None, derandomize=True, deadline=None
        )
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise SystemExit("the tests cannot be collected")
        self._session = session
        self._items = {item.nodeid: item for item in session.items}
        self._functions = Functions(self.root, self.paths)
        self._work(self)
        return True

    def record(self, file: str) -> dict[str, dict[str, Any]]:
        """Seconds and entered functions of every test of a file that passes."""
        items = [name for name in self._items if name.split("::")[0] == file]

        def watch(write: int) -> int:
            entered: set[str] = set()
            self._functions.record(entered.add)
            found = {}
            for name in items:
                entered.clear()
                start = time.process_time()
                passed = self._passes(name)
                seconds = time.process_time() - start
                if passed:
                    found[name] = {"seconds": round(seconds, 3), "entered": sorted(entered)}
            os.write(write, json.dumps(found).encode())
            return 0

        _, text = forked(watch)
        return json.loads(text or "{}")

    def verdict(self, mutant: Mutant) -> Verdict:
        """What became of a mutant."""
        from benchmarks.mutants.sites import mutated  # needs mutmut, which only this work does

        tests, unfit = self._entering(mutant), list[str]()
        text = mutated(self.root, mutant)
        while tests:
            outcome, test = self._outcome(mutant.path, text, tests)
            if outcome not in (KILLED, TIMEOUT):
                return Verdict(outcome, "", tuple(unfit))
            broken = self._control(mutant.path, tests[: tests.index(test) + 1])
            if not broken:
                return Verdict(outcome, test, tuple(unfit))
            unfit.append(broken)
            tests.remove(broken)
        return Verdict(NOT_ENTERED, "", tuple(unfit))

    def _entering(self, mutant: Mutant) -> list[str]:
        """The tests that enter the mutated function, in the order in which they run.

        First those of files that are named after the module or name the function, or the class of a
        method; among these and among the others fast ones that enter little else.
        """
        name = f"{mutant.path}::{mutant.function}"
        stem, own = Path(mutant.path).stem, mutant.function.partition(".")[0]
        named = re.compile(rf"\b{own}\b" if own else "(?!)")
        near = {
            file
            for file in self.tests
            if stem in Path(file).stem or named.search((self.root / file).read_text("utf-8"))
        }
        tests = [
            test
            for test, seen in self.known.items()
            if test in self._items
            and any(
                one == name or (not mutant.function and one.startswith(name))
                for one in seen["entered"]
            )
        ]
        tests.sort(key=lambda test: (test.split("::")[0] not in near, self._cost(test)))
        kept, seconds = list[str](), 0.0
        for test in tests:
            seconds += self.known[test]["seconds"]
            if seconds <= self.seconds or not kept:
                kept.append(test)
        return kept

    def _cost(self, test: str) -> float:
        seen = self.known[test]
        return float((0.01 + seen["seconds"]) * len(seen["entered"]))

    def _control(self, path: str, tests: list[str]) -> str:
        """The test among these that fails although nothing is changed, empty if none does."""
        key = (path, *tests)
        if key not in self._controlled:
            text = (self.root / path).read_text(encoding="utf-8")
            outcome, test = self._outcome(path, text, tests, same=True)
            if outcome != SURVIVED:
                return test or tests[-1]
            self._controlled[key] = True
        return ""

    def _outcome(
        self, path: str, text: str, tests: list[str], *, same: bool = False
    ) -> tuple[str, str]:
        """What became of another text of a file, and the test that noticed."""

        def attack(write: int) -> int:
            try:
                if not self._functions.replace(path, text, same=same):
                    return 3
            except (NotReplaceable, SyntaxError):
                return 3
            for test in tests:
                os.write(write, f"{test}\n".encode())
                limit(self.known[test]["seconds"])
                if not self._passes(test):
                    return 1
            return 0

        status, text = forked(attack)
        test = (text.splitlines() or [""])[-1]
        if os.WIFSIGNALED(status):
            return TIMEOUT, test
        outcomes = {0: SURVIVED, 3: NOT_REPLACEABLE}
        return outcomes.get(os.WEXITSTATUS(status), KILLED), test

    def _passes(self, test: str) -> bool:
        failed = self._session.testsfailed
        self._session.config.hook.pytest_runtest_protocol(item=self._items[test], nextitem=None)
        return self._session.testsfailed == failed
