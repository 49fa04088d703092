"""Large images: the denoiser works in tiles where the whole image needs too much memory."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import MRI, Denoising, Inpainting
from torch import Tensor, nn

from pnp_lip import Frozen, GuidedDenoiser, LipschitzDenoiser, Relaxed, Tiled
from pnp_lip.denoisers.tiled import receptive_radius
from pnp_lip.errors import InputError
from pnp_lip.solvers import ADMM, ForwardBackward, PlugAndPlay
from pnp_lip.solvers.memory import fitted, free_memory, maps_memory, needed_memory


@pytest.fixture
def large() -> Tensor:
    return torch.rand(1, 1, 150, 170, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [ForwardBackward, ADMM])
def test_tiles_change_neither_result_nor_theorem(
    kind: type[PlugAndPlay], small_denoiser: LipschitzDenoiser, large: Tensor
) -> None:
    physics = Inpainting((1, 150, 170), mask=torch.ones(1, 150, 170).tril())
    y = physics.A(large)
    whole = kind(small_denoiser, 0.1, max_iter=20).solve(y, physics)
    tiled = kind(small_denoiser, 0.1, max_iter=20, memory=1e5).solve(y, physics)
    assert "in tiles" in tiled.plan.summary()
    assert "in tiles" not in whole.plan.summary()
    assert tiled.guaranteed
    torch.testing.assert_close(tiled.x, whole.x, rtol=1e-4, atol=1e-5)


def test_every_channel_of_a_scan_is_denoised_in_tiles(
    small_denoiser: LipschitzDenoiser, large: Tensor
) -> None:
    both = torch.cat([large, large.flip(-1)], 1)
    physics = MRI(mask=torch.ones(150, 170).tril(), img_size=(2, 150, 170))
    y = physics.A(both)
    whole, tiled = (
        ForwardBackward(small_denoiser, 0.1, max_iter=5, memory=memory).solve(y, physics)
        for memory in (None, 1e5)
    )
    assert "in tiles" in tiled.plan.summary()
    torch.testing.assert_close(tiled.x, whole.x, rtol=1e-4, atol=1e-5)


def test_the_tile_is_the_largest_that_fits(
    small_denoiser: LipschitzDenoiser, large: Tensor
) -> None:
    whole = needed_memory(small_denoiser, (1, 1, 150, 170), 4)
    assert fitted(small_denoiser, large, whole) is small_denoiser
    found = fitted(small_denoiser, large, 0.9 * whole)
    assert isinstance(found, Tiled)
    assert found.tile == 85
    assert isinstance(smaller := fitted(small_denoiser, large, 1.0), Tiled)
    assert smaller.tile == 64


def test_a_tile_fits_with_what_its_window_sees_beyond_it(
    small_denoiser: LipschitzDenoiser, large: Tensor
) -> None:
    side = 85 + 2 * (receptive_radius(small_denoiser) or 0)
    window = needed_memory(small_denoiser, (1, 1, side, side), 4)
    for limit, tile in ((window, 85), (window - 1, 64)):
        found = fitted(small_denoiser, large, limit)
        assert isinstance(found, Tiled)
        assert found.tile == tile


def test_folded_and_relaxed_denoisers_are_tiled_inside(
    small_denoiser: LipschitzDenoiser, large: Tensor
) -> None:
    for denoiser in (Frozen(small_denoiser, 0.1), Relaxed(small_denoiser, 0.5)):
        found = fitted(denoiser, large, 1e5)
        expected = denoiser(large, 0.1)
        torch.testing.assert_close(found(large, 0.1), expected, rtol=1e-4, atol=1e-5)
        assert any(isinstance(module, Tiled) for module in found.modules())


def test_what_is_not_known_to_be_local_stays_whole(large: Tensor) -> None:
    other = nn.Identity()
    assert fitted(other, large, 1.0) is other


def test_the_estimate_covers_what_was_measured() -> None:
    # 362 MB beside image and result for two megapixels, by benchmarks.tiling.
    estimate = needed_memory(LipschitzDenoiser(1), (1, 1, 1000, 2000), 4)
    assert 362e6 <= estimate <= 3 * 362e6


def test_a_senseless_limit_is_refused(small_denoiser: LipschitzDenoiser) -> None:
    with pytest.raises(InputError, match="positive number of bytes, got 0"):
        ForwardBackward(small_denoiser, 0.1, memory=0)
    assert free_memory(torch.device("cpu")) > 0
    y = torch.rand(1, 1, 16, 16)
    assert "tiles" not in ForwardBackward(small_denoiser, 0.1).solve(y, Denoising()).plan.summary()


@pytest.mark.parametrize("whole_bytes", [0, 2**30])
def test_the_estimate_of_maps_is_what_a_frozen_guide_holds(
    whole_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pnp_lip.denoisers.frozen.WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr("pnp_lip.solvers.memory.WHOLE_BYTES", whole_bytes)
    guided = GuidedDenoiser(1)
    frozen = Frozen(guided.at(torch.rand(1, 1, 33, 50), 0.1), 0.1)
    maps = [b for name, b in frozen.named_buffers() if name.split(".")[-1].startswith("scale_")]
    assert sum(b.numel() * 4 for b in maps) == maps_memory(guided, (1, 1, 33, 50), 4)
