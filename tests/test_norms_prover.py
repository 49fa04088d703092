"""No target below the norm is ever certified; the pieces of the proof do what they claim."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from norm_oracles import grid_supremum
from test_norms_convolution import KINDS, kernel
from torch import Tensor

from pnp_lip.norms import Cover, NormBound, convolution_norm, matrix_norm, prove_below
from pnp_lip.norms.angles import ENTRY_ERROR, cosines_and_sines
from pnp_lip.norms.ascent import Maximum, proved_square
from pnp_lip.norms.cells import children, radius, root_bits, roots, sine_squared
from pnp_lip.norms.gram import gram_polynomial
from pnp_lip.norms.kernel import Kernel, scaled_kernel
from pnp_lip.norms.prover import first_maximum, floors, pose, refine, start
from pnp_lip.norms.taylor import remainder, taylor_test
from pnp_lip.norms.verified import factorisation_completes, shifted_threshold
from pnp_lip.rounding import round_down, round_up, sqrt_down

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


@SETTINGS
@given(
    KINDS,
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([1e-3, 1e-6, 1e-9]),
    st.integers(0, 999),
)
def test_a_target_below_the_norm_is_never_certified(
    kind: str, shape: tuple[int, int, int, int], deficit: float, seed: int
) -> None:
    weight = kernel(kind, shape, seed)
    attained = max(grid_supremum(weight, 24), convolution_norm(weight, gap=1e-2).lower)
    assert prove_below(weight, attained * (1 - deficit)) is None


@pytest.mark.parametrize("deficit", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_grouped_and_strided_targets_below_the_norm_are_never_certified(
    deficit: float, stride: int, groups: int
) -> None:
    weight = kernel("random", (4, 4 // groups, 3, 3), 7)
    lower = convolution_norm(weight, stride=stride, groups=groups, gap=1e-6).lower
    target = lower * (1 - deficit)
    assert prove_below(weight, target, stride=stride, groups=groups) is None


@SETTINGS
@given(
    st.sampled_from([(4, 1, 3, 3), (2, 2, 2, 3), (5, 3, 5), (3, 1, 3)]),
    st.sampled_from([0.0, 1e-9, 1e-6, 1e-3]),
    st.integers(3, 12),
    st.integers(0, 99),
)
def test_no_cell_that_holds_the_maximiser_passes_the_taylor_test_below_the_norm(
    shape: tuple[int, ...], deficit: float, bits: int, seed: int
) -> None:
    problem = pose(_scaled(kernel("random", shape, seed)))
    maximum, _ = first_maximum(problem)
    axes = len(problem.bits)
    turns = torch.tensor([maximum.point]).double() * 2.0**-44
    near = torch.round(turns * 2**bits).long()
    steps = torch.tensor([(0,) * axes, *(tuple(row) for row in torch.eye(axes).long().tolist())])
    cells = torch.cat([near + steps, near - steps])
    distance = (cells - turns * 2**bits).abs().sum(1)
    square = maximum.square * (1 - Fraction(deficit))
    level = (bits,) * axes
    if remainder(problem.half_degrees, level) >= 1:
        return
    passed = taylor_test(problem.gram, 0, cells, level, problem.half_degrees, square)
    assert not bool(passed[distance <= 1].any())


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_the_taylor_remainder_covers_the_model_s_error_and_not_much_more(bits: int) -> None:
    # G = 2 + 2 cos(2 omega), so M^2 = 4 and 2 r = 2 h; the model is that of a cosine.
    step = 2 * math.pi / 2**bits
    model = 2 + 2 * sum((-1) ** j * (2 * step) ** (2 * j) / math.factorial(2 * j) for j in range(3))
    exact = 2 + 2 * math.cos(2 * step)
    allowed = 4 * float(remainder((1.0,), (bits,)))
    assert 0.8 * allowed <= abs(exact - model) <= allowed


@pytest.mark.parametrize("order", [1, 16, 256])
def test_the_threshold_pays_for_the_matrix_error_and_for_the_factorisation(order: int) -> None:
    error = Fraction(1, 1000)
    assert Fraction(shifted_threshold(Fraction(1), error, order)) <= 1 - error
    # At least one rounding for each of the order's pivots, on the scale of the trace.
    unshifted = Fraction(shifted_threshold(Fraction(1), Fraction(0), order))
    assert 1 - unshifted >= order * Fraction(2 * order, 2**53)
    assert 1 - unshifted <= order * Fraction(8 * order + 32, 2**53)
    assert shifted_threshold(Fraction(0), Fraction(0), order) < 0


def test_a_plateau_costs_few_cells_at_a_small_gap() -> None:
    n = torch.arange(5, dtype=torch.float64)
    rows = torch.cos(math.pi * (n + 0.5) * n[:, None] / 5)
    rows = rows / rows.norm(dim=1, keepdim=True)
    zero_mean = torch.einsum("ai,bj->abij", rows, rows).reshape(25, 1, 5, 5)[1:] / 5
    bound = convolution_norm(zero_mean, gap=1e-5)
    assert 1 - 1e-9 <= bound.lower <= 1 <= bound.upper <= 1 + 1.01e-5
    assert bound.cover is not None
    assert len(bound.cover) < 15_000


def test_a_matrix_target_is_certified_just_above_the_norm_and_not_just_below() -> None:
    weight = torch.diag(torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64))
    assert prove_below(weight, 1 - 1e-12) is None
    assert prove_below(weight, 1.0) is None
    assert prove_below(weight, 1 + 1e-12) is not None


def test_the_square_of_a_vector_where_nothing_is_seen_is_zero() -> None:
    matrix, vector = torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    assert proved_square(0 * matrix, vector, Fraction(0)) == 0
    assert proved_square(-matrix, vector, Fraction(0)) == 0
    assert proved_square(matrix, 0 * vector, Fraction(0)) == 0
    assert proved_square(matrix, vector, Fraction(2)) == 0
    assert 1 - Fraction(1, 10**13) <= proved_square(matrix, vector, Fraction(0)) <= 1


def test_a_target_above_the_norm_is_certified() -> None:
    weight = kernel("random", (3, 2, 3, 3), 0)
    upper = convolution_norm(weight, gap=1e-4).upper
    cover = prove_below(weight, upper)
    assert cover is not None
    assert cover.upper == upper


def test_a_prover_started_from_a_wrong_maximum_finds_the_right_one() -> None:
    problem = pose(_scaled(kernel("random", (3, 3, 3, 3), 3)))
    maximum, seen = first_maximum(problem)
    low = Maximum(0, (0, 0), maximum.square / 4)
    target = float(1.001 * math.sqrt(low.square))
    search, better = refine(
        problem, start(problem), target, floors(problem, seen, 1e-4), low.square
    )
    assert not search.done
    assert better is not None
    assert better.square > maximum.square * Fraction(99, 100)


def test_asking_for_less_than_rounding_allows_gives_a_wider_proved_bound() -> None:
    weight = kernel("random", (64, 32, 5, 5), 3)
    bound = convolution_norm(weight, gap=1e-9)
    assert bound.lower * (1 + 9e-10) <= bound.upper <= bound.lower * (1 + 1e-7)


def test_bounds_survive_json_unchanged() -> None:
    for bound in (
        convolution_norm(kernel("random", (2, 2, 3, 3), 0)),
        matrix_norm(kernel("random", (3, 4), 0)),
        matrix_norm(torch.zeros(1, 1)),
    ):
        assert NormBound.from_json(json.loads(json.dumps(bound.to_json()))) == bound


def test_a_cover_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="expected format 1, got 2"):
        Cover.from_json({"format": 2})
    with pytest.raises(ValueError, match="expected an entry 'target'"):
        Cover.from_json({"format": 1})


@pytest.mark.parametrize("bits", [3, 7, 20, 44])
def test_sines_and_cosines_are_within_their_stated_error(bits: int) -> None:
    flint = pytest.importorskip("flint")
    phases = torch.randint(-(2**50), 2**50, (200,), generator=torch.Generator().manual_seed(bits))
    phases = torch.cat([phases, torch.arange(8) * 2 ** (bits - 3)])
    cosines, sines = cosines_and_sines(phases, bits)
    for phase, cosine, sine in zip(phases.tolist(), cosines.tolist(), sines.tolist(), strict=True):
        angle = flint.arb(flint.fmpq(phase % 2**bits, 2 ** (bits - 1)))
        assert abs(float(angle.cos_pi() - cosine)) <= float(ENTRY_ERROR) / 8
        assert abs(float(angle.sin_pi() - sine)) <= float(ENTRY_ERROR) / 8


def test_phases_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected int64 phases and 3 <= bits <= 56"):
        cosines_and_sines(torch.zeros(1, dtype=torch.int64), 57)


@pytest.mark.parametrize("order", [1, 2, 16, 64])
def test_completion_never_proves_a_matrix_that_is_not_below(order: int) -> None:
    generator = torch.Generator().manual_seed(order)
    for _ in range(20):
        factor = torch.randn(order, order, dtype=torch.complex128, generator=generator)
        vectors = torch.linalg.qr(factor).Q
        values = torch.rand(order, dtype=torch.float64, generator=generator)
        values[0] = 1.0
        matrix = (vectors * values) @ vectors.mH
        matrix = (matrix + matrix.mH) / 2
        # The largest eigenvalue is 1 up to the rounding of this construction, below 1e-13.
        theta = shifted_threshold(1 - Fraction(1, 10**12), Fraction(0), order)
        assert not factorisation_completes(matrix[None].clone(), _one(theta))
        theta = shifted_threshold(1 + Fraction(1, 10**9), Fraction(0), order)
        assert factorisation_completes(matrix[None].clone(), _one(theta))


def test_non_finite_matrices_are_never_proved() -> None:
    for value in (math.nan, math.inf, -math.inf):
        matrix = torch.full((1, 1, 1), value, dtype=torch.float64)
        assert not factorisation_completes(matrix, _one(1.0))


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (2, 5, 4), (2, 2, 2, 3, 2)])
def test_the_computed_gram_matrix_is_within_its_error_of_balls(shape: tuple[int, ...]) -> None:
    pytest.importorskip("flint")
    from pnp_lip.checker.exact_gram import ExactGram

    weight = kernel("random", shape, 1)
    normal = _scaled(weight)
    gram = gram_polynomial(normal)
    exact = ExactGram.of(weight, 1, 1, 1)
    bits = (9,) * (len(shape) - 2)
    point = tuple(range(100, 100 + len(bits)))
    computed = gram.at(0, torch.tensor([point]), bits)[0]
    (matrix,) = exact.at(0, [point], list(bits))
    unit = 2.0 ** (-2 * normal.exponent)
    for value, ball in zip(computed.flatten().tolist(), matrix.entries(), strict=True):
        assert abs(float(ball.real * unit - value.real)) <= float(gram.error)
        assert abs(float(ball.imag * unit - value.imag)) <= float(gram.error)


@pytest.mark.parametrize("half_degrees", [(1.0,), (1.0, 1.0), (0.5, 3.0), (0.5, 0.5, 1.0)])
def test_root_cells_and_their_children_cover_the_torus(half_degrees: tuple[float, ...]) -> None:
    bits = root_bits(half_degrees)
    generator = torch.Generator().manual_seed(0)
    omega = torch.rand(200, len(bits), generator=generator, dtype=torch.float64)
    assert bool(_covered(roots(bits), bits, omega).all())
    finer = tuple(b + 1 for b in bits)
    cells = torch.nn.functional.pad(roots(bits), (1, 0))
    assert bool(_covered(children(cells, bits)[:, 1:], finer, omega).all())


def test_a_cell_radius_bounds_the_weighted_distance_to_its_centre() -> None:
    assert float(radius((1.0, 2.0), (4, 4))) == pytest.approx(2 * 2 * math.pi / 16)
    assert float(radius((1.0, 2.0, 3.0), (4, 4, 4))) == pytest.approx(6 * 2 * math.pi / 16)


@given(st.fractions(0, Fraction(157, 100)))
def test_the_sine_bound_is_above_and_close(r: Fraction) -> None:
    value = float(sine_squared(r))
    assert math.sin(float(r)) ** 2 * (1 - 1e-15) <= value <= math.sin(float(r)) ** 2 + 1e-3


@given(st.fractions())
def test_rounding_is_outward(value: Fraction) -> None:
    assert Fraction(round_down(value)) <= value <= Fraction(round_up(value))
    if value >= 0:
        assert Fraction(sqrt_down(value)) ** 2 <= value


def _one(value: float) -> Tensor:
    return torch.full((1,), value, dtype=torch.float64)


def _scaled(weight: Tensor) -> Kernel:
    taps = weight[None] if weight.shape[0] >= weight.shape[1] else weight.transpose(0, 1)[None]
    normal = scaled_kernel(taps)
    assert normal is not None
    return normal


def _covered(centres: Tensor, bits: tuple[int, ...], omega: Tensor) -> Tensor:
    """Which points (in turns) lie in a cell or in the mirror image of one."""
    scale = torch.tensor([2.0**b for b in bits], dtype=torch.float64)
    both = torch.cat([centres, -centres]).double()
    gap = (omega[:, None] * scale - both + scale / 2).remainder(scale) - scale / 2
    size = gap.abs().sum(-1) if len(bits) == 2 else gap.abs().amax(-1)
    return (size <= 1 + 1e-9).any(1)
