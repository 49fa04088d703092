"""The slope of a learned spline is bounded by the largest slope it has learned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp_lip.certifier import prove
from pnp_lip.certifier.slopes import logistic_up
from pnp_lip.layers import ConvGradientStep, MonotoneSpline

flint = pytest.importorskip("flint")


@given(t=st.floats(-2e6, 2e6))
def test_the_logistic_bound_is_above_the_exact_value(t: float) -> None:
    flint.ctx.prec = 200
    exact = 1 / (1 + (-flint.arb(t)).exp())
    bound = flint.arb(logistic_up(t))
    assert bool(bound >= exact) or logistic_up(t) == 1.0
    if abs(t) < 20:
        assert bool(bound <= exact * (1 + 1e-3))


def test_a_flat_spline_makes_a_longer_step_admissible() -> None:
    torch.manual_seed(0)
    spline = MonotoneSpline(4)
    spline.logits.data.fill_(-1.0)
    step = ConvGradientStep(3 * torch.randn(4, 1, 3, 3), spline)
    steep = ConvGradientStep(step.weight.detach())
    assert prove(step).upper > 1
    # Beyond nonexpansiveness the bound is tau |W|^2 slope - 1.
    ratio = (prove(step).upper + 1) / (prove(steep).upper + 1)
    assert ratio == pytest.approx(logistic_up(-1.0), rel=1e-6)


def test_the_slope_of_the_steepest_piece_counts() -> None:
    spline = MonotoneSpline(2)
    spline.logits.data.fill_(-5.0)
    spline.logits.data[1, 3] = 2.0
    upper = prove(spline).upper
    t = torch.linspace(-1.5, 1.5, 3001, dtype=torch.float64).reshape(1, 1, -1).repeat(1, 2, 1)
    values = spline.double()(t)
    steepest = float((values.diff(dim=2) / t.diff(dim=2)).max())
    assert steepest <= upper * (1 + 1e-9)
    assert upper == pytest.approx(steepest, rel=1e-4)
