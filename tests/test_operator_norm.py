"""Norms of deepinv's physics: proved bounds are not below the dense operator, and hardly above."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from typing import Any

import deepinv as dinv
import pytest
import torch
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    CompressedSensing,
    Decolorize,
    DecomposablePhysics,
    Demosaicing,
    Denoising,
    Downsampling,
    DownsamplingMatlab,
    HyperSpectralUnmixing,
    Inpainting,
    LinearPhysics,
    LinearPhysicsMultiScaler,
    MultiCoilMRI,
    Pansharpen,
    PhysicsCropper,
    PtychographyLinearOperator,
    SinglePixelCamera,
    SpaceVaryingBlur,
    StructuredRandom,
    Tomography,
    UltrasoundPlaneWave,
    Upsampling,
    VirtualLinearPhysics,
)
from deepinv.transform import Reflect, Rotate, Scale, Transform
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pnp_lip.norms import matrix_norm
from pnp_lip.solvers import NormSource, OperatorNorm, operator_norm, projection_rules
from pnp_lip.solvers.absolute_operators import absolute_operator
from pnp_lip.solvers.absolute_values import ROUNDINGS, absolute_norm
from pnp_lip.solvers.convolution_rules import _separable, blur_spectrum
from pnp_lip.solvers.dense import columns, dense_norm
from pnp_lip.solvers.execution import in_double
from pnp_lip.solvers.measurements import parts_of
from pnp_lip.solvers.nonnegative import collatz_wielandt
from pnp_lip.solvers.operator_norm import _RULES

N = 16


def singular_values(physics: LinearPhysics, x: Tensor) -> Tensor:
    columns = []
    for e in torch.eye(x[0].numel()):
        parts = parts_of(physics.A(e.view(1, *x.shape[1:])))
        real = [torch.view_as_real(p) if p.is_complex() else p for p in parts]
        columns.append(torch.cat([p.flatten() for p in real]).double())
    return torch.linalg.svdvals(torch.stack(columns))


def kernel(height: int = 5, width: int = 4, *, signed: bool = False) -> Tensor:
    drawn = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(1))
    return drawn - 0.4 if signed else drawn


def echoes(pulse: Tensor | None = None) -> UltrasoundPlaneWave:
    """Eight elements and three plane waves over a field of a few millimetres."""
    pixel = 1540.0 / 5e6 / 2
    return UltrasoundPlaneWave(
        img_size=(N, N),
        angles=torch.deg2rad(torch.linspace(-16.0, 16.0, 3)),
        element_positions=torch.stack([(torch.arange(8) - 3.5) * 3e-4, torch.zeros(8)], dim=-1),
        n_samples=128,
        sampling_frequency=20e6,
        sound_speed=1540.0,
        pixel_size=(pixel, pixel),
        t0=0.0,
        pulse=pulse,
        f_number=None if pulse is None else 1.5,
        receive_apod_window="hann",
    )


def moved(transform: Transform) -> VirtualLinearPhysics:
    drawn = transform.get_params(torch.zeros(1, 1, N, N))
    return VirtualLinearPhysics(
        physics=BlurFFT((1, N, N), filter=kernel()), transform=transform, g_params=drawn
    )


def finer(scale: int) -> LinearPhysicsMultiScaler:
    """A blur of an image of 16 pixels a side, seen from one of 8 or of 16."""
    physics = LinearPhysicsMultiScaler(
        Blur(kernel(), padding="circular"), (1, N, N), filter="sinc", factors=(2, 4)
    )
    physics.set_scale(scale)
    return physics


def cancelling(padding: str, mask_first: bool) -> SpaceVaryingBlur:
    """Signed factors whose local kernels are not signed."""
    draw = torch.Generator().manual_seed(2)
    side = (N - 2, N - 3) if padding == "valid" and not mask_first else (N, N)
    weight = torch.rand(1, 1, 1, *side, generator=draw)
    filters = torch.rand(1, 1, 1, 3, 4, generator=draw)
    return SpaceVaryingBlur(
        torch.cat([2 * filters, -filters], 2),
        torch.cat([weight + 1, weight], 2),
        padding=padding,
        mask_first=mask_first,
    )


def cases() -> list[tuple[str, LinearPhysics, int, float]]:
    """Name, physics, channels, and the largest share that the bound may exceed the norm by."""
    draw = torch.Generator().manual_seed(0)
    mask = (torch.rand(N, N, generator=draw) > 0.5).float()
    maps = torch.randn(1, 3, N, N, generator=draw, dtype=torch.complex64)
    pieces = torch.rand(1, 1, 2, N, N, generator=draw), torch.rand(1, 1, 2, 3, 3, generator=draw)
    found: list[tuple[str, LinearPhysics, int, float]] = [
        ("denoising", Denoising(), 1, 0),
        ("inpainting", Inpainting((1, N, N), mask=0.5), 1, 0),
        ("bool mask", Inpainting((1, N, N), mask=mask[None].bool()), 1, 0),
        ("signed mask", Inpainting((1, N, N), mask=torch.randn(1, N, N, generator=draw)), 1, 0),
        ("demosaicing", Demosaicing((3, N, N)), 3, 0),
        ("decolorize", Decolorize(), 3, 1e-5),
        ("blurfft", BlurFFT((1, N, N), filter=kernel()), 1, 1e-9),
        ("blurfft signed", BlurFFT((1, N, N), filter=kernel(signed=True)), 1, 1e-9),
        ("downsampling unfiltered", Downsampling((1, N, N), factor=2, filter=None), 1, 0),
        ("matlab", DownsamplingMatlab(factor=2), 1, 3e-3),
        ("upsampling", Upsampling((1, 2 * N, 2 * N), filter="bilinear", factor=2), 1, 1e-3),
        ("single pixel", SinglePixelCamera(64, (1, N, N)), 1, 0),
        ("single pixel dense", SinglePixelCamera(64, (1, N, N), fast=False), 1, 1e-4),
        ("compressed sensing", CompressedSensing(64, (1, N, N)), 1, 2e-3),
        ("complex sensing", CompressedSensing(32, (1, N, N), dtype=torch.cfloat), 1, 2e-3),
        ("mri", MRI(mask=mask, img_size=(2, N, N)), 2, 0),
        ("coils", MultiCoilMRI(mask=torch.ones(N, N), coil_maps=maps, img_size=(2, N, N)), 2, 1e-5),
        ("tomography", Tomography(img_width=N, angles=9, normalize=False), 1, 1e-3),
        ("fan", Tomography(img_width=N, angles=9, fan_beam=True, normalize=True), 1, 1e-3),
        ("unmixing", HyperSpectralUnmixing(E=3, C=7), 3, 2e-3),
        ("structured", StructuredRandom((1, N, N), (1, 8, 8)), 1, 1e-4),
        ("pansharpening", Pansharpen((3, N, N)), 3, 1e-3),
        ("product", Blur(kernel(), padding="circular") * Inpainting((1, N, N), mask=0.5), 1, 2e-3),
        ("stack", Blur(kernel(), padding="valid").stack(Denoising()), 1, 2e-3),
        ("cropped", PhysicsCropper(Inpainting((1, 14, 14), mask=0.5), (2, 2)), 1, 0),
        ("space varying", SpaceVaryingBlur(pieces[1], pieces[0], padding="valid"), 1, 2e-3),
    ]
    found += [
        ("waves", echoes(), 1, 1e-3),
        ("waves with a pulse", echoes(torch.randn(15, generator=draw)), 1, 3e-3),
        ("ptychography", PtychographyLinearOperator((1, N, N)), 1, 1e-5),
        ("turned", moved(Rotate(multiples=90, positive=True)), 1, 1e-6),
        ("mirrored", moved(Reflect(dim=(-1,))), 1, 1e-6),
        ("as it is", finer(0), 1, 2e-3),
        ("twice as fine", finer(1), 1, 0.011),
        ("upsampling signed", Upsampling((1, 2 * N, 2 * N), filter="bicubic", factor=2), 1, 3e-3),
    ]
    for padding in ("valid", "circular", "reflect", "replicate", "constant"):
        for first in (True, False):
            local = cancelling(padding, first)
            found.append((f"space varying {padding} {first}", local, 1, 3e-3))
        loose = {"valid": 0.2, "constant": 0.1}.get(padding, 2e-3)
        found.append((f"blur {padding}", Blur(kernel(), padding=padding), 1, loose))
        signed = Blur(kernel(signed=True), padding=padding)
        loose = {"reflect": 3e-3, "replicate": 3e-3}.get(padding, 0.2)
        found.append((f"signed blur {padding}", signed, 1, loose))
        for name in ("gaussian", "bicubic"):
            physics = Downsampling((1, N, N), filter=name, factor=2, padding=padding)
            found.append((f"downsampling {name} {padding}", physics, 1, 3e-3))
    return found


with warnings.catch_warnings():
    # deepinv warns that a product is not diagonalised, and that a buffer becomes complex.
    warnings.simplefilter("ignore")
    CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_bound_is_proved_and_holds_for_the_dense_operator(
    case: tuple[str, LinearPhysics, int, float],
) -> None:
    _, physics, channels, excess = case
    x = torch.zeros(1, channels, N, N)
    if isinstance(physics, LinearPhysicsMultiScaler) and physics.scale:
        x = x[..., : N // 2, : N // 2]
    if isinstance(physics, PtychographyLinearOperator):
        x = x.to(torch.complex64)
    if isinstance(physics, CompressedSensing) and physics.dtype == torch.cfloat:
        x = x.to(torch.complex64)
        values = torch.linalg.svdvals(physics._A.to(torch.complex128))
    else:
        values = singular_values(physics, x)
    bound = operator_norm(physics, x)
    assert bound.source.proved
    # The dense operator is itself computed in float32.
    assert bound.upper >= float(values[0]) * (1 - 1e-6)
    assert bound.upper <= float(values[0]) * (1 + excess + 1e-5)
    assert float(values[0]) * 0.99 <= bound.value <= bound.upper
    smallest = float(values[-1]) if len(values) == x.numel() else 0.0
    assert bound.lower <= smallest + 1e-5


class Tripled(Inpainting):
    """A subclass whose operator is three times what the inherited singular values say."""

    def A(self, x: Tensor, mask: Any = None, **kwargs: Any) -> Tensor:
        return 3 * super().A(x, mask, **kwargs)

    def A_adjoint(self, y: Tensor, mask: Any = None, **kwargs: Any) -> Tensor:
        return 3 * super().A_adjoint(y, mask, **kwargs)


@pytest.mark.parametrize(
    "physics",
    [
        Tripled((1, N, N), mask=0.5),
        DecomposablePhysics(U=lambda x: 3 * x, U_adjoint=lambda x: 3 * x),
        Denoising(U=lambda x: 3 * x, U_adjoint=lambda x: 3 * x),
        LinearPhysics(A=lambda x: x, A_adjoint=lambda y: y),
    ],
    ids=["subclass", "decomposable", "given factors", "user"],
)
def test_only_exact_classes_with_their_own_functions_are_trusted(physics: LinearPhysics) -> None:
    assert operator_norm(physics, torch.zeros(1, 1, N, N)).source is NormSource.ESTIMATE


def test_a_class_that_nobody_described_has_no_operator_of_absolute_values() -> None:
    assert absolute_operator(MRI(mask=torch.ones(N, N), img_size=(2, N, N))) is None


def test_the_norm_of_a_nonnegative_blur_is_the_sum_of_its_kernel() -> None:
    physics = Blur(kernel() / 100, padding="circular")
    exact = float((kernel() / 100).double().sum())
    bound = operator_norm(physics, torch.zeros(1, 1, N, N))
    assert bound.value == pytest.approx(exact, rel=1e-15)
    assert exact <= bound.upper <= exact * (1 + 2**-39)


@pytest.mark.parametrize("padding", ["circular", "replicate"])
def test_a_blur_of_volumes_has_the_norm_of_its_matrix(padding: str) -> None:
    volume = torch.zeros(1, 1, 6, 5, 4)
    weights = torch.rand(1, 1, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    physics = Blur(weights, padding=padding)
    bound = operator_norm(physics, volume)
    assert bound.source.proved
    assert bound.upper == pytest.approx(float(singular_values(physics, volume)[0]), rel=2e-3)


def test_a_transformation_that_interpolates_is_not_trusted() -> None:
    turned = moved(Rotate(multiples=45, limits=46, interpolation_mode="bilinear"))
    turned.T = lambda x, old=turned.T: old(x)
    for physics in (turned, moved(Scale(factors=[0.5]))):
        bound = operator_norm(physics, torch.zeros(1, 1, N, N))
        assert bound.source is NormSource.ESTIMATE


@pytest.mark.parametrize("kind", ["stacked", "composed", "cropped"])
def test_a_function_replaced_on_a_part_is_not_trusted(kind: str) -> None:
    part = dinv.physics.Blur(filter=torch.randn(1, 1, 3, 3), padding="reflect")
    x = torch.zeros(1, 1, 8, 8)
    whole = {
        "stacked": lambda: dinv.physics.stack(part, dinv.physics.Denoising()),
        "composed": lambda: dinv.physics.Inpainting((1, 8, 8), mask=0.5) * part,
        "cropped": lambda: dinv.physics.PhysicsCropper(part, (1, 1)),
    }[kind]()
    assert operator_norm(whole, x).source.proved
    original = part.A
    part.A = lambda x, **kwargs: 50 * original(x)
    assert not operator_norm(whole, x).source.proved


def test_a_function_replaced_on_the_object_is_not_trusted() -> None:
    physics = Inpainting((1, N, N), mask=0.5)
    physics.A = lambda x, **kwargs: 3 * x
    assert operator_norm(physics, torch.zeros(1, 1, N, N)).source is NormSource.ESTIMATE


def test_a_blur_whose_mask_is_not_its_filter_is_not_trusted() -> None:
    physics = BlurFFT((1, N, N), filter=kernel())
    physics.mask = 2 * physics.mask
    assert operator_norm(physics, torch.zeros(1, 1, N, N)).source is NormSource.ESTIMATE


def test_an_inexact_adjoint_of_projections_is_not_trusted() -> None:
    physics = Tomography(img_width=N, angles=9, normalize=False, adjoint_via_backprop=False)
    assert operator_norm(physics, torch.zeros(1, 1, N, N)).source is NormSource.ESTIMATE


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 10**6))
def test_collatz_and_wielandt_bound_random_nonnegative_matrices(
    rows: int, columns: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.rand(rows, columns, generator=draw, dtype=torch.float64)
    matrix = matrix * (torch.rand(rows, columns, generator=draw) > 0.4)
    exact = float(torch.linalg.matrix_norm(matrix, 2))
    upper, value = collatz_wielandt(
        lambda v: matrix.T @ (matrix @ v), torch.ones(columns, dtype=torch.float64), roundings=20
    )
    assert upper >= exact * (1 - 1e-14)
    assert value <= exact * (1 + 1e-14)


def test_an_operator_with_negative_entries_is_refused() -> None:
    with pytest.raises(ValueError, match="without negative entries"):
        collatz_wielandt(lambda v: -v, torch.ones(3, dtype=torch.float64), roundings=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_spectrum_of_a_blur_is_that_of_its_fourier_transform(
    height: int, width: int, rows: int, columns: int
) -> None:
    size = (max(height, rows), max(width, columns))
    drawn = torch.randn(1, 1, rows, columns, dtype=torch.float64)
    low, high, error = blur_spectrum(drawn, size)
    moduli = torch.fft.fft2(drawn, s=size).abs()
    assert low == pytest.approx(float(moduli.min()), abs=1e-11)
    assert high == pytest.approx(float(moduli.max()), abs=1e-11)
    assert error < 1e-11


def test_the_value_does_not_depend_on_how_loose_the_bound_is() -> None:
    tight = OperatorNorm(1.0, NormSource.GIVEN, value=0.9)
    loose = OperatorNorm(5.0, NormSource.GIVEN, value=0.9)
    assert tight.value == loose.value
    assert OperatorNorm(2.0, NormSource.GIVEN).value == 2.0


def test_the_bound_of_a_physics_that_has_not_changed_is_remembered() -> None:
    physics, x = BlurFFT((1, N, N), filter=kernel()), torch.zeros(1, 1, N, N)
    assert operator_norm(physics, x) is operator_norm(physics, x)


def test_every_view_and_every_path_of_an_echo_leaves_room_for_more_roundings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A product and a sum at least, there and back; so for every row of pixels, which a line crosses."""
    rooms: list[int] = []

    def noted(*_: Any, roundings: int) -> tuple[float, float]:
        rooms.append(roundings)
        return 1.0, 1.0

    monkeypatch.setattr(projection_rules, "collatz_wielandt", noted)
    for side, views in ((N, 9), (N, 59), (N + 50, 9)):
        scan = Tomography(img_width=side, angles=views, normalize=False)
        operator_norm(scan, torch.zeros(1, 1, side, side))
    few, many, large = rooms
    assert min(many, large) >= few + 4 * 50
    for angles in (3, 53):
        physics = echoes()
        physics.angles = torch.linspace(-0.2, 0.2, angles)
        projection_rules._echoes(physics, torch.zeros(1, 1, N, N))
    assert rooms[-1] >= rooms[-2] + 4 * 8 * 50
    paths = 53 * len(echoes().element_positions)
    assert rooms[-1] == 8 * (2 * N * N + 4 * paths + 64)


