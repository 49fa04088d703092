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
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mutants.mutant import Mutant
from benchmarks.mutants.swap import Functions, NotReplaceable

__all__ = ["KILLED", "NOT_ENTERED", "NOT_REPLACEABLE", "SURVIVED", "TIMEOUT", "Session", "Verdict"]

KILLED, SURVIVED, TIMEOUT, NOT_ENTERED = "killed", "survived", "timeout", "no test enters it"
NOT_REPLACEABLE = "not replaceable"
_MEMORY = 16 * 2**30
#: Seconds that a test may take beyond four times its own.
_PATIENCE = 10


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

        _, text = _forked(watch)
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
        """The tests that enter the mutated function: fast ones that enter little else first."""
        name = f"{mutant.path}::{mutant.function}"
        tests = [
            test
            for test, seen in self.known.items()
            if test in self._items
            and any(
                one == name or (not mutant.function and one.startswith(name))
                for one in seen["entered"]
            )
        ]
        tests.sort(
            key=lambda test: (0.01 + self.known[test]["seconds"]) * len(self.known[test]["entered"])
        )
        kept, seconds = list[str](), 0.0
        for test in tests:
            seconds += self.known[test]["seconds"]
            if seconds <= self.seconds or not kept:
                kept.append(test)
        return kept

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
                _limit(self.known[test]["seconds"])
                if not self._passes(test):
                    return 1
            return 0

        status, text = _forked(attack)
        test = (text.splitlines() or [""])[-1]
        if os.WIFSIGNALED(status):
            return TIMEOUT, test
        outcomes = {0: SURVIVED, 3: NOT_REPLACEABLE}
        return outcomes.get(os.WEXITSTATUS(status), KILLED), test

    def _passes(self, test: str) -> bool:
        failed = self._session.testsfailed
        self._session.config.hook.pytest_runtest_protocol(item=self._items[test], nextitem=None)
        return self._session.testsfailed == failed


def _limit(seconds: float) -> None:
    """Seconds of the processor that this process has left, and a longer time on the clock."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    left = int(_PATIENCE + 4 * seconds)
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + left, resource.RLIM_INFINITY))
    signal.alarm(10 * left)


def _forked(work: Callable[[int], int]) -> tuple[int, str]:
    """The status of a process that does the work, and what it wrote."""
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(read)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            code = work(write)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return status, text
