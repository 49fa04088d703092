"""Denoisers with a guide: what holds for every fixed guide, and what does not hold end to end."""

from __future__ import annotations

import itertools
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pnp_lip import (
    FixedGuide,
    Frozen,
    FrozenGuided,
    GuidedDenoiser,
    LipschitzDenoiser,
    Refusal,
    certify,
)
from pnp_lip.certifier import prove
from pnp_lip.certifier.guide import change_of_guide
from pnp_lip.constraints import project
from pnp_lip.denoisers import GuideError, Tiled, pruned
from pnp_lip.denoisers.distributed import HaloTiling
from pnp_lip.errors import InputError
from pnp_lip.layers import ConvGradientStep, NoiseClip, ReLU
from pnp_lip.layers.folding import FoldedStep
from pnp_lip.layers.guided import guided_step
from pnp_lip.layers.maps import Maps

SIGMA = 0.1


def small(channels: int = 1, *, depth: int = 2, seed: int = 0) -> GuidedDenoiser:
    """A guided denoiser with random filters, thresholds and mask."""
    torch.manual_seed(seed)
    plain = LipschitzDenoiser(channels, depth=depth, nf=5, kernel_size=3, pretrained=None)
    guided = GuidedDenoiser.starting_from(plain, channels=6, blocks=1)
    with torch.no_grad():
        for layer in (*guided.plain.steps, *guided.denoiser.steps):
            layer.weight.normal_()
        guided.mask.head.weight.normal_(0, 3.0)
        cast(Tensor, guided.mask.head.bias).normal_(0, 0.5)
    project(guided, averagedness=0.8)
    return guided.double().eval()


def clips_of(denoiser: LipschitzDenoiser, index: int = 0) -> NoiseClip:
    return cast(NoiseClip, denoiser.steps[index].activation)


def image(channels: int = 1, side: int = 8, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, side, side, generator=generator, dtype=torch.float64)


