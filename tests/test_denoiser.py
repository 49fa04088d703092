"""The denoiser keeps deepinv's contract and the properties its certificate states."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from deepinv.models import Denoiser
from deepinv.optim import ADMM, L2, PGD, PnP
from deepinv.physics import BlurFFT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip import LipschitzDenoiser, certify, firmly_nonexpansive
from pnp_lip.certifier import prove
from pnp_lip.data.photographs import photograph
from pnp_lip.errors import InputError
from pnp_lip.quality import psnr
from pnp_lip.weights import write_weights


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def shipped(request: pytest.FixtureRequest) -> LipschitzDenoiser:
    return LipschitzDenoiser(request.param)


@pytest.fixture(scope="module", params=[(1, "default"), (3, "default"), (1, "large"), (3, "large")])
def any_shipped(request: pytest.FixtureRequest) -> LipschitzDenoiser:
    channels, name = request.param
    return LipschitzDenoiser(channels, pretrained=name)


def test_the_shipped_weights_are_proved_nonexpansive_and_averaged(
    any_shipped: LipschitzDenoiser,
) -> None:
    certificate = certify(any_shipped)
    assert certificate.upper <= 1
    assert certificate.averagedness is not None
    assert 0.5 < certificate.averagedness < 1
    assert 0.9 < certificate.lower <= certificate.upper
    for layer in certificate.layers:
        assert layer.norm_lower is not None
        assert layer.norm_upper is not None
        assert 1 <= layer.norm_upper / layer.norm_lower <= 1.0011


@pytest.mark.parametrize("sigma", [5 / 255, 15 / 255, 25 / 255, 50 / 255])
def test_the_shipped_weights_remove_noise(any_shipped: LipschitzDenoiser, sigma: float) -> None:
    clean = photograph("camera" if any_shipped.in_channels == 1 else "astronaut")[
        ..., 40:168, 40:168
    ]
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gained = psnr(any_shipped(noisy, sigma), clean) - psnr(noisy, clean)
    assert gained > {5: 2.0, 15: 5.0, 25: 6.5, 50: 8.0}[round(sigma * 255)]


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    sigma=st.floats(0, 0.5),
    scale=st.floats(1e-3, 10),
    seed=st.integers(0, 1000),
)
def test_the_shipped_denoiser_never_expands_a_distance(
    height: int, width: int, sigma: float, scale: float, seed: int
) -> None:
    denoiser = LipschitzDenoiser(1).double()
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 1, height, width, generator=generator, dtype=torch.float64)
    y = x + scale * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        image = torch.linalg.vector_norm(denoiser(x, sigma) - denoiser(y, sigma))
    assert image <= torch.linalg.vector_norm(x - y) * (1 + 1e-10)


def test_repeated_layers_stay_nonexpansive_and_clean_flat_regions_better(
    shipped: LipschitzDenoiser,
) -> None:
    deeper = shipped.repeated(2)
    assert len(deeper.layers) == 2 * len(shipped.layers)
    proved = prove(deeper)
    assert proved.upper <= 1
    assert proved.averagedness is not None
    assert proved.averagedness < 1
    flat = torch.full((1, shipped.in_channels, 64, 64), 0.5)
    noisy = flat + 25 / 255 * torch.randn(flat.shape)
    with torch.no_grad():
        inner = slice(16, -16)  # away from the zeros beyond the border
        errors = [
            float((network(noisy, 25 / 255) - flat)[..., inner, inner].square().mean())
            for network in (shipped, deeper)
        ]
    assert errors[1] < 0.95 * errors[0]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_repeated_layers_remove_as_much_as_one_from_large_responses(times: int) -> None:
    layer = LipschitzDenoiser(1, depth=1, nf=6, kernel_size=3, pretrained=None).double()
    x = 1e6 * torch.randn(1, 1, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer.repeated(times)(x, 0.1), layer(x, 0.1), rtol=0, atol=1e-8)
        assert times == 1 or not torch.allclose(
            layer.repeated(times)(x / 1e7, 0.1), layer(x / 1e7, 0.1), rtol=1e-3
        )


def test_layers_cannot_be_repeated_less_than_once(small_denoiser: LipschitzDenoiser) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        small_denoiser.repeated(0)


def test_averagedness_inequality_holds_on_random_pairs(shipped: LipschitzDenoiser) -> None:
    averagedness = prove(shipped).averagedness
    assert averagedness is not None
    torch.manual_seed(0)
    x = torch.rand(8, shipped.in_channels, 16, 16)
    y = x + 0.2 * torch.randn_like(x)
    with torch.no_grad():
        dx, dy = shipped(x, 0.1), shipped(y, 0.1)
    moved = ((x - y) - (dx - dy)).square().sum((1, 2, 3))
    room = (x - y).square().sum((1, 2, 3)) - (dx - dy).square().sum((1, 2, 3))
    assert bool(((1 - averagedness) / averagedness * moved <= room * (1 + 1e-4)).all())


def test_relaxing_by_the_averagedness_gives_a_firmly_nonexpansive_denoiser(
    shipped: LipschitzDenoiser,
) -> None:
    averagedness = prove(shipped).averagedness
    assert averagedness is not None
    firm = firmly_nonexpansive(shipped, averagedness)
    statement = prove(firm)
    assert statement.averagedness is not None
    assert statement.averagedness <= 0.5
    torch.manual_seed(0)
    x, y = torch.rand(2, 4, shipped.in_channels, 12, 12)
    with torch.no_grad():
        difference = firm(x, 0.1) - firm(y, 0.1)
    assert bool(
        (difference.square().sum((1, 2, 3)) <= 1.0001 * (difference * (x - y)).sum((1, 2, 3))).all()
    )


def test_without_noise_it_is_the_identity(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    assert torch.equal(small_denoiser(image, 0.0), image)


@pytest.mark.parametrize(
    "sigma",
    [0.1, torch.tensor(0.1), torch.tensor([0.1, 0.1]), [0.1, 0.1], torch.full((2, 1, 1, 1), 0.1)],
    ids=["float", "0-d", "per image", "list", "4-d"],
)
def test_every_form_of_sigma_that_deepinv_passes_is_taken(
    small_denoiser: LipschitzDenoiser, image: Tensor, sigma: float | Tensor
) -> None:
    batch = image.repeat(2, 1, 1, 1)
    expected = small_denoiser(image, 0.1)
    assert torch.allclose(small_denoiser(batch, sigma, unused=1)[1:], expected, atol=1e-6)


def test_each_image_gets_its_own_noise_level(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    both = small_denoiser(image.repeat(2, 1, 1, 1), torch.tensor([0.02, 0.2]))
    assert torch.allclose(both[:1], small_denoiser(image, 0.02), atol=1e-6)
    assert torch.allclose(both[1:], small_denoiser(image, 0.2), atol=1e-6)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_a_senseless_noise_level_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor, sigma: float
) -> None:
    with pytest.raises(ValueError, match="sigma must be a finite noise level >= 0"):
        small_denoiser(image, sigma)


@pytest.mark.parametrize("level", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("shape", [(), (2,), (2, 1, 1, 1)])
def test_a_senseless_noise_level_in_a_tensor_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor, level: float, shape: tuple[int, ...]
) -> None:
    sigma = torch.full(shape, 0.1)
    sigma.view(-1)[-1] = level
    with pytest.raises(InputError, match=f"finite noise levels >= 0, got {level:g} among them"):
        small_denoiser(image.repeat(2, 1, 1, 1), sigma)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8])
def test_images_of_another_type_are_refused_in_words(
    small_denoiser: LipschitzDenoiser, image: Tensor, dtype: torch.dtype
) -> None:
    with pytest.raises(InputError, match=f"images are {dtype}, the denoiser computes in"):
        small_denoiser(image.to(dtype), 0.1)


def test_autocast_takes_its_own_types(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = small_denoiser(image.bfloat16(), 0.1)
    assert torch.allclose(coarse.float(), small_denoiser(image, 0.1), atol=0.05)


def test_a_missing_noise_level_is_named(small_denoiser: LipschitzDenoiser, image: Tensor) -> None:
    with pytest.raises(TypeError, match="sigma is None"):
        small_denoiser(image, None)


def test_an_image_with_other_channels_is_refused(small_denoiser: LipschitzDenoiser) -> None:
    with pytest.raises(ValueError, match=r"takes images \[B, 1, H, W\], got \(1, 3, 8, 8\)"):
        small_denoiser(torch.zeros(1, 3, 8, 8), 0.1)


def test_sizes_that_contradict_the_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="depth=3 contradicts the weights"):
        LipschitzDenoiser(1, depth=3)


def test_weights_of_another_kind_of_network_are_refused_by_their_sizes(
    small_denoiser: LipschitzDenoiser, tmp_path: Path
) -> None:
    small_denoiser.sizes["neighbours"] = 3
    write_weights(small_denoiser, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"describe a network by .*'neighbours'.*expected"):
        LipschitzDenoiser.from_weights(tmp_path / "other.safetensors")


@pytest.mark.parametrize(("argument", "value"), [("in_channels", 2), ("depth", 0), ("nf", 1000)])
def test_impossible_sizes_are_refused(argument: str, value: int) -> None:
    with pytest.raises(ValueError, match=r"in_channels|depth|filters"):
        LipschitzDenoiser(**{argument: value}, pretrained=None)  # type: ignore[arg-type]


def test_float64_agrees_with_float32(shipped: LipschitzDenoiser) -> None:
    x = torch.rand(1, shipped.in_channels, 20, 24)
    with torch.no_grad():
        exact = LipschitzDenoiser(shipped.in_channels).double()(x.double(), 0.1)
        assert torch.allclose(shipped(x, 0.1).double(), exact, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_agrees_with_the_cpu(shipped: LipschitzDenoiser) -> None:
    x = torch.rand(1, shipped.in_channels, 20, 24)
    on_gpu = LipschitzDenoiser(shipped.in_channels, device="cuda")
    with torch.no_grad():
        assert torch.allclose(on_gpu(x.cuda(), 0.1).cpu(), shipped(x, 0.1), atol=1e-4)


@pytest.mark.parametrize("algorithm", ["PGD", "ADMM"])
def test_it_works_inside_deepinv_pipelines(
    small_denoiser: LipschitzDenoiser, image: Tensor, algorithm: str
) -> None:
    assert isinstance(small_denoiser, Denoiser)
    physics = BlurFFT((1, 40, 48), filter=torch.ones(1, 1, 3, 3) / 9)
    y = physics(image)
    prior = PnP(small_denoiser)
    kind = {"PGD": PGD, "ADMM": ADMM}[algorithm]
    model = kind(data_fidelity=L2(), prior=prior, stepsize=1.0, sigma_denoiser=0.02, max_iter=20)
    x = model(y, physics)
    assert math.isfinite(float(x.sum()))
    assert psnr(x, image) > psnr(y, image) + 1