def test_a_changed_physics_is_bounded_again() -> None:
    physics = Inpainting((1, N, N), mask=torch.ones(1, N, N))
    x = torch.zeros(1, 1, N, N)
    first = operator_norm(physics, x)
    physics.update_parameters(mask=4 * torch.ones(1, N, N))
    assert first.upper == 1.0
    assert operator_norm(physics, x).upper == 4.0
    assert operator_norm(copy.deepcopy(physics), x).upper == 4.0


def test_a_dense_matrix_is_used_for_small_images_and_sums_of_products_only() -> None:
    blur = Blur(kernel(signed=True), padding="reflect")
    small, large = torch.zeros(1, 1, N, N), torch.zeros(1, 1, 3 * N, 3 * N)
    assert operator_norm(blur, small).source is NormSource.DENSE
    assert operator_norm(blur, large).source is not NormSource.DENSE
    assert dense_norm(BlurFFT((1, N, N), filter=kernel(signed=True)), small) is None
    assert dense_norm(blur, small.to(torch.complex64)) is None
    assert dense_norm(blur * BlurFFT((1, N, N), filter=kernel()), small) is None


def test_the_value_of_a_finer_physics_knows_the_signs_of_its_upsampling() -> None:
    mask = (torch.rand(1, N, N, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    physics = LinearPhysicsMultiScaler(
        Inpainting((1, N, N), mask=mask), (1, N, N), filter="sinc", factors=(2, 4)
    )
    physics.set_scale(1)
    x = torch.zeros(1, 1, N // 2, N // 2)
    bound, exact = operator_norm(physics, x), float(singular_values(physics, x)[0])
    assert exact * (1 - 1e-5) <= bound.upper <= exact * 1.003
    assert bound.value == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(
    ("upper", "value", "tried"),
    [(2.0, 2.0, False), (0.5, 0.5, False), (0.504, 0.5, False), (2.1, 2.0, True), (0.6, 0.5, True)],
)
def test_a_bound_a_hundredth_above_the_norm_is_tried_again_on_a_matrix(
    monkeypatch: pytest.MonkeyPatch, upper: float, value: float, tried: bool
) -> None:
    def dense(physics: LinearPhysics, x: Tensor) -> tuple[float, float]:
        return value * 1.0001, value

    given = OperatorNorm(upper, NormSource.NONNEGATIVE, lower=0.25, value=value)
    monkeypatch.setitem(_RULES, Inpainting, lambda physics, x: given)
    monkeypatch.setattr(sys.modules[operator_norm.__module__], "dense_norm", dense)
    physics, x = Inpainting((1, 4, 4), mask=torch.ones(1, 4, 4)), torch.zeros(1, 1, 4, 4)
    found = operator_norm(physics, x)
    if tried:
        assert found == OperatorNorm(value * 1.0001, NormSource.DENSE, 0.25, value)
    else:
        assert found == given
    assert operator_norm(physics, x) is found


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular", "valid"])
def test_a_kernel_of_one_row_times_one_column_has_the_product_of_their_norms(padding: str) -> None:
    first = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    second = torch.tensor([0.3, 1.0, -0.4, 0.2, -1.0], dtype=torch.float64)
    kernel = torch.outer(first, second)
    physics = Blur(kernel[None, None], padding=padding)
    x = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
    exact = float(torch.linalg.matrix_norm(columns(physics, x).double(), 2))
    assert exact * (1 - 1e-6) <= _separable(kernel, physics, x) <= exact * (1 + 3e-3)
    assert _separable(kernel + torch.eye(3, 5), physics, x) == math.inf


@pytest.mark.parametrize("signed", [False, True])
def test_a_dense_matrix_pays_for_the_roundings_of_its_entries(signed: bool) -> None:
    blur, x = Blur(kernel(signed=signed), padding="reflect"), torch.zeros(1, 1, N, N)
    found, largest = dense_norm(blur, x), absolute_norm(blur, x)
    assert found is not None
    assert largest is not None
    stored = matrix_norm(columns(in_double(blur), x.double()))
    room = 2 * ROUNDINGS * 2.0**-53 * largest[0]
    assert room > 100 * math.ulp(stored.upper)
    assert found[0] - stored.upper == pytest.approx(room, rel=0.05)
    assert found[1] == stored.lower
