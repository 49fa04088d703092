"""The README's Python runs, and its figure and results exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_python_of_the_readme_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```\n(?:.*?)```\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for code, shown in blocks:
        exec(code, names)
        printed = capsys.readouterr().out
        # Decimals differ between machines in the last digit shown.
        words = re.compile(r"[^\d\s.,]+")
        assert words.findall(printed) == words.findall(shown)


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_benchmark_that_the_readme_names_has_a_recorded_result() -> None:
    names = set(re.findall(r"python -m benchmarks\.(\w+)", TEXT))
    assert names
    for name in names:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
        assert (ROOT / "benchmarks" / "results" / f"{name}.json").is_file(), name
