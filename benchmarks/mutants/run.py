"""Run tests against mutants, each in a process of its own that starts with everything imported.

pytest collects the tests once. Then a process is forked for every mutant; it replaces the code of the live
functions and runs the tests that enter the mutated function, the fastest first, until one fails.
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

__all__ = ["KILLED", "NOT_ENTERED", "NOT_REPLACEABLE", "SURVIVED", "TIMEOUT", "Session"]

KILLED, SURVIVED, TIMEOUT, NOT_ENTERED = "killed", "survived", "timeout", "no test enters it"
NOT_REPLACEABLE = "not replaceable"
_MEMORY = 16 * 2**30


@dataclass
class Session:
    """Tests that are collected once, and what they enter.

    Args:
        root: of the project.
        paths: files whose functions are watched and mutated.
        tests: files of tests.
        known: what earlier sessions recorded: by test, seconds and functions.
    """

    root: Path
    paths: list[str]
    tests: list[str]
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self, work: Callable[[Session], None]) -> None:
        """Collect, then do the work."""
        self._work = work
        plain = ["-q", "-p", "no:cacheprovider", "-p", "no:logging", "-s", "-o", "addopts="]
        pytest.main([*plain, *self.tests], plugins=[self])

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
        items = [item for name, item in self._items.items() if name.split("::")[0] == file]

        def watch(write: int) -> int:
            entered: set[str] = set()
            self._functions.record(entered.add)
            found = {}
            for item in items:
                entered.clear()
                start, failed = time.process_time(), self._session.testsfailed
                self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                seconds = time.process_time() - start
                if self._session.testsfailed == failed:
                    found[item.nodeid] = {"seconds": round(seconds, 3), "entered": sorted(entered)}
            os.write(write, json.dumps(found).encode())
            return 0

        _, text = _forked(watch, None)
        return json.loads(text or "{}")

    def verdict(self, mutant: Mutant) -> tuple[str, str]:
        """What became of a mutant, and the test that killed it."""
        from benchmarks.mutants.sites import mutated  # needs mutmut, which only this work does

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
        if not tests:
            return NOT_ENTERED, ""
        tests.sort(key=lambda test: self.known[test]["seconds"])
        seconds = sum(self.known[test]["seconds"] for test in tests)

        def attack(write: int) -> int:
            try:
                if not self._functions.replace(mutant.path, mutated(self.root, mutant)):
                    return 3
            except (NotReplaceable, SyntaxError):
                return 3
            for test in tests:
                hook = self._session.config.hook
                hook.pytest_runtest_protocol(item=self._items[test], nextitem=None)
                if self._session.testsfailed:
                    os.write(write, test.encode())
                    return 1
            return 0

        status, test = _forked(attack, int(10 + 4 * seconds))
        if os.WIFSIGNALED(status):
            return TIMEOUT, f"signal {os.WTERMSIG(status)}"
        outcomes = {0: SURVIVED, 1: KILLED, 3: NOT_REPLACEABLE}
        return outcomes.get(os.WEXITSTATUS(status), KILLED), test


def _forked(work: Callable[[int], int], seconds: int | None) -> tuple[int, str]:
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
            if seconds is not None:
                signal.signal(signal.SIGXCPU, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            code = work(write)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return status, text
