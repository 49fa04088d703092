"""The denoiser on the chunks of an array is the denoiser on the array; a smaller halo is another map."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pnp_lip import Frozen, LipschitzDenoiser, VolumeDenoiser
from pnp_lip.denoisers.chunks import denoise_chunks, map_chunks
from pnp_lip.errors import InputError

da = pytest.importorskip("dask.array")


def denoiser(channels: int = 1) -> LipschitzDenoiser:
    torch.manual_seed(2)
    network = LipschitzDenoiser(channels, depth=2, nf=6, kernel_size=3, pretrained=None)
    return network.requires_grad_(False).double().eval()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30)),
    chunks=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=20, deadline=None)
def test_chunks_of_images_give_the_whole_to_rounding(
    shape: tuple[int, int, int], chunks: tuple[int, int, int]
) -> None:
    D, x = denoiser(), noise(*shape)
    with_chunks = denoise_chunks(da.from_array(x, chunks=chunks), D, 0.2)
    assert with_chunks.shape == x.shape
    whole = D(torch.from_numpy(x)[:, None], 0.2)[:, 0].numpy()
    found = with_chunks.compute(scheduler="synchronous")
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-13)


@given(shape=st.tuples(*[st.integers(1, 16)] * 3), chunks=st.tuples(*[st.integers(1, 12)] * 3))
@settings(max_examples=12, deadline=None)
def test_chunks_of_volumes_give_the_whole_to_rounding(
    shape: tuple[int, int, int], chunks: tuple[int, int, int]
) -> None:
    D, x = VolumeDenoiser(denoiser(), (2, 1, 1)), noise(2, *shape)
    array = da.from_array(x, chunks=(1, *chunks))
    whole = D(torch.from_numpy(x)[:, None], 0.2)[:, 0].numpy()
    found = denoise_chunks(array, D, 0.2).compute(scheduler="synchronous")
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-13)


def test_colours_stay_together() -> None:
    D, x = denoiser(3), noise(2, 3, 20, 17)
    array = da.from_array(x, chunks=(1, 1, 9, 8))
    found = denoise_chunks(array, D, 0.2).compute(scheduler="synchronous")
    np.testing.assert_allclose(found, D(torch.from_numpy(x), 0.2).numpy(), rtol=0, atol=1e-13)


def test_one_voxel_less_of_a_halo_is_another_map() -> None:
    D, x = denoiser(), noise(24, 24)
    array = da.from_array(x, chunks=(8, 8))
    run = denoise_chunks(array, D, 0.2)
    reach = D.receptive_radius

    def once(block: np.ndarray) -> np.ndarray:
        return np.asarray(D(torch.from_numpy(block.copy())[None, None], 0.2)[0, 0])

    short = map_chunks(array, once, {-2: reach - 1, -1: reach - 1})
    whole = run.compute(scheduler="synchronous")
    assert np.abs(short.compute(scheduler="synchronous") - whole).max() > 1e-10
    with pytest.raises(ValueError, match=f"halo of {reach - 1} pixels is below the receptive"):
        denoise_chunks(array, D, 0.2, halo=reach - 1)


def test_a_file_of_chunks_is_denoised_into_another_by_a_client(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    distributed = pytest.importorskip("distributed")
    D, x = denoiser().float(), noise(3, 32, 40).astype(np.float32)
    da.from_array(x, chunks=(1, 16, 20)).to_zarr(str(tmp_path / "noisy.zarr"))
    frozen = Frozen(D, 0.1)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster).as_current(),
    ):
        lazy = denoise_chunks(da.from_zarr(str(tmp_path / "noisy.zarr")), frozen, 0.1)
        lazy.to_zarr(str(tmp_path / "clean.zarr"))
    clean = da.from_zarr(str(tmp_path / "clean.zarr")).compute(scheduler="synchronous")
    whole = frozen(torch.from_numpy(x)[:, None], 0.1)[:, 0].numpy()
    assert clean.dtype == np.float32
    np.testing.assert_allclose(clean, whole, rtol=0, atol=1e-6)


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="divide by the white level"):
        denoise_chunks(da.zeros((8, 8), dtype=np.uint8), denoiser(), 0.1)
    with pytest.raises(InputError, match=r"last axes are channels, rows, columns, got \(2, 8, 8\)"):
        denoise_chunks(da.zeros((2, 8, 8)), denoiser(3), 0.1)
    with pytest.raises(InputError, match=r"last axes are slices, rows, columns, got \(8, 8\)"):
        denoise_chunks(da.zeros((8, 8)), VolumeDenoiser(denoiser()), 0.1)
    with pytest.raises(ValueError, match="receptive field of a Identity is not known"):
        denoise_chunks(da.zeros((8, 8)), nn.Identity(), 0.1)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    array = da.zeros((8, 8))
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(InputError, match=r"pip install 'pnp-lip\[dask\]'"):
        denoise_chunks(array, denoiser(), 0.1)
