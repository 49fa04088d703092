"""Zarr in, Zarr out: axes and scale are kept, nothing is lost, and the result is that of the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnp_lip import LipschitzDenoiser, VolumeDenoiser
from pnp_lip.cli import main
from pnp_lip.formats.ome_zarr import is_zarr, read_zarr, write_zarr
from pnp_lip.formats.raster import ImageFileError
from pnp_lip.weights import write_weights

zarr = pytest.importorskip("zarr")
da = pytest.importorskip("dask.array")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with small weights."""
    monkeypatch.chdir(tmp_path)
    write_weights(network(), "grey.safetensors")
    return tmp_path


def network() -> LipschitzDenoiser:
    torch.manual_seed(0)
    small = LipschitzDenoiser(1, depth=1, nf=4, kernel_size=3, pretrained=None)
    return small.requires_grad_(False).eval()


def run(*arguments: str) -> int:
    return main(["denoise", *arguments, "--weights", "grey.safetensors"])


def write_ome(path: str, values: np.ndarray, zarr_format: Any, axes: str = "czyx") -> None:
    """An OME-Zarr image of two levels, in the version of the format that goes with ``zarr_format``."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for level in range(2):
        chunks = tuple(max(1, side // 2) for side in values.shape)
        part = values[..., :: 2**level, :: 2**level]
        stored = group.create_array(f"s{level}", shape=part.shape, chunks=chunks, dtype=part.dtype)
        stored[:] = part
    scale = {"type": "scale", "scale": [1.0, 0.5, 0.1, 0.1][-len(axes) :]}
    said = {
        "multiscales": [
            {
                "axes": [{"name": name, "type": "space"} for name in axes],
                "datasets": [
                    {"path": f"s{level}", "coordinateTransformations": [scale]}
                    for level in range(2)
                ],
            }
        ]
    }
    group.attrs.update(said if zarr_format == 2 else {"ome": {"version": "0.5", **said}})


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60000, shape).astype(np.uint16)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_ome_image_is_denoised_as_volumes_and_keeps_its_scale(
    folder: Path, zarr_format: int
) -> None:
    stored = values(2, 6, 20, 22)
    write_ome("noisy.zarr", stored, zarr_format)
    assert run("noisy.zarr", "--sigma", "0.1", "--volume", "-o", "clean.zarr") == 0
    found = read_zarr("clean.zarr")
    assert (found.axes, found.zarr_format) == ("czyx", zarr_format)
    said = found.attributes if zarr_format == 2 else found.attributes["ome"]
    (level,) = said["multiscales"][0]["datasets"]
    assert level["path"] == "0"
    assert level["coordinateTransformations"][0]["scale"] == [1.0, 0.5, 0.1, 0.1]
    whole = VolumeDenoiser(network())(torch.from_numpy(stored / 65535).float()[:, None], 0.1)
    expected = (whole[:, 0].clamp(0, 1) * 65535).round().numpy()
    np.testing.assert_allclose(found.array.compute(), expected, atol=1)
    assert found.array.dtype == np.uint16
    report = json.loads((folder / "clean.json").read_text())
    assert report["lipschitz_upper"] == 1.0
    assert "satisfies" in report["certificate"]["network"]


def test_a_plain_array_is_denoised_image_by_image(folder: Path) -> None:
    stored = values(3, 18, 20).astype(np.float32) / 60000
    da.from_array(stored, chunks=(1, 9, 10)).to_zarr("a.zarr")
    assert run("a.zarr", "--sigma", "0.1") == 0
    found = read_zarr("denoise.zarr")
    whole = network()(torch.from_numpy(stored)[:, None], 0.1)[:, 0].clamp(0, 1)
    np.testing.assert_allclose(found.array.compute(), whole.detach().numpy(), atol=1e-6)
    assert found.attributes == {}


def test_what_lies_there_stays_and_what_is_done_is_not_repeated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    da.from_array(values(18, 20), chunks=(9, 10)).to_zarr("a.zarr")
    da.from_array(values(18, 20), chunks=(9, 10)).to_zarr("b.zarr")
    (folder / "out").mkdir()
    assert run("a.zarr", "b.zarr", "--sigma", "0.1", "-o", "out") == 0
    assert run("a.zarr", "b.zarr", "--sigma", "0.1", "-o", "out") == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert run("a.zarr", "--sigma", "0.1", "-o", "b.zarr") == 2
    assert "b.zarr exists: choose another name" in capsys.readouterr().err


def test_a_write_that_fails_leaves_nothing(folder: Path) -> None:
    da.from_array(values(18, 20), chunks=(9, 10)).to_zarr("a.zarr")
    image = read_zarr("a.zarr")

    def fail(block: np.ndarray) -> np.ndarray:
        raise MemoryError("no more")

    array: Any = image.array
    broken = type(image)(array.map_blocks(fail, dtype=np.uint16), "yx", {}, 2)
    with pytest.raises(MemoryError, match="no more"):
        write_zarr("c.zarr", broken)
    assert sorted(path.name for path in folder.iterdir()) == ["a.zarr", "grey.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.zarr", "--simulate"], "leave out --simulate"),
        (["a.zarr", "--guided"], "leave out --guided"),
        (["a.zarr", "--photons", "100"], "leave out --photons"),
        (["a.zarr", "--tile", "100"], "leave out --tile"),
        (["a.zarr", "--sigma", "auto"], "is not estimated: state --sigma"),
        (["a.zarr", "-o", "b.tif"], "expected -o NAME.zarr, got b.tif"),
        (["a.zarr", "-o", "no/b.zarr"], "there is no folder no"),
        (["a.zarr", "--volume"], "a volume has the axes zyx at its end, this image has yx"),
        (["int.zarr"], "numbers of type int32 need their white level"),
        (["group.zarr"], "a group without an OME image: name one of its arrays, raw"),
        (["none.zarr"], "none.zarr cannot be opened as Zarr"),
    ],
)
def test_what_does_not_fit_ends_in_one_sentence(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    da.from_array(values(18, 20), chunks=(9, 10)).to_zarr("a.zarr")
    da.from_array(values(18, 20).astype(np.int32), chunks=(9, 10)).to_zarr("int.zarr")
    zarr.open_group("group.zarr", mode="w").create_array("raw", shape=(4, 4), dtype="u1")
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_folder_is_zarr_by_its_name_or_by_what_lies_in_it(tmp_path: Path) -> None:
    assert is_zarr("x.zarr")
    assert not is_zarr(tmp_path)
    (tmp_path / "zarr.json").write_text("{}")
    assert is_zarr(tmp_path)
    (tmp_path / "zarr.json").write_text("no json")
    with pytest.raises(ImageFileError, match="cannot be opened as Zarr"):
        read_zarr(tmp_path)
