"""Rows of a benchmark on disk, each with the run that measured it.

``results/NAME.json`` holds ``runs`` (arguments, commit, machine, versions) and ``rows``; a row has a key,
numbers, and the index of its run. So rows may be measured again one at a time, and what each of them rests
on stays known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pnp_lip.files import write_text

__all__ = ["RESULTS", "Key", "Record", "Row", "Rows", "read"]

RESULTS = Path(__file__).resolve().with_name("results")

#: Names of a row, such as ``("bsd68", "default")``.
Key = tuple[str, ...]
#: Numbers and texts of a row, by name.
Row = dict[str, Any]
Rows = Mapping[Key, Row]


class Record:
    """The rows of one file; every added row is written at once.

    Parameters
    ----------
    path
        the file.
    run
        what measures the rows that are added: arguments, commit, machine, versions.
    replace
        drop recorded rows that were measured with other settings.

    Raises
    ------
    SystemExit
        rows with other settings are recorded, and they were not to be dropped.
    """

    def __init__(self, path: Path, run: dict[str, Any], *, replace: bool = False) -> None:
        self.path = path
        self.run: dict[str, Any] = json.loads(json.dumps(run))
        entries = _entries(path)
        others = {key for key, (of, _) in entries.items() if not _comparable(of, self.run)}
        if others and not replace:
            raise SystemExit(_refusal(path, entries[min(others)][0], self.run))
        self._entries = {key: entry for key, entry in entries.items() if key not in others}

    @property
    def rows(self) -> Rows:
        """Every row of the file, in the order in which they were first added."""
        return {key: row for key, (_, row) in self._entries.items()}

    def add(self, *key: str, row: Mapping[str, Any]) -> None:
        """Add a row, or replace the one of the same key, and write the file."""
        self._entries[key] = (self.run, json.loads(json.dumps(dict(row))))
        runs: list[dict[str, Any]] = []
        rows = []
        for names, (run, result) in self._entries.items():
            if run not in runs:
                runs.append(run)
            rows.append({"key": list(names), "run": runs.index(run), "result": result})
        content = {"benchmark": self.path.stem, "runs": runs, "rows": rows}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(content, indent=1) + "\n")


def read(path: Path) -> Rows:
    """The rows of a file, in order; none without it."""
    return {key: row for key, (_, row) in _entries(path).items()}


def _entries(path: Path) -> dict[Key, tuple[dict[str, Any], Row]]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    runs = content["runs"]
    return {tuple(row["key"]): (runs[row["run"]], row["result"]) for row in content["rows"]}


def _comparable(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return not _differences(first, second)


def _differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The settings that two runs both state, and state differently."""
    one, other = first["settings"], second["settings"]
    return [name for name in one if name in other and one[name] != other[name]]


def _refusal(path: Path, recorded: dict[str, Any], run: dict[str, Any]) -> str:
    names = _differences(recorded, run)
    was, now = (
        ", ".join(f"{name} = {of['settings'][name]}" for name in names) for of in (recorded, run)
    )
    return (
        f"{path.name} holds rows measured with {was}, and this run has {now}: expected the same settings "
        f"in one table. Pass --replace to drop those rows, or --results FOLDER to write elsewhere."
    )
