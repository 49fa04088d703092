"""Records say what measured each of their rows, and documents show their numbers outward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import provenance
from benchmarks.harness import Benchmark
from benchmarks.markdown import down, fixed, table, up
from benchmarks.record import RESULTS, Record, read
from benchmarks.tables import every_benchmark


def run(commit: str, **settings: Any) -> dict[str, Any]:
    return {"settings": settings, "selected": {}, "commit": commit, "machine": {}, "versions": {}}


def test_each_row_keeps_the_run_that_measured_it(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    Record(path, run("first", steps=5)).add("a", row={"seconds": 1.0})
    second = Record(path, run("second", steps=5))
    second.add("b", "c", row={"seconds": 2.0})
    content = json.loads(path.read_text())
    commits = {tuple(row["key"]): content["runs"][row["run"]]["commit"] for row in content["rows"]}
    assert commits == {("a",): "first", ("b", "c"): "second"}
    second.add("a", row={"seconds": 3.0})
    assert [one["commit"] for one in json.loads(path.read_text())["runs"]] == ["second"]
    assert read(path) == {("a",): {"seconds": 3.0}, ("b", "c"): {"seconds": 2.0}}


def test_rows_of_other_settings_are_not_mixed_and_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    Record(path, run("first", steps=800)).add("a", row={"seconds": 1.0})
    before = path.read_bytes()
    with pytest.raises(SystemExit, match=r"measured with steps = 800, and this run has steps = 5"):
        Record(path, run("second", steps=5))
    assert path.read_bytes() == before
    replacing = Record(path, run("second", steps=5), replace=True)
    replacing.add("b", row={"seconds": 2.0})
    assert list(read(path)) == [("b",)]


def test_settings_that_only_one_run_states_do_not_separate_rows(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    Record(path, run("first", steps=5)).add("a", row={})
    Record(path, run("second", steps=5, added_later=1)).add("b", row={})
    assert len(read(path)) == 2


def test_what_only_chooses_rows_is_no_setting(tmp_path: Path) -> None:
    benchmark = Benchmark("speed", "", selecting=("only",))
    parser = benchmark.parser()
    parser.add_argument("--only")
    parser.add_argument("--steps", type=int, default=5)
    for name in ("a", "b"):
        recording = benchmark.start(parser.parse_args(["--only", name, "--results", str(tmp_path)]))
        recording.add(name, row={"seconds": 1.0})
    assert list(read(tmp_path / "speed.json")) == [("a",), ("b",)]


def test_figures_of_a_run_elsewhere_do_not_touch_the_documents(tmp_path: Path) -> None:
    benchmark = Benchmark("speed", "")
    options = benchmark.parser().parse_args(["--results", str(tmp_path)])
    assert benchmark.start(options).figure("speed.png") == tmp_path / "speed.png"
    options = benchmark.parser().parse_args([])
    assert benchmark.start(options).figure("speed.png").parent.name == "docs"


def test_a_table_without_its_rows_says_so() -> None:
    benchmark = Benchmark("speed", "", tables={"speed": lambda rows: str(rows["a",])})
    assert "not complete: ('a',) was not measured" in benchmark.shown({})


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_row_names_commit_processor_and_versions(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert {row["run"] for row in content["rows"]} == set(range(len(content["runs"])))
    for one in content["runs"]:
        assert one["commit"]
        assert one["machine"]["processor"]
        assert {"python", "torch", "deepinv"} <= one["versions"].keys()


def test_every_record_belongs_to_a_benchmark_and_the_other_way_round() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} == set(every_benchmark())


def test_every_benchmark_is_run_by_its_name() -> None:
    folder = Path(provenance.__file__).parent
    for name, benchmark in every_benchmark().items():
        assert (folder / f"{name}.py").is_file()
        assert benchmark.about.strip().startswith(benchmark.about.strip()[0].upper())


def test_the_processor_is_the_one_that_the_kernel_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = Path("/proc/cpuinfo")
    if not info.is_file() or "model name" not in info.read_text():
        pytest.skip("this system does not name its processor")
    assert f": {provenance.processor()}\n" in info.read_text()
    assert provenance.processor() not in ("x86_64", "aarch64")


@given(st.floats(-1e6, 1e6), st.integers(0, 8))
def test_printed_bounds_hold_for_the_numbers_they_stand_for(value: float, digits: int) -> None:
    from fractions import Fraction

    shown = Fraction(down(value, digits)), Fraction(up(value, digits))
    assert shown[0] <= Fraction(value) <= shown[1]
    assert shown[1] - shown[0] <= Fraction(1, 10**digits)


def test_what_is_missing_is_a_dash() -> None:
    assert (fixed(None, 2), up(None, 2), down(None, 2)) == ("–", "–", "–")


def test_a_table_is_markdown() -> None:
    assert table(["", "dB"], [["ours", "1.00"]]) == "|  | dB |\n| --- | --- |\n| ours | 1.00 |"
