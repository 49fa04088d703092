"""A critic's bound is never above the exact distance, and close to it where that is known."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pnp_lip.certifier import prove
from pnp_lip.networks import CriticFit, FreeWidthNetwork, Wasserstein1, wasserstein, wasserstein1
from pnp_lip.networks.confidence import bernstein_interval, student_interval
from pnp_lip.networks.critic import evaluate

SHORT = CriticFit(width=16, depth=3, steps=60, batch=64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact_distance(x: Tensor, y: Tensor) -> float:
    """Of two samples of one size, by the best assignment."""
    costs = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    rows, columns = linear_sum_assignment(costs.numpy())
    return float(costs[rows, columns].mean())


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    features=st.integers(1, 5),
    count=st.integers(4, 40),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    offset=st.sampled_from([0.0, 1e3]),
)
def test_value_never_exceeds_exact_transport_of_the_samples(
    seed: int, features: int, count: int, scale: float, offset: float
) -> None:
    x, y = (torch.randn(count, features, generator=rng(seed + i)).double() for i in range(2))
    x, y = scale * x + offset, scale * (y.abs() + 0.3) + offset
    bound = wasserstein1(x, y, fit=SHORT, rng=rng(seed))
    assert bound.lipschitz <= 1
    assert bound.value <= exact_distance(x, y) * (1 + 1e-12)
    assert bound.interval[0] <= bound.interval[1]


@pytest.mark.parametrize("shift", [2.0, 40.0])
def test_distance_of_a_translated_cloud_is_the_length_of_the_translation(shift: float) -> None:
    x = torch.randn(2000, 3, generator=rng())
    y = x + shift * torch.tensor([0.6, 0.0, -0.8])
    bound = wasserstein1(x, y, fit=CriticFit(width=16, depth=3, steps=150, batch=256), rng=rng())
    assert 0.98 * shift <= bound.value <= shift * (1 + 1e-6)


def test_interval_covers_the_mean_of_the_critic_on_new_samples() -> None:
    x, y = torch.rand(1500, 2, generator=rng()), torch.rand(1500, 2, generator=rng(1)) + 1.0
    for diameter, method in ((None, "student"), (2 * math.sqrt(2), "bernstein")):
        bound = wasserstein1(x, y, fit=SHORT, rng=rng(), diameter=diameter, confidence=0.999)
        assert bound.method == method
        assert bound.held_out == (300, 300)
        new = torch.rand(50_000, 2, generator=rng(2)).double()
        mean = float(bound.critic(new).mean() - bound.critic(new + 1.0).mean())
        assert bound.interval[0] <= mean <= bound.interval[1]
        assert bound.interval[0] <= math.sqrt(2)


def test_known_diameter_costs_width_and_samples_gain_it() -> None:
    x, y = torch.rand(4000, 1, generator=rng()), torch.rand(4000, 1, generator=rng(1)) + 2.0
    widths = []
    for count, diameter in ((4000, None), (4000, 3.0), (400, 3.0)):
        bound = wasserstein1(x[:count], y[:count], fit=SHORT, rng=rng(), diameter=diameter)
        widths.append(bound.interval[1] - bound.interval[0])
    assert widths[0] < widths[1] < widths[2]


def test_equal_seeds_give_equal_bits_whatever_the_global_generator() -> None:
    x, y = torch.randn(60, 2, generator=rng()), torch.randn(50, 2, generator=rng(1))
    found: list[Wasserstein1] = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(found))
        found.append(wasserstein1(x, y, fit=SHORT, rng=rng(seed)))
    one, same, other = found
    assert (one.value, one.interval) == (same.value, same.interval)
    for a, b in zip(one.critic.parameters(), same.critic.parameters(), strict=True):
        assert torch.equal(a, b)
    assert one.value != other.value
    torch.manual_seed(5)
    state = torch.get_rng_state()
    wasserstein1(x, y, fit=SHORT, rng=rng(0))
    assert torch.equal(state, torch.get_rng_state())


def test_critic_above_one_is_divided_by_its_proved_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def violating(*args: object, **kwargs: object) -> FreeWidthNetwork:
        torch.manual_seed(0)
        network = FreeWidthNetwork(2, 8, 2).double().requires_grad_(False)
        network.readout.weight.mul_(50.0)
        return network

    monkeypatch.setattr(wasserstein, "train_critic", violating)
    x = torch.randn(100, 2, generator=rng())
    y = x + torch.tensor([1.0, 0.5])
    for points in ((x, y), (y, x)):
        bound = wasserstein1(*points)
        assert bound.lipschitz == pytest.approx(50, rel=1e-5)
        assert bound.value <= exact_distance(x, y)
        means = [float(bound.critic(one.double()).mean()) for one in points]
        assert bound.value == pytest.approx((means[0] - means[1]) / bound.lipschitz)
        assert bound.interval[1] - bound.interval[0] < 10


def test_evaluation_is_within_its_error_of_rational_arithmetic() -> None:
    torch.manual_seed(0)
    critic = FreeWidthNetwork(3, 5, 3, hidden=4).double().requires_grad_(False)
    for parameter in critic.parameters():
        parameter.mul_(0.9).add_(0.05 * torch.randn(parameter.shape, dtype=torch.float64))
    x = 100 * torch.randn(6, 3, generator=rng(), dtype=torch.float64)
    values, error = evaluate(critic, prove(critic), x)
    for value, point in zip(values.tolist(), x, strict=True):
        exact = _exactly(critic, [Fraction(entry) for entry in point.tolist()])
        assert abs(Fraction(value) - exact) <= error
    assert 0 < error < 1e-10


def _exactly(critic: FreeWidthNetwork, z: list[Fraction]) -> Fraction:
    def affine(weight: Tensor, bias: Tensor, entries: list[Fraction]) -> list[Fraction]:
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        return [
            sum((Fraction(w) * e for w, e in zip(row, entries, strict=True)), Fraction(offset))
            for row, offset in rows
        ]

    z = affine(critic.lift.weight, critic.lift.bias, z)
    for step in critic.gradient_steps:
        active = [max(one, Fraction(0)) for one in affine(step.weight, step.bias, z)]
        back = affine(step.weight.T, torch.zeros(len(z)), active)
        z = [one - Fraction(step.tau.item()) * moved for one, moved in zip(z, back, strict=True)]
    return affine(critic.readout.weight, critic.readout.bias, z)[0]


def test_intervals_cover_as_often_as_they_say() -> None:
    covered = {"student": 0, "bernstein": 0}
    generator = rng()
    for _ in range(300):
        a = torch.rand(40, generator=generator).tolist()
        b = torch.rand(60, generator=generator).square().tolist()
        for name, (low, high) in (
            ("student", student_interval(a, b, 0.9)),
            ("bernstein", bernstein_interval(a, b, 0.9, 1.0)),
        ):
            covered[name] += low <= 1 / 2 - 1 / 3 <= high
    assert 255 <= covered["student"] <= 285
    assert covered["bernstein"] == 300


def test_bernstein_interval_of_samples_without_variance_is_its_linear_term_alone() -> None:
    """Maurer and Pontil, Theorem 4, with delta/4: 7 ln(8/delta) / (3 (n - 1)) times the length."""
    low, high = bernstein_interval([0.5] * 11, [0.5] * 21, 0.9, 2.0)
    expected = 2.0 * math.log(8 / 0.1) * 7 / 3 * (1 / 10 + 1 / 20)
    assert high == pytest.approx(expected, rel=1e-12)
    assert low == pytest.approx(-expected, rel=1e-12)


def test_equal_points_are_at_distance_zero() -> None:
    x = torch.ones(5, 2)
    bound = wasserstein1(x, x, fit=SHORT, rng=rng())
    assert -1e-12 <= bound.value <= 0
    assert bound.interval == pytest.approx((0.0, 0.0), abs=1e-12)


def test_wrong_samples_are_refused() -> None:
    x = torch.randn(10, 2)
    bad = x.clone()
    bad[3, 1] = math.nan
    for y, message in (
        (torch.randn(10, 3), r"shape \[N, d\] and \[M, d\]"),
        (torch.randn(10), r"shape \[N, d\] and \[M, d\]"),
        (torch.randn(0, 2), "at least 4 samples"),
        (torch.randn(3, 2), "at least 4 samples"),
        (bad, "y contains NaN or infinity"),
        (bad / 0, "y contains NaN or infinity"),
        (torch.zeros(10, 2, dtype=torch.long), "y must hold floating-point numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            wasserstein1(x, y)
    for arguments, message in (
        ({"held_out": 1.0}, "held_out must lie"),
        ({"confidence": 0.0}, "confidence must lie"),
        ({"diameter": -1.0}, "diameter must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            wasserstein1(x, x, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected positive width"):
        CriticFit(width=0)
