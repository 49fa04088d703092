"""``convolution_norm`` and ``matrix_norm`` against dense operators, fine grids and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from norm_oracles import TRANSPOSED, dense_norm, grid_supremum, padded_convolution
from torch import Tensor

from pnp_lip.norms import convolution_norm, matrix_norm

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


def kernel(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Random, sign, near-orthogonal and badly scaled kernels."""
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if kind == "sign":
        return weight.sign()
    if kind == "orthogonal":
        centre = torch.zeros(shape, dtype=torch.float64)
        middle = tuple(k // 2 for k in shape[2:])
        for i in range(min(shape[:2])):
            centre[(i, i, *middle)] = 1.0
        return centre + 1e-3 * weight
    return weight * {"random": 1.0, "small": 1e-6, "large": 1e6}[kind]


KINDS = st.sampled_from(["random", "sign", "orthogonal", "small", "large"])
SIDES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@SETTINGS
@given(KINDS, st.integers(1, 3), st.integers(1, 3), SIDES, st.integers(1, 7), st.integers(0, 999))
def test_the_bound_holds_for_zero_and_circular_padding_at_every_size(
    kind: str, c_out: int, c_in: int, sides: tuple[int, int], n: int, seed: int
) -> None:
    weight = kernel(kind, (c_out, c_in, *sides), seed)
    upper = convolution_norm(weight, gap=1e-6).upper
    padding = (sides[0] // 2, sides[1] // 2)
    zero = padded_convolution(weight, (sides[0] - 1, sides[1] - 1), "zeros")
    assert dense_norm(zero, (c_in, n, n)) <= upper
    if n >= max(padding) and n + 2 * min(padding) >= max(sides) and sides[0] % 2 and sides[1] % 2:
        circular = padded_convolution(weight, padding, "circular")
        assert dense_norm(circular, (c_in, n, n)) <= upper


@SETTINGS
@given(KINDS, st.integers(1, 4), st.integers(1, 4), SIDES, st.integers(0, 999))
def test_the_bounds_bracket_the_supremum_within_the_gap(
    kind: str, c_out: int, c_in: int, sides: tuple[int, int], seed: int
) -> None:
    weight = kernel(kind, (c_out, c_in, *sides), seed)
    bound = convolution_norm(weight, gap=1e-4)
    supremum = grid_supremum(weight, 48)
    # Half-degree 3/2 per axis at 48 points: the grid misses at most a factor cos^2(pi/32).
    assert supremum <= bound.upper
    assert bound.lower * math.cos(math.pi / 32) ** 2 <= supremum * (1 + 1e-12)
    assert bound.upper <= bound.lower * (1 + 1.0001e-4)


@SETTINGS
@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    SIDES,
    st.integers(0, 999),
)
def test_stride_and_dilation_reduce_to_a_unit_stride_norm(
    c_in: int,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    sides: tuple[int, int],
    seed: int,
) -> None:
    weight = kernel("random", (2, c_in, *sides), seed)
    bound = convolution_norm(weight, stride=stride, dilation=dilation, gap=1e-3)
    reach = tuple(d * (k - 1) for d, k in zip(dilation, sides, strict=True))
    operator = padded_convolution(weight, reach, "zeros", stride=stride, dilation=dilation)
    assert dense_norm(operator, (c_in, 7, 8)) <= bound.upper


@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1), (2, 3)), ((2, 2), (1, 1)), ((2, 3), (3, 2)), ((4, 2), (2, 4))]
)
def test_the_strided_bound_is_the_limit_of_large_images(
    stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    weight = kernel("random", (2, 1, 3, 3), 5)
    bound = convolution_norm(weight, stride=stride, dilation=dilation)
    reach = tuple(2 * d for d in dilation)
    operator = padded_convolution(weight, reach, "zeros", stride=stride, dilation=dilation)
    value = dense_norm(operator, (1, 24, 24))
    assert 0.95 * bound.lower <= value <= bound.upper


@pytest.mark.parametrize("groups", [2, 3])
def test_groups_count_by_their_maximum_not_by_their_product(groups: int) -> None:
    weight = kernel("random", (2 * groups, 2, 3, 3), 1)
    bound = convolution_norm(weight, groups=groups)
    parts = [convolution_norm(part).lower for part in weight.chunk(groups)]
    assert bound.lower == pytest.approx(max(parts), rel=1e-9)
    operator = padded_convolution(weight, 2, "zeros", groups=groups)
    assert dense_norm(operator, (2 * groups, 6, 6)) <= bound.upper


def test_a_depthwise_kernel_has_the_largest_of_its_symbols() -> None:
    weight = torch.ones(5, 1, 3, 3) * torch.arange(1.0, 6.0)[:, None, None, None]
    assert convolution_norm(weight, groups=5).lower == pytest.approx(45.0, rel=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_convolution_is_bounded_on_every_axis_count(axes: int, stride: int) -> None:
    weight = kernel("random", (4, 1, *(3,) * axes), axes)
    bound = convolution_norm(weight, stride=stride, groups=2, transposed=True, gap=1e-2)

    def operator(images: Tensor) -> Tensor:
        return TRANSPOSED[axes](images, weight, stride=stride, groups=2, output_padding=stride - 1)

    assert dense_norm(operator, (4, *(4,) * axes)) <= bound.upper
    assert bound.upper == pytest.approx(
        convolution_norm(weight, stride=stride, groups=2, gap=1e-2).upper
    )


@pytest.mark.parametrize("axes", [1, 3])
def test_one_and_three_axes_are_bounded_like_two(axes: int) -> None:
    weight = kernel("random", (2, 2, *(3, 2, 2)[:axes]), 3)
    bound = convolution_norm(weight, gap=1e-3)
    operator = padded_convolution(weight, 2, "zeros")
    assert dense_norm(operator, (2, *(4,) * axes)) <= bound.upper
    assert grid_supremum(weight, 24) <= bound.upper
    assert bound.upper <= bound.lower * 1.0011


def test_a_kernel_larger_than_the_image_is_still_bounded() -> None:
    weight = kernel("random", (1, 1, 7, 7), 2)
    bound = convolution_norm(weight)
    for n in (1, 2, 3):
        assert dense_norm(padded_convolution(weight, 6, "zeros"), (1, n, n)) <= bound.upper


def test_the_reshaped_kernel_is_not_the_operator() -> None:
    weight = torch.ones(1, 1, 3, 3)
    reshaped = torch.linalg.matrix_norm(weight.flatten(1), ord=2).item()
    assert convolution_norm(weight).lower == pytest.approx(9.0, rel=1e-12)
    assert reshaped == pytest.approx(3.0)


def test_difference_then_box_under_zero_padding_exceeds_the_product_symbol() -> None:
    difference = torch.tensor([[[-1.0, 1.0]]], dtype=torch.float64)
    box = torch.ones(1, 1, 5, dtype=torch.float64)
    first, second = padded_convolution(difference, 1, "zeros"), padded_convolution(box, 2, "zeros")
    product = convolution_norm(difference).upper * convolution_norm(box).upper
    joint = torch.nn.functional.conv1d(difference, box, padding=4)
    value = dense_norm(lambda x: second(first(x)[..., :-1]), (1, 40))
    assert convolution_norm(joint).upper < value <= product


def test_a_power_method_stopped_early_is_below_the_proved_bound() -> None:
    weight = kernel("random", (16, 16, 3, 3), 9)
    image = torch.randn(1, 16, 12, 12, dtype=torch.float64)
    image = image / image.norm()
    one_step = torch.nn.functional.conv2d(image, weight, padding=1).norm().item()
    bound = convolution_norm(weight)
    assert one_step < 0.5 * bound.lower <= bound.upper


def test_a_tight_frame_has_norm_one_at_any_gap() -> None:
    n = torch.arange(5, dtype=torch.float64)
    rows = torch.cos(math.pi * (n + 0.5) * n[:, None] / 5)
    rows = rows / rows.norm(dim=1, keepdim=True)
    frame = torch.einsum("ai,bj->abij", rows, rows).reshape(25, 1, 5, 5) / 5
    for gap in (1e-3, 1e-6):
        bound = convolution_norm(frame, gap=gap)
        assert 1 - 1e-12 <= bound.lower <= 1 + 1e-15 <= bound.upper <= 1 + 1.001 * gap
        assert bound.cover is not None
        assert max(bound.cover.cells) == 0


@SETTINGS
@given(KINDS, st.integers(1, 30), st.integers(1, 30), st.integers(0, 999))
def test_a_dense_norm_is_bracketed(kind: str, rows: int, columns: int, seed: int) -> None:
    weight = kernel(kind, (rows, columns), seed)
    bound = matrix_norm(weight, gap=1e-9)
    exact = torch.linalg.matrix_norm(weight, ord=2).item()
    assert bound.lower <= exact * (1 + 1e-14)
    assert exact <= bound.upper <= bound.lower * (1 + 1.01e-9)


def test_a_one_by_one_convolution_is_its_matrix() -> None:
    weight = kernel("random", (6, 9), 0)
    assert convolution_norm(weight[..., None, None]).upper == matrix_norm(weight).upper


def test_a_large_matrix_goes_through_lanczos() -> None:
    weight = kernel("random", (400, 350), 0)
    bound = matrix_norm(weight, gap=1e-6)
    assert bound.lower <= torch.linalg.matrix_norm(weight, ord=2).item() <= bound.upper
    assert bound.upper <= bound.lower * (1 + 1.001e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-6, 1e6, 1e200])
def test_scaling_by_any_magnitude_scales_the_bound(scale: float) -> None:
    weight = kernel("random", (3, 2, 3, 3), 4)
    one, scaled = convolution_norm(weight), convolution_norm(weight * scale)
    assert scaled.upper == pytest.approx(one.upper * scale, rel=1e-9)
    assert scaled.lower == pytest.approx(one.lower * scale, rel=1e-9)


def test_half_precision_weights_are_taken_exactly() -> None:
    weight = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert convolution_norm(weight).upper == convolution_norm(weight.double()).upper


def test_zero_weights_have_norm_zero() -> None:
    for bound in (convolution_norm(torch.zeros(2, 2, 3, 3)), matrix_norm(torch.zeros(2, 2))):
        assert (bound.lower, bound.upper, bound.cover) == (0.0, 0.0, None)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (torch.full((1, 1, 3, 3), math.nan), ValueError, "expected finite weights"),
        (torch.zeros(1, 0, 3, 3), ValueError, "expected a nonempty weight"),
        (torch.ones(1, 1, 3, 3, dtype=torch.int32), TypeError, "expected a real floating-point"),
        (torch.ones(3, 3), ValueError, "expected a weight with 3 or 4 or 5 dimensions"),
    ],
)
def test_unusable_weights_are_refused(weight: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        convolution_norm(weight)


def test_unusable_arguments_are_refused() -> None:
    weight = torch.ones(4, 1, 3, 3)
    with pytest.raises(ValueError, match=r"expected a gap in \[1e-9, 1\]"):
        convolution_norm(weight, gap=0.0)
    with pytest.raises(ValueError, match=r"expected a gap in \[1e-9, 1\]"):
        matrix_norm(torch.ones(2, 2), gap=math.nan)
    with pytest.raises(ValueError, match="expected groups to divide"):
        convolution_norm(weight, groups=3)
    with pytest.raises(ValueError, match="expected stride as a positive int"):
        convolution_norm(weight, stride=(1, 2, 3))
    with pytest.raises(ValueError, match="expected a norm below"):
        convolution_norm(torch.full((1, 1, 3, 3), 1e308, dtype=torch.float64))
