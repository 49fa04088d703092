"""Many images into one folder, with a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import GREY, contents, run

from pnp_lip.data.images import write_image


@pytest.fixture
def plates(folder: Path) -> Path:
    (folder / "plates").mkdir()
    for number in range(3):
        write_image(folder / "plates" / f"{number}.tif", torch.rand(1, 1, 12, 14))
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("way", ["names", "pattern", "folder"])
def test_many_images_go_into_a_folder_with_a_table(plates: Path, way: str) -> None:
    named = [f"plates/{number}.tif" for number in range(3)]
    given = {"names": named, "pattern": ["plates/*.tif"], "folder": ["plates"]}[way]
    assert run("denoise", *given, "-o", "restored/", *GREY) == 0
    rows = table(plates / "restored" / "results.csv")
    assert [row["image"] for row in rows] == named
    assert {row["status"] for row in rows} == {"DENOISED"}
    for number in range(3):
        assert run("denoise", f"plates/{number}.tif", "-o", "alone.tif", *GREY) == 0
        alone, among = (
            (plates / name).read_bytes() for name in ("alone.tif", f"restored/{number}.tif")
        )
        assert alone == among


def test_what_is_done_is_not_repeated_and_the_rest_is(
    plates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", "plates", "-o", "restored/", *GREY]
    assert run(*command) == 0
    results = plates / "restored"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.tif")}
    (results / "1.json").unlink()
    for name in ("1.tif", "1.figure.png"):
        (results / name).unlink()
    capsys.readouterr()
    assert run(*command) == 0
    assert capsys.readouterr().out.count("done before") == 2
    after = {path: path.stat().st_mtime_ns for path in results.glob("*.tif")}
    assert [path.name for path in after if after[path] != before[path]] == ["1.tif"]
    assert [row["status"] for row in table(results / "results.csv")] == ["DENOISED"] * 3
    assert run(*command, "--sigma", "0.2") == 0
    assert "done before" not in capsys.readouterr().out


def test_one_bad_image_does_not_stop_the_others(
    plates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plates / "plates" / "1.tif").write_bytes(b"II*\0 damaged")
    assert run("denoise", "plates", "-o", "restored/", *GREY) == 2
    rows = table(plates / "restored" / "results.csv")
    assert [row["exit_code"] for row in rows] == ["0", "2", "0"]
    assert "cannot be read" in rows[1]["message"]
    arguments = ["inpaint", "plates/0.tif", "plates/2.tif", "--mask", "m.npy", "-o", "filled/"]
    np.save(plates / "m.npy", np.eye(12, 14))
    assert run(*arguments, "--max-iter", "1", *GREY) == 3
    assert [row["exit_code"] for row in table(plates / "filled" / "results.csv")] == ["3", "3"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plates"], "3 images need a folder for their results: -o FOLDER/"),
        (["plates", "-o", "image.png"], "image.png is a file"),
        (["plates", "-o", "no/where/"], "there is no folder no"),
        (
            ["plates/0.tif", "image.png", "other/0.png", "-o", "out/"],
            "would share the report 0.json",
        ),
        (["empty", "-o", "out/"], "no images (.png"),
        (["plates", "-o", "mine/"], "results.csv exists and is no table of results"),
    ],
)
def test_many_images_need_a_place_of_their_own(
    plates: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("empty", "mine", "out"):
        (plates / name).mkdir()
    (plates / "mine" / "results.csv").write_text("my,own\n")
    before = contents(plates)
    assert run("denoise", *arguments, *GREY) == 2
    assert sentence in capsys.readouterr().err
    assert contents(plates) == before