@torch.no_grad()
def jacobian(denoiser: nn.Module, x: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences in all pixels at once."""
    moves = step * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    columns = (denoiser(x + moves, SIGMA) - denoiser(x - moves, SIGMA)) / (2 * step)
    return columns.flatten(1).T


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_with_a_fixed_guide_the_jacobian_is_averaged_as_proved_for_every_guide(
    channels: int, seed: int
) -> None:
    guided = small(channels, seed=seed)
    fixed = guided.at(5 * image(channels, seed=seed) - 2, SIGMA)  # a guide far from any image
    alpha = prove(fixed).averagedness
    assert alpha is not None
    assert alpha == prove(guided.denoiser).averagedness
    spread = torch.cat([scale.flatten() for scale in fixed.scales])
    assert spread.max() > 3 * spread.min()  # the maps do something
    for size in (1.0, 1e-3):  # with small responses no clip is reached, and slopes are largest
        found = jacobian(fixed, size * image(channels, seed=seed + 7))
        nonexpansive = (found - (1 - alpha) * torch.eye(len(found))) / alpha
        assert torch.linalg.matrix_norm(nonexpansive, ord=2) <= 1 + 1e-7


def test_end_to_end_a_guided_denoiser_can_be_expansive_and_is_refused() -> None:
    guided = small()
    largest = max(
        float(torch.linalg.matrix_norm(jacobian(guided, image(seed=seed)), ord=2))
        for seed in range(20)
    )
    assert largest > 1.01
    with pytest.raises(Refusal, match="from input to output it may be expansive"):
        prove(guided)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9))
def test_with_a_fixed_guide_the_denoiser_is_odd_and_keeps_zero(
    seed: int, height: int, width: int
) -> None:
    guided = small(seed=seed % 7)
    generator = torch.Generator().manual_seed(seed)
    guide, x = torch.randn(2, 1, 1, height, width, generator=generator, dtype=torch.float64)
    fixed = guided.at(guide, SIGMA)
    assert torch.equal(fixed(-x, SIGMA), -fixed(x, SIGMA))
    assert not fixed(torch.zeros_like(x), SIGMA).any()


@pytest.mark.parametrize("seed", range(5))
def test_two_guides_change_the_result_by_at_most_the_bound(seed: int) -> None:
    guided = small(seed=seed)
    first, second = (guided.at(image(seed=seed + s), SIGMA) for s in (1, 2))
    bound = change_of_guide(first, second, SIGMA, prove(first))
    gaps = [
        float(torch.linalg.vector_norm(first(x, SIGMA) - second(x, SIGMA)).detach())
        for x in (scale * image(seed=s) - scale / 2 for s in range(8) for scale in (0.3, 1.0, 30.0))
    ]
    assert max(gaps) <= bound
    assert max(gaps) > bound / 200  # the bound is about this quantity
    assert change_of_guide(first, first, SIGMA, prove(first)) == 0


def test_one_layer_attains_the_bound_of_a_change_of_guide() -> None:
    """A layer without overlap of its one 1 x 1 filter, saturated everywhere."""
    plain = LipschitzDenoiser(1, depth=1, nf=1, kernel_size=3, pretrained=None)
    guided = GuidedDenoiser.starting_from(plain, channels=4, blocks=1).double()
    with torch.no_grad():
        guided.denoiser.steps[0].weight.zero_()[0, 0, 1, 1] = 1.2
    ones = torch.ones(1, 1, 6, 6, dtype=torch.float64)
    first, second = (FixedGuide(guided.denoiser, [m * ones]) for m in (1.0, 1.5))
    with torch.no_grad():
        gap = torch.linalg.vector_norm(first(100 * ones, SIGMA) - second(100 * ones, SIGMA))
    bound = change_of_guide(first, second, SIGMA, prove(first))
    assert float(gap) <= bound <= float(gap) * 1.01


def test_at_dial_0_the_guide_does_nothing() -> None:
    guided = small()
    x, guide = image(), image(seed=3)
    full = guided.at(guide, SIGMA)(x, SIGMA)
    guided.dial = 0.0
    assert torch.equal(guided.at(guide, SIGMA)(x, SIGMA), guided.denoiser(x, SIGMA))
    assert torch.equal(guided(x, SIGMA), guided.denoiser(x, SIGMA))
    guided.dial = 0.5
    half = guided.at(guide, SIGMA)(x, SIGMA)
    assert not torch.allclose(half, full)
    assert not torch.allclose(half, guided.denoiser(x, SIGMA))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"expected a dial in \[0, 1\]"):
            guided.dial = wrong


def test_an_untrained_mask_leaves_the_plain_denoiser() -> None:
    plain = LipschitzDenoiser(1, depth=2, nf=5, kernel_size=3, pretrained=None)
    guided = GuidedDenoiser.starting_from(plain)
    x = image().float()
    torch.testing.assert_close(guided(x, SIGMA), plain(x, SIGMA), rtol=0, atol=1e-6)


def test_a_guide_in_a_bias_would_smuggle_any_image_through_a_true_certificate() -> None:
    """The loophole: with saturated clips the layer is a constant in x, whatever it should show."""
    target = image(side=6)
    step = ConvGradientStep(torch.zeros(1, 1, 3, 3), tau=1.0, bias=False).double()
    with torch.no_grad():
        step.weight[0, 0, 1, 1] = 1.0
    x, other = image(side=6, seed=2), image(side=6, seed=3)

    def smuggled(
        v: Tensor,
    ) -> Tensor:  # x - clip(x - target, 10): nonexpansive, and shows the target
        return v - (v - target).clamp(-10, 10)

    assert prove(step).upper <= 1
    assert torch.allclose(smuggled(x), target)
    assert torch.allclose(smuggled(x), smuggled(other))
    # Thresholds cannot do that: their layer keeps 0, so it never shows what x does not hold.
    scale = torch.full_like(target, 1e6)
    levels = torch.tensor([SIGMA], dtype=torch.float64)
    guided = small(depth=1)
    layer = guided.denoiser.steps[0]
    big = scale.expand(-1, len(layer.weight), -1, -1)
    assert not guided_step(layer, torch.zeros_like(x), levels, big).any()


def test_the_rule_refuses_a_bias_and_other_activations() -> None:
    guided = small()
    fixed = guided.at(image(), SIGMA)
    layer = guided.denoiser.steps[1]
    layer.bias = nn.Parameter(torch.zeros(len(layer.weight), dtype=torch.float64))
    with pytest.raises(Refusal, match="has a bias: a saturated clip with a bias is a constant"):
        prove(fixed)
    layer.bias = None
    clips, layer.activation = layer.activation, ReLU()
    with pytest.raises(Refusal, match="maps scale the thresholds of Clip and NoiseClip only"):
        prove(fixed)
    layer.activation = clips
    assert prove(fixed).averagedness is not None


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_maps_that_are_not_positive_and_finite_are_refused(value: float) -> None:
    guided = small()
    fixed = guided.at(image(), SIGMA)
    cast(Tensor, fixed.scale_1)[0, 0, 0, 0] = value
    with pytest.raises(GuideError, match="layer 1 are not all positive and finite"):
        FixedGuide(guided.denoiser, fixed.maps)
    with pytest.raises(Refusal, match=r"not all positive and finite|NaN or infinity"):
        prove(fixed)


def test_a_filter_beyond_its_bound_is_not_hidden_by_maps() -> None:
    guided = small()
    fixed = guided.at(image(), SIGMA)
    with torch.no_grad():
        guided.denoiser.steps[0].weight.mul_(3)
    assert prove(fixed).upper > 1


def test_a_certificate_of_a_fixed_guide_measures_on_its_own_size() -> None:
    guided = small()
    certificate = certify(guided.at(image(), SIGMA), images=image(seed=4), sigma=(SIGMA,))
    assert 0.3 < certificate.lower <= certificate.upper <= 1


def test_guides_and_images_that_do_not_fit_are_named() -> None:
    guided = small()
    with pytest.raises(
        GuideError, match=r"expected a real guide \[B, 1, H, W\], got \[1, 3, 8, 8\]"
    ):
        guided.at(image(3), SIGMA)
    with pytest.raises(GuideError, match="the guide contains NaN or infinity"):
        guided.at(image() / 0, SIGMA)
    fixed = guided.at(image(), SIGMA)
    with pytest.raises(GuideError, match=r"this guide is for images \[1, 1, 8, 8\], got \[1, 1, 9"):
        fixed(image(side=9), SIGMA)
    with pytest.raises(GuideError, match="expected maps for each of 2 layers, got 1"):
        FixedGuide(guided.denoiser, fixed.scales[:1])
    with pytest.raises(GuideError, match=r"expected maps \[1, 5, 8, 8\] for layer 1"):
        FixedGuide(guided.denoiser, [fixed.scales[0], fixed.scales[1][:, :3]])


def test_a_batch_is_guided_image_by_image() -> None:
    guided = small()
    x, z = (torch.cat([image(seed=s), image(seed=s + 1)]) for s in (1, 5))
    levels = torch.tensor([0.05, 0.2], dtype=torch.float64)
    whole = guided.at(z, levels)(x, levels)
    for index in range(2):
        one = slice(index, index + 1)
        alone = guided.at(z[one], float(levels[index]))(x[one], float(levels[index]))
        torch.testing.assert_close(whole[one], alone)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(19, 23), (64, 40)])
def test_frozen_with_its_guide_it_is_the_same_function(
    channels: int, size: tuple[int, int]
) -> None:
    guided = small(channels).float()
    z, x = torch.rand(2, 2, channels, *size, generator=torch.Generator().manual_seed(2))
    fixed = guided.at(z, SIGMA)
    with torch.no_grad():
        exact = fixed(x, SIGMA)
        assert not torch.allclose(exact, guided.denoiser(x, SIGMA), atol=1e-3)
        for strip_bytes, whole_bytes in itertools.product((2**11, 2**30), (0, 2**30)):
            with pytest.MonkeyPatch.context() as patch:
                defaults = cast("dict[str, int]", FoldedStep.combine.__kwdefaults__)
                patch.setitem(defaults, "strip_bytes", strip_bytes)
                patch.setattr("pnp_lip.denoisers.frozen.WHOLE_BYTES", whole_bytes)
                frozen = Frozen(fixed, SIGMA)
                torch.testing.assert_close(frozen(x), exact, rtol=0, atol=2e-6)
        coarse = Frozen(fixed, SIGMA, dtype=torch.bfloat16)(x)
    assert 0 < float((coarse - exact).abs().max()) < 0.02


def test_a_frozen_guide_is_certified_and_its_maps_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fixed = small().float().at(image().float(), SIGMA)
    frozen = Frozen(fixed, SIGMA)
    assert prove(frozen).averagedness == prove(fixed).averagedness
    with pytest.raises(GuideError, match="this guide is for images"):
        frozen(image(side=9).float())
    cast(Tensor, frozen.scale_1).mul_(1.5)
    with pytest.raises(Refusal, match="is not what its denoiser folds to"):
        prove(frozen)
    monkeypatch.setattr("pnp_lip.denoisers.frozen.WHOLE_BYTES", 0)
    small_one = Frozen(fixed, SIGMA)
    assert prove(small_one).averagedness == prove(fixed).averagedness
    cast(Tensor, fixed.scale_1)[0, 0, 0, 0] = -1.0
    with pytest.raises(Refusal, match="not all positive and finite"):
        prove(small_one)


def test_in_tiles_a_guided_denoiser_is_the_same_function_and_odd_tiles_are_refused() -> None:
    guided = small()
    x = image(side=65)
    radius = guided.receptive_radius
    torch.testing.assert_close(
        Tiled(guided, 16, halo=radius)(x, SIGMA), guided(x, SIGMA), rtol=0, atol=1e-12
    )
    tiling = HaloTiling(x.shape, guided, 16)
    windows = tiling.get_local_patches(x, list(range(tiling.get_num_patches())))
    together = torch.empty_like(x)
    tiling.reduce_patches(together, [(k, guided(window, SIGMA)) for k, window in windows])
    torch.testing.assert_close(together, guided(x, SIGMA), rtol=0, atol=1e-12)
    for tile, halo in ((15, radius), (16, radius + 1)):
        with pytest.raises(ValueError, match="multiples of 2"):
            Tiled(guided, tile, halo=halo)
        with pytest.raises(ValueError, match="multiples of 2"):
            HaloTiling(x.shape, guided, tile, halo=halo)


def test_with_fewer_bits_in_the_mask_the_certificate_stays_and_the_result_is_close() -> None:
    guided, x = small().float(), image(side=33).float()
    exact, statement = guided(x, SIGMA), prove(guided.at(x, SIGMA))
    guided.mask.precision = torch.bfloat16
    fast = guided(x, SIGMA)
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, exact)
    assert float((fast - exact).abs().max()) < 0.01
    assert prove(guided.at(x, SIGMA)).upper == statement.upper


def test_folded_for_one_level_it_is_the_same_function_and_refused_as_well() -> None:
    guided, x = small(), image(side=17)
    folded = FrozenGuided(guided.float(), SIGMA)
    torch.testing.assert_close(folded(x.float()), guided(x.float(), SIGMA), rtol=0, atol=1e-5)
    guided.dial = 0.3
    torch.testing.assert_close(folded(x.float()), guided(x.float(), SIGMA), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"frozen at sigma=0\.1"):
        folded(x.float(), 0.2)
    with pytest.raises(Refusal, match="computes its guide from its input"):
        prove(folded)


@pytest.mark.parametrize(("height", "width"), [(9, 12), (16, 7), (1, 1), (2, 2)])
def test_maps_interpolated_row_by_row_are_the_same_numbers(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    stored = torch.rand(2, 6, -(-height // 2), -(-width // 2), generator=generator)
    for part in stored.split([1, 5], dim=1):
        maps = Maps(part, (height, width))
        expected = torch.nn.functional.interpolate(part, scale_factor=2.0, mode="bilinear")
        expected = expected[..., :height, :width]
        torch.testing.assert_close(maps.whole(), expected)
        for top in range(height):
            for count in range(1, height + 2):
                rows = expected[:, :, top : top + count]
                torch.testing.assert_close(maps.rows(top, count), rows)


@pytest.mark.parametrize("size", [(19, 23), (64, 40), (1, 1)])
def test_a_guide_keeps_a_quarter_of_its_maps_and_maps_of_ones_own_are_the_same_function(
    size: tuple[int, int],
) -> None:
    guided = small(3)
    z, x = torch.rand(2, 2, 3, *size, generator=torch.Generator().manual_seed(2)).double()
    fixed = guided.at(z, SIGMA)
    half = -(-size[0] // 2), -(-size[1] // 2)
    assert all(maps.stored.shape[-2:] == half for maps in fixed.maps)
    levels = torch.full((2,), SIGMA, dtype=torch.float64)
    whole = [maps.detach() for maps in guided.mask(z, levels)]
    own = FixedGuide(guided.denoiser, whole)
    for interpolated, expected in zip(fixed.scales, whole, strict=True):
        torch.testing.assert_close(interpolated, expected)
    torch.testing.assert_close(own(x, SIGMA), fixed(x, SIGMA), rtol=0, atol=1e-12)
    with pytest.raises(GuideError, match="expected maps"):
        FixedGuide(guided.denoiser, [fixed.maps[0], guided.at(z[:1], SIGMA).maps[1]])
    with pytest.raises(InputError, match=r"expected maps \[B, K, H, W\], or half of them"):
        FixedGuide(guided.denoiser, [whole[0][0], whole[1]])


@pytest.mark.parametrize("value", [1e-38, 3e38])
def test_stored_numbers_whose_interpolation_might_leave_the_range_are_refused(value: float) -> None:
    guided = small().float()
    stored = [torch.ones(1, 5, 4, 4) for _ in range(2)]
    stored[1][0, 0, 2, 2] = value
    with pytest.raises(GuideError, match="layer 1 are not all positive and finite"):
        FixedGuide(guided.denoiser, [Maps(one, (8, 8)) for one in stored])
    assert Maps(stored[1]).are_positive()


@pytest.mark.parametrize("size", [(19, 24), (70, 9)])
def test_maps_computed_in_bands_of_rows_are_the_same(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    guided = small()
    z = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(3)).double()
    levels = torch.tensor([0.1, 0.2], dtype=torch.float64)
    with torch.no_grad():
        whole = guided.mask(z, levels, 0.5)
        monkeypatch.setattr("pnp_lip.denoisers.mask._BAND", 1)
        monkeypatch.setattr("pnp_lip.denoisers.mask._LEAST_ROWS", 3)
        banded = guided.mask(z, levels, 0.5)
    differentiable = guided.mask(z, levels, 0.5)
    for one, two, three in zip(whole, banded, differentiable, strict=True):
        torch.testing.assert_close(two, one)
        torch.testing.assert_close(three, one)


def test_a_change_of_guide_between_maps_stored_differently_is_the_same_number() -> None:
    guided = small()
    first, second = (guided.at(image(side=11, seed=s), SIGMA) for s in (1, 2))
    whole = FixedGuide(guided.denoiser, second.scales)
    statement = prove(first)
    expected = change_of_guide(first, second, SIGMA, statement)
    assert change_of_guide(first, whole, SIGMA, statement) == pytest.approx(expected, rel=1e-6)
    assert change_of_guide(second, whole, SIGMA, statement) < 1e-8


@pytest.mark.parametrize("kind", ["guided", "fixed"])
def test_exported_it_is_the_same_function(kind: str) -> None:
    guided, x = small(depth=1).float(), image(side=32).float()
    network = guided if kind == "guided" else guided.at(x, SIGMA)
    exported = torch.export.export(network, (x, SIGMA)).module()
    torch.testing.assert_close(exported(x, SIGMA), network(x, SIGMA))


def test_in_bfloat16_it_runs_and_complex_guides_are_refused() -> None:
    guided, x = small().float(), image(side=32).float()
    expected = guided(x, SIGMA)
    half = guided.bfloat16()(x.bfloat16(), SIGMA)
    assert half.dtype == torch.bfloat16
    assert float((half.float() - expected).abs().max()) < 0.05
    with pytest.raises(GuideError, match=r"expected a real guide \[B, 1, H, W\]"):
        guided.at(x.to(torch.complex64), SIGMA)


def test_the_receptive_radius_is_attained() -> None:
    guided = small()
    side = 2 * guided.receptive_radius + 3
    x = image(side=side).requires_grad_()
    reached = 0
    for middle in (side // 2, side // 2 + 1):
        scales = guided.mask(x, torch.tensor([SIGMA], dtype=torch.float64))
        total = sum(scale[0, :, middle, middle].sum() for scale in scales)
        (gradient,) = torch.autograd.grad(total, x)
        reached = max(reached, int((gradient[0, 0].nonzero() - middle).abs().max()))
    assert reached == guided.mask.receptive_radius


def test_pruning_leaves_out_what_never_acts_and_keeps_the_function() -> None:
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=6, kernel_size=5, pretrained=None)
    with torch.no_grad():
        clips_of(denoiser).factors[:, :, [1, 4]] = -0.1
        clips_of(denoiser, 1).factors[:, :, 2] = 0.0
        clips_of(denoiser, 1).factors[0, 3, 5] = -1.0  # acts at other levels
        denoiser.steps[1].weight[0] = 0.0
    smaller = pruned(denoiser)
    assert smaller.filters == [4, 4]
    assert smaller.sizes["nf"] == [4, 4]
    x = image(side=20).float()
    for level in (0.0, 0.01, 0.05, 0.3):
        torch.testing.assert_close(smaller(x, level), denoiser(x, level), rtol=0, atol=1e-6)
    assert pruned(smaller).filters == [4, 4]


def test_pruning_keeps_a_filter_in_a_layer_that_never_acts() -> None:
    denoiser = LipschitzDenoiser(1, depth=2, nf=3, kernel_size=3, pretrained=None)
    with torch.no_grad():
        clips_of(denoiser).factors.fill_(-1.0)
    smaller = pruned(denoiser)
    assert smaller.filters == [1, 3]
    x = image().float()
    torch.testing.assert_close(smaller(x, SIGMA), denoiser(x, SIGMA), rtol=0, atol=1e-6)


def test_positive_thresholds_have_a_gradient_where_free_ones_are_dead() -> None:
    x = image(side=12).float()
    for positive in (False, True):
        denoiser = LipschitzDenoiser(
            1, depth=1, nf=3, kernel_size=3, positive=positive, pretrained=None
        )
        clips = clips_of(denoiser)
        clips.set_table(torch.full_like(clips.factors, -0.5))
        denoiser(x, SIGMA).square().sum().backward()
        assert bool(cast(Tensor, clips.factors.grad).any()) == positive
        assert bool((clips.table() > 0).all()) == positive


def test_positive_thresholds_can_be_set_and_read() -> None:
    denoiser = LipschitzDenoiser(1, depth=1, nf=3, kernel_size=3, positive=True, pretrained=None)
    clips = clips_of(denoiser)
    wanted = torch.linspace(0.002, 3, clips.factors.numel()).view_as(clips.factors)
    clips.set_table(wanted)
    torch.testing.assert_close(clips.table(), wanted, rtol=1e-4, atol=1e-6)
    clips.divide_thresholds(2)
    torch.testing.assert_close(clips.table()[1:], wanted[1:] / 2, rtol=1e-4, atol=1e-6)
    twice = denoiser.repeated(2)
    assert twice.sizes["positive"] is True
