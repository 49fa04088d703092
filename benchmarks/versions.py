"""The whole test suite on other versions of the packages that this one rests on.

    python -m benchmarks.versions PYTHON [PYTHON ...] [--only FILE ...]

Every ``PYTHON`` is an interpreter with the requirements of ``.[test]`` in versions of one's choice, for
instance the lowest torch that ``pyproject.toml`` allows. The last commit is exported, installed there
without its requirements, and tested; ``--only`` names files of tests. A row has the versions found
there, how many tests passed, failed and were skipped, and the names of those that failed.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.provenance import ROOT
from benchmarks.record import Rows

_PACKAGES = ("torch", "torchvision", "deepinv", "numpy", "scipy", "scikit-image")
_READ = (
    "import json, platform; from importlib.metadata import version; "
    f"print(json.dumps({{'python': platform.python_version()}} | {{p: version(p) for p in {_PACKAGES}}}))"
)


def suite(python: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """Versions of an interpreter and the outcome of the tests in it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        archive = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "x", "-C", tree], input=archive.stdout, check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "-e", str(tree)]
        subprocess.run(install, check=True, capture_output=True)
        report = Path(folder) / "report.xml"
        start = time.monotonic()
        subprocess.run(
            [python, "-m", "pytest", *only, f"--junit-xml={report}"], cwd=tree, check=False
        )
        seconds = time.monotonic() - start
        versions = subprocess.run(
            [str(python), "-c", _READ], check=True, capture_output=True, text=True
        )
        return {
            "versions": json.loads(versions.stdout),
            "tests": ", ".join(only) or "all",
            **outcomes(report),
            "minutes": round(seconds / 60, 1),
        }


def outcomes(report: Path) -> dict[str, Any]:
    """How many tests of a JUnit report passed, failed, were skipped, and which failed."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    kinds = {id(case): {part.tag for part in case} for case in cases}
    failed = [case for case in cases if kinds[id(case)] & {"failure", "error"}]
    skipped = [case for case in cases if "skipped" in kinds[id(case)]]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
        "failures": [f"{case.get('classname')}.{case.get('name')}" for case in failed],
    }


def _table(rows: Rows) -> str:
    """A line for each interpreter."""
    shown = ("torch", "torchvision", "deepinv", "numpy", "python")
    return table(
        [*shown, "tests", "passed", "failed", "skipped"],
        [
            [
                *(row["versions"][name] for name in shown),
                row["tests"],
                *(str(row[kind]) for kind in ("passed", "failed", "skipped")),
            ]
            for row in rows.values()
        ],
    )


BENCHMARK = Benchmark("versions", __doc__, {"versions": _table}, selecting=("pythons", "only"))


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("pythons", nargs="+", type=Path, metavar="PYTHON", help="interpreters")
    parser.add_argument("--only", nargs="*", default=(), help="files of tests (default all)")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for python in options.pythons:
        row = suite(python, options.only)
        recording.add(row["versions"]["torch"], row=row)
    recording.close()


if __name__ == "__main__":
    main()
