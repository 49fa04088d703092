"""What all benchmarks share: arguments, threads, timing, figures, the record and its tables."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.provenance import ROOT, provenance
from benchmarks.record import RESULTS, Record, Rows, read

__all__ = ["Benchmark", "Recording", "made", "timed"]

_Result = TypeVar("_Result")

#: Markdown made of the rows: a table, or a few words for the middle of a sentence.
Table = Callable[[Rows], str]


@dataclass(frozen=True)
class Benchmark:
    """One command, one file of results, and the tables that documents show of it.

    Attributes
    ----------
    name
        of the file of results.
    about
        what is measured and how, shown by ``--help``.
    tables
        by the names that documents use for them.
    selecting
        arguments that only choose which rows are measured. All others are settings: rows of
        one file share them.
    packages
        whose versions matter, beside those always recorded.
    """

    name: str
    about: str
    tables: Mapping[str, Table] = field(default_factory=dict)
    selecting: Collection[str] = ()
    packages: Sequence[str] = ()

    def parser(self) -> argparse.ArgumentParser:
        """A parser with the arguments that every benchmark has."""
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}",
            description=self.about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        common = parser.add_argument_group("of every benchmark")
        common.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
        common.add_argument(
            "--results", type=Path, default=RESULTS, help="folder of the results and figures"
        )
        common.add_argument(
            "--replace", action="store_true", help="drop recorded rows that have other settings"
        )
        common.add_argument(
            "--show", action="store_true", help="print the recorded tables, and stop"
        )
        return parser

    def start(self, options: argparse.Namespace, **settings: Any) -> Recording:
        """Set the threads and open the record; ``settings`` are constants worth recording."""
        if options.show:
            raise SystemExit(self.shown(read(options.results / f"{self.name}.json")))
        torch.set_num_threads(options.threads)
        own = {name: value for name, value in vars(options).items() if name not in _COMMON}
        chosen = {name: own.pop(name) for name in self.selecting}
        run = {
            "settings": own | settings,
            "selected": chosen,
        } | provenance(self.packages)
        run = _plain(run)
        path = options.results / f"{self.name}.json"
        return Recording(self, Record(path, run, replace=options.replace))

    def rows(self) -> Rows:
        """The rows that come with the source tree."""
        return read(RESULTS / f"{self.name}.json")

    def shown(self, rows: Rows) -> str:
        """All tables of some rows."""
        return "\n\n".join(f"{name}\n{made(table, rows)}" for name, table in self.tables.items())


#: Arguments that change no number.
_COMMON = {"threads", "results", "replace", "show"}


@dataclass(frozen=True)
class Recording:
    """One run of a benchmark."""

    benchmark: Benchmark
    record: Record

    def add(self, *key: str, row: Mapping[str, Any]) -> None:
        """Record one row, and print it."""
        self.record.add(*key, row=row)
        print(f"{', '.join(key)}: {_line(row)}", flush=True)

    def figure(self, name: str) -> Path:
        """Where a picture belongs: ``docs/``, or beside results that were asked for elsewhere."""
        folder = self.record.path.parent
        return (ROOT / "docs" if folder == RESULTS else folder) / name

    def close(self) -> None:
        """Print the tables, and where the rows are."""
        print(self.benchmark.shown(self.record.rows))
        print("wrote", self.record.path)


def made(table: Table, rows: Rows) -> str:
    """A table, or which of its rows was not measured yet."""
    try:
        return table(rows)
    except KeyError as missing:
        return f"not complete: {missing.args[0]} was not measured"


def timed(action: Callable[[], _Result]) -> tuple[float, _Result]:
    """Processor seconds of an action, and its result."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def _plain(value: Any) -> Any:
    """The same with paths as texts: only their last part, which says what was read but not where."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.name if isinstance(value, Path) else value


def _line(row: Mapping[str, Any]) -> str:
    """The numbers of a row on one line."""
    return "  ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if not isinstance(value, dict | list)
    )
