"""A result replaces the result of an earlier run, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pnp_lip.errors import InputError
from pnp_lip.recipes.outputs import Outputs

PIXELS = torch.rand(1, 1, 8, 9)


def write(path: Path, *, force: bool = False) -> tuple[Path, ...]:
    def draw(figure: Path) -> None:
        figure.write_bytes(b"a figure")

    return Outputs(path, force).write(PIXELS, np.uint8, draw, {"task": "nothing"})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_may_replace_its_own_files(tmp_path: Path) -> None:
    paths = write(tmp_path / "x.png")
    assert [path.name for path in paths] == ["x.png", "x.figure.png", "x.json"]
    assert set(json.loads(paths[2].read_text())["files"]) == {"x.png", "x.figure.png"}
    assert write(tmp_path / "x.png") == paths
    paths[1].unlink()
    assert write(tmp_path / "x.png") == paths


@pytest.mark.parametrize("name", ["x.png", "x.figure.png", "x.json"])
@pytest.mark.parametrize("text", ["mine", '{"task": "mine"}', '{"files": {}}', '["files"]'])
def test_a_file_of_the_users_is_never_replaced(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=rf"{name} exists, and no run .*--force"):
        write(tmp_path / "x.png")
    assert contents(tmp_path) == before
    write(tmp_path / "x.png", force=True)
    assert (tmp_path / name).read_bytes() != text.encode()


@pytest.mark.parametrize("name", ["x.png", "x.figure.png"])
def test_a_result_that_was_edited_is_the_users(tmp_path: Path, name: str) -> None:
    write(tmp_path / "x.png")
    (tmp_path / name).write_text("retouched")
    with pytest.raises(InputError, match=f"{name} was changed since"):
        write(tmp_path / "x.png")


def test_the_report_of_another_image_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.json is the report of x\.png"):
        write(tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()


@pytest.mark.parametrize("name", ["x.png", "x.figure.png", "x.json"])
def test_links_are_not_followed_or_replaced(tmp_path: Path, name: str) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / name).symlink_to(target)
    with pytest.raises(InputError, match=f"{name} is a link"):
        write(tmp_path / "x.png")
    assert target.read_text() == "mine"
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"{name} is a link"):
        write(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x.png", "x.figure.png", "x.json"])
def test_an_input_is_never_the_output(tmp_path: Path, name: str) -> None:
    write(tmp_path / "x.png")
    with pytest.raises(InputError, match=f"{name} is the input"):
        Outputs(tmp_path / "x.png").require_free([tmp_path / "." / name])
    Outputs(tmp_path / "x.png", force=True).require_free([tmp_path / name])


@pytest.mark.parametrize("name", ["x.png", "x.figure.png", "x.json"])
def test_a_folder_in_the_place_of_a_file_is_noticed_beforehand(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for force in (False, True):
        with pytest.raises(InputError, match=f"{name} is a folder"):
            Outputs(tmp_path / "x.png", force).require_free()


def test_no_folder_is_made_of_a_typing_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*reslts: create it first"):
        Outputs(tmp_path / "reslts" / "x.png").require_free()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"unknown suffix '\.jpgg'"):
        Outputs(tmp_path / "x.jpgg").require_free()
