"""The plugin: its manifest is valid, and what its panels compute is right, with napari or without."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pnp_lip.data.cells import cells
from pnp_lip.data.psf import Optics
from pnp_lip.errors import InputError
from pnp_lip.napari.layers import deconvolved, denoised, inpainted, sample_cells
from pnp_lip.recipes import deconvolve
from pnp_lip.recipes.denoise import denoise

MANIFEST = Path(__file__).parent.parent / "pnp_lip" / "napari" / "napari.yaml"


def bead() -> np.ndarray:
    return np.outer([1, 2, 1], [1, 2, 1]).astype(np.uint16)


def test_the_manifest_is_valid() -> None:
    """In a process of its own: npe2 warns while it is imported."""
    pytest.importorskip("yaml")
    if importlib.util.find_spec("npe2") is None:
        pytest.skip("npe2 is not installed")
    command = [sys.executable, "-W", "ignore", "-m", "npe2", "validate", str(MANIFEST)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_manifest_exists_and_every_widget_shows_a_plan() -> None:
    text = MANIFEST.read_text()
    names = [line.split()[-1] for line in text.splitlines() if "python_name:" in line]
    assert len(names) == 4
    for name in names:
        module, function = name.split(":")
        source = (MANIFEST.parent / f"{module.rpartition('.')[2]}.py").read_text()
        assert f"def {function}(" in source
    widgets = (MANIFEST.parent / "widgets.py").read_text()
    assert widgets.count("plan: Text") == widgets.count("widget_init=_show_plan") == 3


def test_napari_finds_the_manifest() -> None:
    found = {
        entry.value
        for entry in importlib.metadata.entry_points(group="napari.manifest")
        if entry.name == "pnp-lip"
    }
    assert found <= {"pnp_lip.napari:napari.yaml"}


def test_the_manifest_is_read_without_torch() -> None:
    code = "import sys, pnp_lip.napari; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_layer_is_denoised_in_its_own_units() -> None:
    x = cells((8, 24, 26))
    layer = (4000 * x[0, 0].numpy()).astype(np.uint16)
    answer = denoised(layer, sigma=0.05, volume=True, white=4000)
    whole = denoise(torch.from_numpy(layer / 4000).float()[None, None], 0.05).image[0, 0]
    assert answer.data.shape == layer.shape
    np.testing.assert_allclose(answer.data, 4000 * whole.numpy(), atol=0.1)
    assert "Lip(D) <= 1" in answer.text
    assert answer.report["lipschitz_upper"] == 1.0


def test_colours_of_a_layer_stay_last() -> None:
    layer = np.random.default_rng(0).random((2, 12, 14, 3))
    answer = denoised(layer, sigma=0.05, rgb=True)
    alone = denoise(torch.from_numpy(layer[1]).float().movedim(-1, 0)[None], 0.05).image[0]
    np.testing.assert_allclose(answer.data[1], alone.movedim(0, -1).numpy(), atol=1e-6)
    assert "2 images; in the middle:" in answer.text


def test_the_noise_of_a_layer_is_estimated() -> None:
    layer = 0.5 + 0.05 * np.random.default_rng(0).standard_normal((64, 64))
    answer = denoised(layer.clip(0, 1))
    assert float(answer.data.std()) < 0.5 * float(layer.std())
    assert answer.report["sigma"] == pytest.approx(0.05, rel=0.2)


def test_a_layer_is_deconvolved_under_a_theorem() -> None:
    x = cells((8, 40, 40))[:, :, 4]
    k = torch.from_numpy(bead().astype(np.float32))[None, None]
    y = deconvolve.simulated(x, k / k.sum(), noise=0.01, seed=0).y[0, 0].clamp(0, 1).numpy()
    answer = deconvolved(y, bead(), noise=0.01, max_iter=60)
    assert answer.report["theorem"] is not None
    assert "theorem" in answer.text
    truth = x[0, 0].numpy()
    assert np.square(answer.data - truth).mean() < 0.8 * np.square(y - truth).mean()


def test_a_volume_layer_is_deconvolved_with_optics_and_photons() -> None:
    pytest.importorskip("psf")
    optics = Optics(wavelength=520, aperture=0.9, pixel=600, step=2500, index=1.0)
    layer = (255 * cells((8, 16, 16))[0, 0].numpy()).astype(np.uint8)
    answer = deconvolved(layer, optics, photons=100, max_iter=2)
    assert answer.data.shape == layer.shape
    assert answer.report["solver"] == "primal-dual"


def test_what_is_painted_is_filled_in() -> None:
    x = np.tile(np.linspace(0.2, 0.8, 24), (20, 1))
    labels = np.zeros((20, 24), int)
    labels[8:12, 10:14] = 3
    damaged = np.where(labels, 0.0, x)
    answer = inpainted(damaged, labels, max_iter=40)
    assert np.abs(answer.data - x)[labels > 0].max() < 0.1
    assert "missing" not in answer.text.splitlines()[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denoised(np.zeros(5)), r"expected a layer \[..., Y, X\], got the shape \(5,\)"),
        (lambda: denoised(np.zeros((5, 5)), volume=True), r"\[..., Z, Y, X\]"),
        (lambda: denoised(np.zeros((5, 5)), rgb=True), r"\[..., Y, X, 3\]"),
        (lambda: denoised(np.full((40, 40), 9.0)), "must lie in"),
        (lambda: deconvolved(np.zeros((9, 9)), np.ones(3)), "has two or three axes"),
        (lambda: inpainted(np.zeros((9, 9)), np.zeros((9, 9), int)), "nothing is painted"),
        (lambda: inpainted(np.zeros((2, 9, 9)), np.zeros((9, 9), int)), "expected one image"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call()


def test_sample_data_are_layers() -> None:
    for data, options, kind in sample_cells():
        assert data.ndim == 3
        assert kind == "image"
        assert options["name"].startswith("cells")


def test_the_panels_show_what_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """With napari alone, without its window; skipped where it is not installed."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    pytest.importorskip("napari")
    from napari.layers import Image
    from napari.qt import get_qapp

    from pnp_lip.napari.widgets import _layer, denoise_widget

    get_qapp()
    panel = denoise_widget()
    assert panel.plan.label == "what is proved"
    layer = Image(np.full((24, 24), 0.5, np.float32), name="grey", scale=(2, 2))
    data, shown, kind = _layer(layer, "denoised", lambda: denoised(layer.data, sigma=0.05))
    assert (kind, shown["name"], shown["scale"]) == ("image", "grey, denoised", (2, 2))
    assert "Lip(D) <= 1" in shown["metadata"]["pnp_lip_summary"]
    assert data.shape == (24, 24)
