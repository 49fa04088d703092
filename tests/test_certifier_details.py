"""Details of statements that a smaller proof would lose, and of what has none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pnp_lip.certifier import (
    Refusal,
    Settings,
    Statement,
    lipschitz,
    local_rules,
    prove,
    register_rule,
)
from pnp_lip.certifier.execution import sizes_of
from pnp_lip.certifier.rules import keeps_shape
from pnp_lip.layers import ConvGradientStep


class Plain(nn.Module):
    """A function of an image, under a name of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -1)


@pytest.mark.parametrize("entries", [(3.0,), (-2.0, 1.0)])
def test_the_size_of_a_layer_is_bounded_by_its_rows_and_columns(entries: tuple[float, ...]) -> None:
    weight = torch.tensor(entries).reshape(-1, 1, 1)
    absolute, bias, terms = sizes_of(weight, torch.tensor([3.0, 4.0]))
    # |A|^2 <= |A|_1 |A|_inf, here the sum of the sizes times the largest.
    bound = (sum(map(abs, entries)) * max(map(abs, entries))) ** 0.5
    assert bound <= absolute <= bound * (1 + 1e-8)
    assert 5.0 <= bias <= 5.0 * (1 + 1e-8)
    assert terms == (1, len(entries))


@pytest.mark.parametrize(("dtype", "stated"), [(torch.float32, True), (torch.float64, False)])
def test_an_error_of_execution_is_stated_of_a_step_in_float32_alone(
    dtype: torch.dtype, stated: bool
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 1, 3, 3) / 4
    step = ConvGradientStep(weight).to(dtype)
    assert (prove(step).execution is not None) == stated


def test_a_class_keeps_shapes_only_if_its_rule_says_so() -> None:
    assert not keeps_shape(Plain())
    for kept in (False, True):
        with local_rules():
            register_rule(Plain, keeps_shape=kept)(
                lambda module, name, settings: lipschitz("turns", 1.0)
            )
            assert keeps_shape(Plain()) == kept


def test_a_refusal_names_the_path_of_the_layer_that_called() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 1, 3), nn.InstanceNorm2d(1))
    network = nn.Sequential(nn.ReLU(), inner)
    with pytest.raises(Refusal, match=r"in '1\.1' of"):
        prove(network)
    assert [part.name for part in prove(inner[:1]).parts] == ["0"]


def test_the_norm_of_a_mean_over_windows_keeps_its_proof() -> None:
    (pool,) = prove(nn.Sequential(nn.AvgPool2d(2, 1))).parts
    assert pool.bound is not None
    assert pool.bound.lower <= 4 <= pool.bound.upper
    assert pool.upper == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.75])
def test_a_mixture_with_the_identity_is_averaged_by_the_weight_of_the_rest(weight: float) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Plain()

        def forward(self, x: Tensor) -> Tensor:
            return (1 - weight) * x + weight * self.inner(x)

    with local_rules():
        register_rule(Plain, keeps_shape=True)(
            lambda module, name, settings: lipschitz("turns", 1.0)
        )
        found = prove(Half())
    assert found.upper == pytest.approx(1)
    assert found.averagedness == pytest.approx(weight)


def test_conditions_of_a_part_are_kept_where_its_result_stands_beside_another() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Plain()

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.part(x), x], 1)

    with local_rules():

        @register_rule(Plain, keeps_shape=True)
        def _even(module: nn.Module, name: str, settings: Settings) -> Statement:
            return replace(lipschitz("even", 1.0), conditions=("W % 2 == 0",))

        assert "W % 2 == 0" in prove(Beside(), example=torch.rand(1, 1, 8, 8)).conditions


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_the_first_of_several_results_is_added_in_its_own_shape(gain: float) -> None:
    """Batch norm as an operator returns the images, means and deviations."""
    scale, mean, variance = gain * torch.ones(2), torch.zeros(2), torch.ones(2)

    class Normed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found = torch.native_batch_norm(x, scale, None, mean, variance, False, 0.1, 0.0)
            return found[0] + x

    upper = prove(Normed(), example=torch.rand(1, 2, 4, 4)).upper
    assert gain + 1 <= upper <= (gain + 1) * (1 + 1e-9)
