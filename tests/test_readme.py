"""What the documents show is what the programs print and the benchmarks recorded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from shown_output import difference, shell_examples

from benchmarks.tables import documents, every_benchmark, every_table, filled
from pnp_lip.cli import main

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in documents()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_python_of_the_readme_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```\n(?:.*?)```\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for code, shown in blocks:
        exec(code, names)
        assert difference(capsys.readouterr().out, shown) is None


def test_the_first_command_of_the_readme_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (shown,) = [
        shown for command, shown in shell_examples(TEXT) if command.endswith("pnp-lip deblur")
    ]
    assert shown is not None
    assert main(["deblur"]) == 0
    assert difference(capsys.readouterr().out, shown) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("  PSNR  21.48 -> 33.24 dB", "  PSNR  99.99 -> 11.11 dB"),
        ("  PSNR  21.48 -> 33.24 dB", "  PSNR  21.48 -> 33.26 dB"),
        ("Lip(D) <= 1.0 (proved)", "Lip(D) <= 1.1 (proved)"),
        ("Lip(D) <= 1 (proved)", "Lip(D) <= 2 (proved)"),
        ("iterations  79", "iterations  84"),
        ("residual 1.00e-04", "residual 1.30e-04"),
        ("|A| <= 1.00001: a norm", "|A| <= 1.00001: an estimate"),
        ("one\ntwo", "one"),
    ],
)
def test_another_number_or_word_is_a_difference(shown: str, printed: str) -> None:
    assert difference(printed, shown) is not None
    assert difference(shown, shown) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("  PSNR  21.48 -> 33.24 dB", "  PSNR  21.49 -> 33.23 dB"),
        ("iterations  79", "iterations  80"),
        ("residual 1.00e-04", "residual 9.10e-05"),
    ],
)
def test_the_last_digit_may_differ_between_machines(shown: str, printed: str) -> None:
    assert difference(printed, shown) is None


def test_linked_files_exist() -> None:
    for path in documents():
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert target.startswith("http") or (path.parent / target).exists(), (path, target)


def test_the_readme_fits_on_one_screen_and_a_half() -> None:
    assert len(TEXT.splitlines()) <= 160


def test_every_benchmark_that_a_document_names_has_recorded_results() -> None:
    recorded = every_benchmark()
    names = {name for text in PAGES.values() for name in re.findall(r"-m benchmarks\.(\w+)", text)}
    for name in names - {"tables"}:
        assert recorded[name].rows(), name


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_number_of_a_document_drifted_from_the_records(name: str) -> None:
    assert filled(PAGES[name], every_table()) == PAGES[name]


def test_every_recorded_table_is_shown_somewhere() -> None:
    text = "".join(PAGES.values())
    assert [name for name in every_table() if f"<!-- results: {name} -->" not in text] == []


def test_a_marker_within_a_sentence_does_not_begin_its_line() -> None:
    """There Markdown would end the paragraph."""
    for name, text in PAGES.items():
        assert re.findall(r"^<!-- results: [\w-]+ -->.+", text, flags=re.MULTILINE) == [], name


def test_every_table_has_its_rows() -> None:
    assert [text for text in every_table().values() if text.startswith("not complete")] == []


def test_a_number_changed_by_hand_is_found() -> None:
    name = "quality.md"
    assert "36.94" in PAGES[name]
    changed = PAGES[name].replace("36.94", "63.94", 1)
    assert filled(changed, every_table()) == PAGES[name]


def test_a_table_that_nobody_makes_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="no benchmark makes the table 'denoizing'"):
        filled("<!-- results: denoizing --><!-- end -->", {"denoising": ""})


def test_the_command_that_checks_the_tables_agrees() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.tables", "--check"], cwd=ROOT, capture_output=True
    )
    assert (run.returncode, run.stdout) == (0, b"")
