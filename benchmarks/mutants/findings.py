"""What was found so far, in a folder: long runs go on where they stopped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.mutants.mutant import Mutant
from benchmarks.mutants.run import KILLED, NOT_ENTERED, NOT_REPLACEABLE, SURVIVED, TIMEOUT, Verdict
from pnp_lip.files import write_text

__all__ = ["Findings", "content"]

_EQUIVALENT = Path(__file__).with_name("equivalent.json")


def content(path: Path) -> str:
    """A digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Findings:
    """Verdicts of the mutants of one room, kept in one file.

    A verdict holds as long as the mutated file does not change. The first one ever stays known beside the
    last one, so that a score can be told from one that tests were written for.

    Args:
        root: of the project.
        folder: of the files.
        room: name of the file.
        again: forget who survived.
    """

    def __init__(self, root: Path, folder: Path, room: str, *, again: bool = False) -> None:
        self._root, self._path = root, folder / f"{room}.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._found: dict[str, dict[str, Any]] = read(self._path)
        self._again = set(self._found) if again else set()
        self._reasons = read(_EQUIVALENT)

    def outcome(self, mutant: Mutant) -> str | None:
        """What became of a mutant, ``None`` where it is to be judged."""
        found = self._found.get(mutant.name)
        if found is None or found["text"] != content(self._root / mutant.path):
            return None
        lives = found["outcome"] in (SURVIVED, NOT_ENTERED) and mutant.name not in self._reasons
        return None if lives and mutant.name in self._again else found["outcome"]

    def add(self, mutant: Mutant, verdict: Verdict) -> None:
        """Keep a verdict."""
        first = self._found.get(mutant.name, {}).get("first", verdict.outcome)
        self._found[mutant.name] = {
            "text": content(self._root / mutant.path),
            "line": mutant.line,
            "first": first,
            "outcome": verdict.outcome,
            "test": verdict.test,
            "unfit": list(verdict.unfit),
        }
        self._again.discard(mutant.name)
        write_text(self._path, json.dumps(self._found, indent=1) + "\n")

    def missing(self, drawn: list[Mutant], count: int) -> Mutant | None:
        """The first without a verdict among the first ``count`` that can be replaced."""
        seen = 0
        for mutant in drawn:
            outcome = self.outcome(mutant)
            if outcome is None:
                return mutant
            seen += outcome != NOT_REPLACEABLE
            if seen >= count:
                break
        return None

    def row(self, drawn: list[Mutant], count: int) -> dict[str, Any]:
        """Counts among the first ``count`` that could be replaced."""
        judged = [m for m in drawn if self.outcome(m) not in (None, NOT_REPLACEABLE)][:count]
        found = [self._found[mutant.name] for mutant in judged]
        dead = [one for one in found if one["outcome"] in (KILLED, TIMEOUT)]
        alive = [m for m in judged if self.outcome(m) in (SURVIVED, NOT_ENTERED)]
        return {
            "mutants": len(drawn),
            "drawn": len(judged),
            "killed": sum(one["outcome"] == KILLED for one in found),
            "timeouts": sum(one["outcome"] == TIMEOUT for one in found),
            "killed_at_first": sum(one["first"] in (KILLED, TIMEOUT) for one in found),
            "controls": len(dead),
            "unfit": sorted({test for one in found for test in one["unfit"]}),
            "equivalent": sum(m.name in self._reasons for m in alive),
            "survivors": [
                f"{m.name} ({self.outcome(m)})" for m in alive if m.name not in self._reasons
            ],
        }


def read(path: Path) -> dict[str, Any]:
    """The content of a file, nothing without it."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
