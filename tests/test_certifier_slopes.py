"""Every declared slope holds and is nearly attained; learned ones are those that were learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, prove
from pnp_lip.certifier.layer_rules import _SLOPES, slope_interval
from pnp_lip.certifier.operators import OPERATORS
from pnp_lip.certifier.operators.entrywise import SLOPES
from pnp_lip.layers import Clip, NoiseClip, ReLU


def _modules() -> dict[type[nn.Module], nn.Module]:
    """One of each class with a declared slope, not with default arguments where there are some."""
    torch.manual_seed(0)
    clip = NoiseClip(1, (0.1, 0.5), (1.0, 0.3))
    nn.init.normal_(clip.logits)
    return {
        ReLU: ReLU(), Clip: Clip(1, 0.7), NoiseClip: clip,
        nn.Softsign: nn.Softsign(), nn.Tanhshrink: nn.Tanhshrink(),
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_SLOPES, key=str))
def test_every_declared_slope_of_a_module_holds_and_is_nearly_attained(kind: type) -> None:
    module = _modules()[kind].double()
    low, high = slope_interval(module, "")
    t = torch.arange(-40, 40, 1e-3, dtype=torch.float64)[None, None]
    with torch.no_grad():
        level = [torch.tensor([0.3]).double()] if isinstance(module, NoiseClip) else []
        slopes = (module(t, *level).diff() / t.diff()).flatten()
    _require_tight(slopes, low, high)


def _require_tight(slopes: Tensor, low: float, high: float) -> None:
    assert low - 1e-7 <= float(slopes.min())
    assert float(slopes.max()) <= high + 1e-7
    assert low in (0.0, 1.0) or float(slopes.min()) <= low + 0.01
    assert float(slopes.max()) >= high - 0.02


#: Other arguments than the defaults, for operators that have some.
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{"negative_slope": 2.5}, {"negative_slope": -0.5}, {}],
    "elu": [{"alpha": 2.0}, {"alpha": 0.3, "scale": 1.7, "input_scale": 2.0}, {"alpha": -1.0}, {}],
    "celu": [{"alpha": 0.4}, {"alpha": 3.0}, {}],
    "gelu": [{"approximate": "tanh"}, {"approximate": "none"}, {}],
    "softplus": [{"beta": 2.0, "threshold": 30.0}, {}],
    "hardtanh": [{"min_val": -3.0, "max_val": 0.5}, {}],
    "softshrink": [{"lambd": 1.5}, {}],
}


@pytest.mark.parametrize("operator", sorted(SLOPES, key=str), ids=str)
def test_every_declared_slope_of_an_operator_holds_and_is_nearly_attained(operator: Any) -> None:
    t = torch.arange(-40, 40, 1e-3, dtype=torch.float64)
    for arguments in ARGUMENTS.get(str(operator).split(".")[1], [{}]):
        positional = [arguments[key] for key in arguments if key != "approximate"]
        keywords = {key: value for key, value in arguments.items() if key == "approximate"}
        low, high = SLOPES[operator](**arguments)
        _require_tight(operator(t, *positional, **keywords).diff() / t.diff(), low, high)


def test_declared_operators_are_those_that_have_rules() -> None:
    assert set(SLOPES) <= set(OPERATORS)


@pytest.mark.parametrize(
    ("operator", "arguments", "reason"),
    [
        (torch.ops.aten.celu.default, {"alpha": -1.0}, "grows without limit"),
        (torch.ops.aten.elu.default, {"input_scale": -1.0}, "grows without limit"),
        (torch.ops.aten.softshrink.default, {"lambd": -1.0}, "jumps at 0"),
        (torch.ops.aten.softplus.default, {"beta": -1.0}, "expected beta > 0"),
        (torch.ops.aten.softplus.default, {"threshold": 1.0}, "threshold >= 15"),
        (torch.ops.aten.gelu.default, {"approximate": "sigmoid"}, "approximate='sigmoid'"),
    ],
)
def test_arguments_without_a_finite_slope_are_refused(
    operator: Any, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refusal, match=reason):
        SLOPES[operator](**arguments)


@pytest.mark.parametrize("seed", range(4))
def test_prelu_counts_every_learned_slope(seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.PReLU(3)
    layer.weight.data = 3 * torch.randn(3)
    t = torch.tensor([-1.0, 0.0, 1.0]).repeat(1, 3, 1)
    slopes = layer(t).detach().diff()
    assert prove(layer).upper == pytest.approx(float(slopes.abs().max()), rel=1e-6)
    assert prove(layer).upper >= float(slopes.abs().max().double())


@pytest.mark.parametrize("seed", range(4))
def test_batch_norm_counts_variance_eps_and_sign(seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.BatchNorm2d(3, eps=0.3).eval()
    layer.weight.data = torch.randn(3)
    layer.running_var = torch.rand(3) + 0.1
    exact = (layer.weight.double() / (layer.running_var.double() + 0.3).sqrt()).detach()
    statement = prove(layer)
    assert float(exact.abs().max()) <= statement.upper
    assert statement.upper == pytest.approx(float(exact.abs().max()), rel=1e-12)
    if statement.averagedness is not None:
        assert statement.averagedness == pytest.approx((1 - float(exact.min())) / 2, rel=1e-12)
