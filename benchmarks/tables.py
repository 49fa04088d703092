"""Write the recorded numbers into the documents, or check that they are there.

    python -m benchmarks.tables --write
    python -m benchmarks.tables --check

A document names what belongs between two comments:

    <!-- results: denoising -->
    ...
    <!-- end -->

and the benchmark that has a table of this name makes it from ``benchmarks/results``. Within a line, the
same comments hold a few words of a sentence.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import benchmarks
from benchmarks.harness import Benchmark, made
from benchmarks.provenance import ROOT
from pnp_lip.files import write_text

__all__ = ["documents", "every_benchmark", "every_table", "filled", "main"]

_MARKED = re.compile(r"(<!-- results: ([\w-]+) -->)(.*?)(<!-- end -->)", flags=re.DOTALL)


def documents() -> list[Path]:
    """The README and the pages."""
    return [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]


def every_benchmark() -> dict[str, Benchmark]:
    """All benchmarks of the folder, by the names of their results."""
    modules = [
        importlib.import_module(f"benchmarks.{module.name}")
        for module in pkgutil.iter_modules(benchmarks.__path__)
    ]
    found = [value for module in modules for value in vars(module).values()]
    return {one.name: one for one in found if isinstance(one, Benchmark)}


def every_table() -> dict[str, str]:
    """All recorded tables, by name; one that lacks rows says so."""
    return {
        name: made(table, benchmark.rows())
        for benchmark in every_benchmark().values()
        for name, table in benchmark.tables.items()
    }


def filled(text: str, tables: dict[str, str]) -> str:
    """The text with every marked part made anew.

    Raises
    ------
    KeyError
        a table that no benchmark makes.
    """

    def fresh(part: re.Match[str]) -> str:
        start, name, old, end = part.groups()
        if name not in tables:
            raise KeyError(
                f"no benchmark makes the table {name!r}: expected one of {sorted(tables)}"
            )
        new = f"\n\n{tables[name]}\n\n" if "\n" in old else tables[name]
        return start + new + end

    return _MARKED.sub(fresh, text)


def main() -> int:
    """Write or check; 1 if a document differs from the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", action="store_true", help="write the tables")
    which.add_argument("--check", action="store_true", help="say which documents differ")
    options = parser.parse_args()
    tables = every_table()
    drifted = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        new = filled(text, tables)
        if new != text:
            drifted.append(path)
            if options.write:
                write_text(path, new)
    for path in drifted:
        print("wrote" if options.write else "differs from the records:", path.relative_to(ROOT))
    return int(bool(drifted) and options.check)


if __name__ == "__main__":
    sys.exit(main())
