"""Modules that are not what they seem: each is bounded as it computes, or refused by name.

Every one was once proved to have a bound that it does not have. The truth is the norm of a dense
Jacobian in float64.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.models import Denoiser
from deepinv.physics import Denoising, GaussianNoise
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip import Frozen, LipschitzDenoiser, Tiled, certify
from pnp_lip.certifier import Contradiction, Refusal, lipschitz, local_rules, prove, register_rule
from pnp_lip.denoisers import Guard, Relaxed
from pnp_lip.layers import ConvGradientStep, GradientStep
from pnp_lip.networks import FreeWidthNetwork
from pnp_lip.networks.committee import Committee
from pnp_lip.solvers import ForwardBackward, HypothesisViolated
from pnp_lip.solvers.hypotheses import condition_violations


class Network(nn.Module):
    """A forward written as a function of the module and its input."""

    def __init__(self, function: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Levelled(Denoiser):
    """A denoiser written as a function of the module, its input and the noise level."""

    def __init__(self, function: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        return self.function(self, x, sigma)


def identity(channels: int = 2, factor: float = 1.0) -> nn.Conv2d:
    """``factor`` times the identity, as a convolution."""
    conv = nn.Conv2d(channels, channels, 1, bias=False)
    conv.weight.data = factor * torch.eye(channels)[..., None, None]
    return conv


def _leaky(inplace: bool = True) -> nn.Module:
    return nn.LeakyReLU(5.0, inplace=inplace)


def _returned(m: Any, x: Tensor) -> Tensor:
    y = m.c(x)
    m.act(y)
    return y


def _slice(m: Any, x: Tensor) -> Tensor:
    y = m.c(x)
    functional.leaky_relu_(y[:, :, ::2], 5.0)
    return y


def _view(m: Any, x: Tensor) -> Tensor:
    y = m.c(x)
    functional.elu_(y.view(-1), 7.0)
    return y


def _flattened(m: Any, x: Tensor) -> Tensor:
    y = m.c(x)
    v = y.flatten(1)
    m.act(y)
    return v


def _alias(m: Any, x: Tensor) -> Tensor:
    b = 1000 * torch.relu(m.c(x))
    z = y = m.c(x)
    z += b
    return y + z


def _padded(m: Any, x: Tensor) -> Tensor:
    if isinstance(x, Tensor) and x.shape[-1] % 8:
        return 7 * m.c(x)
    return m.c(x)


def _stale_kernel() -> nn.Module:
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    conv.weight.data = torch.ones(1, 1, 1, 1)
    return nn.Sequential(conv)


def _stale_padding() -> nn.Module:
    conv = nn.Conv2d(1, 1, 3, padding=3, padding_mode="circular", bias=False)
    conv.weight.data = torch.full((1, 1, 3, 3), 1 / 9)
    conv.padding = (1, 1)
    return nn.Sequential(conv)


def _stale_channels() -> nn.Module:
    conv = nn.Conv2d(8, 1, 1, bias=False)
    conv.weight.data.fill_(8**-0.5)
    conv.out_channels = 8
    return Network(lambda m, x: x + m.c(x), c=conv)


def _pruned() -> nn.Module:
    layer = nn.Linear(8, 8, bias=False)
    layer.weight = nn.Parameter(torch.full((1, 8), 8**-0.5))
    return Network(lambda m, x: x + m.l(x), l=layer)


def _hooked() -> nn.Module:
    conv = identity()
    conv.register_forward_hook(lambda module, args, out: 5 * out)
    return nn.Sequential(conv)


def _compiled() -> nn.Module:
    act = nn.ReLU()
    act._compiled_call_impl = lambda x: 5 * x
    return nn.Sequential(act)


def _after_pool() -> nn.Module:
    """The features of the input are compared after a pooling, where they are others."""
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(1, 4, bias=False)
    nn.init.eye_(first.weight)
    nn.init.ones_(second.weight)

    def forward(m: Any, x: Tensor) -> Tensor:
        p = functional.avg_pool2d(m.a(x), 4)
        return m.b(p) + p

    return Network(forward, a=first, b=second)


RIGHT: dict[str, Callable[[], nn.Module]] = {
    "in place and returned": lambda: Network(_returned, c=identity(), act=_leaky()),
    "in place on a slice": lambda: Network(_slice, c=identity()),
    "in place on a view": lambda: Network(_view, c=identity()),
    "alias": lambda: Network(_alias, c=identity()),
    "size behind a type check": lambda: Network(_padded, c=identity()),
    "stale kernel size": _stale_kernel,
    "stale padding": _stale_padding,
    "stale channels": _stale_channels,
    "pruned": _pruned,
    "hook": _hooked,
    "compiled call": _compiled,
    "batch of one": lambda: Network(lambda m, x: m.c(x) * (4 if len(x) == 1 else 1), c=identity()),
    "ripple": lambda: Network(lambda m, x: m.c(x) + 1e-4 * torch.sin(1e6 * m.c(x)), c=identity()),
    "relaxed and broadcast": lambda: Relaxed(
        Levelled(lambda m, x, s: m.c(x), c=_row_of_ones(3)), 0.999
    ),
    "level of its own": lambda: _Optional(identity()),
    "output size": lambda: Network(
        lambda m, x: m.a(x) + m.b(x, output_size=[2 * s + 1 for s in x.shape[2:]]),
        a=nn.ConvTranspose2d(1, 1, 3, stride=2, bias=False),
        b=nn.ConvTranspose2d(1, 1, 2, stride=2, bias=False),
    ),
}
SHAPES = {
    "stale kernel size": (1, 6, 6), "stale padding": (1, 6, 6), "stale channels": (8, 3, 3),
    "pruned": (8,), "relaxed and broadcast": (3, 3, 3),
    "output size": (1, 2, 2),
}  # fmt: skip


def _row_of_ones(channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, 1, 1, bias=False)
    conv.weight.data.fill_(channels**-0.5)
    return conv


class _Optional(nn.Module):
    """Computes something else if it is given a noise level."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.c = conv

    def forward(self, x: Tensor, sigma: Tensor | float | None = None) -> Tensor:
        out: Tensor = self.c(x) if sigma is None else 3 * self.c(x)
        return out


def _truth(network: nn.Module, shape: tuple[int, ...], *level: Any) -> float:
    """The largest norm of the Jacobian at a few inputs, negative ones among them."""
    found = 0.0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn((1, *shape), generator=generator, dtype=torch.float64)
        exact = network.double()
        jacobian = torch.func.jacrev(lambda image: exact(image, *level))(x)  # noqa: B023
        network.float()
        matrix = jacobian.reshape(-1, x.numel()).detach()
        found = max(found, float(torch.linalg.matrix_norm(matrix, 2)))
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_what_runs_is_what_is_bounded(name: str) -> None:
    torch.manual_seed(0)
    network = RIGHT[name]().eval()
    shape = SHAPES.get(name, (2, 4, 8))
    level = (0.1,) if isinstance(network, (Denoiser, _Optional)) else ()
    truth = _truth(network, shape, *level)
    statement = prove(network)
    assert truth <= statement.upper * (1 + 1e-6)
    if name not in ("alias", "ripple", "in place on a slice", "stale padding"):
        assert statement.upper <= 1.6 * truth


def test_what_is_repeated_only_at_some_sizes_is_refused() -> None:
    with pytest.raises(Refusal, match="may be repeated to fit the other"):
        prove(_after_pool(), example=torch.rand(1, 1, 4, 4))


def test_a_size_that_was_assumed_is_said() -> None:
    conditions = prove(Network(_padded, c=identity())).conditions
    assert any("W % 8" in one for one in conditions)


def _counting(m: Any, x: Tensor) -> Tensor:
    m.n += 1
    return m.n * m.c(x)


def _growing(m: Any, x: Tensor) -> Tensor:
    m.k *= 1.5
    return m.c(x) * m.k


def _restored(m: Any, x: Tensor) -> Tensor:
    m.c.weight.data.mul_(2.0)
    y = m.c(x)
    m.c.weight.data.div_(2.0)
    return y


def _restored_parameter(m: Any, x: Tensor) -> Tensor:
    m.p.mul_(7.0)
    y = m.c(x) * m.p
    m.p.div_(7.0)
    return y


def _into_buffer(m: Any, x: Tensor) -> Tensor:
    y = m.c(x)
    torch.mean(x, (0, 1, 2, 3), True, out=m.b)
    return y + m.b


def _average_in_buffer(m: Any, x: Tensor) -> Tensor:
    if isinstance(x, Tensor):
        m.k.mul_(0.9).add_(0.1 * x.mean())
    return m.c(x) * m.k


def _swallowed(m: Any, x: Tensor) -> Tensor:
    try:
        if x.abs().max() > 2:
            return 10 * m.c(x)
    except Exception:
        pass
    return m.c(x)


class _Random(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * (1 + torch.rand(()))


def _random_weight() -> nn.Module:
    conv = identity()
    nn.utils.parametrize.register_parametrization(conv, "weight", _Random(), unsafe=True)
    return nn.Sequential(conv).eval()


def _training_norm() -> nn.Module:
    conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 1, 3, padding=1))
    network = nn.Sequential(conv).eval()
    conv.parametrizations.weight.train()  # type: ignore[union-attr]
    return network


def _parts(**parts: Any) -> nn.Module:
    network: Any = Network(parts.pop("function"), **parts)
    network.register_buffer("k", torch.ones(()))
    network.p = nn.Parameter(torch.ones(2, 1, 1), requires_grad=False)
    network.b, network.n = torch.zeros(1, 1, 1, 1), 0
    return network


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "mode of inference": (
        lambda: Network(lambda m, x: 2 * x if torch.is_inference_mode_enabled() else x),
        "two answers",
    ),
    "tracked input": (lambda: Network(lambda m, x: 2 * x if x.requires_grad else x), "two answers"),
    "not a number where gradients are tracked": (
        lambda: Network(lambda m, x: x * float("nan") if x.requires_grad else x), "two answers",
    ),
    "rows in memory": (
        lambda: Network(lambda m, x: x if x.is_contiguous() else 2 * x), "two answers",
    ),
    "a view in some orders of memory": (
        lambda: Network(_flattened, c=identity(), act=_leaky()), "two answers",
    ),
    "strides": (
        lambda: Network(lambda m, x: x if x.stride(1) > 1 else 2 * x, c=nn.Conv2d(3, 3, 1)),
        "two answers",
    ),
    "buffer": (lambda: _parts(function=_growing, c=identity()), "changes 'k' in place"),
    "counter": (lambda: _parts(function=_counting, c=identity()), "two answers|changes attributes"),
    "average of the data": (
        lambda: _parts(function=_average_in_buffer, c=identity()), "changes 'k' in place",
    ),
    "weight and back": (lambda: _parts(function=_restored, c=identity()), "cannot be exported"),
    "parameter and back": (
        lambda: _parts(function=_restored_parameter, c=identity()), "changes 'p' in place",
    ),
    "into a tensor": (lambda: _parts(function=_into_buffer, c=identity()), "b is mutated"),
    "number decides": (
        lambda: Levelled(lambda m, x, s: 3 * x if isinstance(s, float) and s > 0.2 else x),
        "decides by the value of its noise level",
    ),
    "number scales": (
        lambda: Levelled(lambda m, x, s: x * (1 if isinstance(s, Tensor) else 10 * s)),
        "a factor that is not known",
    ),
    "tensor divides": (
        lambda: Levelled(
            lambda m, x, s: x / (s.view(-1, 1, 1, 1) + 0.1) if isinstance(s, Tensor) else x
        ),
        "a divisor that is not known",
    ),
    "values decide": (
        lambda: Network(lambda m, x: 10 * x if x.abs().max() > 2 else x), "decides by the values",
    ),
    "swallowed decision": (lambda: Network(_swallowed, c=identity()), "max.default.*has no rule"),
    "swallowed type": (
        lambda: Network(lambda m, x: 3 * m.c(x) if type(x) is Tensor else m.c(x), c=identity()),
        "does not compute what the module does",
    ),
    "bits": (
        lambda: Network(lambda m, x: m.c(x).view(torch.int32).float(), c=identity()), "view.dtype",
    ),
    "random of numpy": (
        lambda: Network(lambda m, x: m.c(x) * (100 if np.random.rand() < 0.05 else 1), c=identity()),
        "draws random numbers",
    ),
    "random of Python": (
        lambda: Network(lambda m, x: m.c(x) * (1 + random.random()), c=identity()),
        "draws random numbers",
    ),
    "random in place": (
        lambda: Network(lambda m, x: m.c(x) + torch.empty(x.shape).uniform_(), c=identity()),
        "draws random numbers",
    ),
    "random weight": (_random_weight, "draws random numbers"),
    "parametrisation that learns": (_training_norm, "in place"),
    "relaxed, in place": (
        lambda: Relaxed(Levelled(lambda m, x, s: functional.leaky_relu(x, 5.0, inplace=True)), 0.5),
        "changes 'x' in place",
    ),
    "guarded, in place": (
        lambda: Network(
            lambda m, x: m.g(x, 0.1) + x,
            g=Guard(Levelled(lambda m, x, s: functional.leaky_relu(x, 5.0, inplace=True))),
        ),
        "cannot be exported",
    ),
    "committee, in place": (
        lambda: Committee([_leaky(), nn.Identity()]), "changes 'x' in place",
    ),
    "result into a buffer": (
        lambda: Network(
            lambda m, x: torch.cat([m.t(x, 0.1, out=m.b), m.b], 1),
            t=Tiled(_small(), 8), b=torch.zeros(1, 1, 16, 24),
        ),
        "'t' is called with 'out'",
    ),
    "frozen step with a hook": (
        lambda: _frozen(lambda step: step.register_forward_hook(lambda m, a, o: 5 * o)),
        "'steps.0' has forward hooks",
    ),
    "frozen step with another method": (
        lambda: _frozen(lambda step: setattr(step, "_entrywise", lambda r: 100 * r)),
        "'steps.0' has its own '_entrywise'",
    ),
    "compiled layer": (lambda: _compiled_layer(), "has a compiled call"),
    "tiles of no size": (lambda: _tiled(-1), "expected tiles of at least one pixel"),
    "lift of another kind": (lambda: _confused("lift"), "'lift' is a GradientStep"),
    "readout of another kind": (lambda: _confused("readout"), "'readout' is a GradientStep"),
    "step of another kind": (lambda: _confused("steps"), "'steps.0' is a Linear"),
}  # fmt: skip


def _small() -> LipschitzDenoiser:
    torch.manual_seed(0)
    return LipschitzDenoiser(1, depth=1, nf=4, kernel_size=3, pretrained=None).eval()


def _frozen(edit: Callable[[Any], Any]) -> nn.Module:
    frozen = Frozen(_small(), 0.1)
    edit(frozen.steps[0])
    return frozen


def _tiled(tile: int) -> nn.Module:
    tiled = Tiled(_small(), 8)
    tiled.tile = tile
    return tiled


def _compiled_layer() -> nn.Module:
    denoiser = _small()
    denoiser.layers[0]._compiled_call_impl = lambda x, sigma: 5 * x
    return denoiser


def _confused(role: str) -> nn.Module:
    network: Any = FreeWidthNetwork(2, 4, 2, 1)
    if role == "steps":
        network.steps[0] = nn.Linear(4, 4)
    else:
        step = GradientStep(2, 4)
        step.weight.data.mul_(0.01)
        setattr(network, role, step)
    return network


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_map_of_its_input_is_refused_by_name(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(Refusal, match=message):
        prove(build())


def test_a_solver_refuses_a_size_for_which_nothing_is_proved() -> None:
    denoiser = Levelled(lambda m, x, s: _padded(m, x) / 2, c=identity(1))
    solver = ForwardBackward(denoiser, 0.1)
    physics = Denoising(GaussianNoise(0.1))
    with pytest.raises(HypothesisViolated, match=r"holds for images with .*W % 8"):
        solver.solve(torch.rand(1, 1, 16, 20), physics)
    assert solver.solve(torch.rand(1, 1, 16, 24), physics).plan.guaranteed


def test_a_solver_proves_a_denoiser_for_the_type_of_the_images_or_refuses() -> None:
    def typed(m: Any, x: Tensor, sigma: Any) -> Tensor:
        return x / 2 if x.dtype == torch.float64 else 3 * x

    physics = Denoising(GaussianNoise(0.1))
    y = torch.rand(1, 1, 16, 24)
    solver = ForwardBackward(Levelled(typed), 0.1)
    assert solver.solve(y.double(), physics).plan.guaranteed
    with pytest.raises(HypothesisViolated, match="another map in float64 than in float32"):
        solver.solve(y, physics)
    statement = replace(prove(Levelled(typed), example=y.double()), upper=1.0)
    (message,) = condition_violations(statement, tuple(y.shape), y.dtype)
    assert "images with dtype == float64, got torch.float32: convert" in message


def test_no_execution_error_is_stated_where_a_constant_is_added() -> None:
    shifted = Network(lambda m, x: x + 1e8)
    assert prove(shifted).execution is None
    assert prove(Network(lambda m, x: m.a(x), a=nn.ReLU())).execution is not None


def test_a_gain_above_the_bound_is_an_error_with_its_witness() -> None:
    class Doubled(nn.Conv2d):
        pass

    with local_rules():
        rule: Any = lambda module, name, settings: lipschitz("wrong", 0.5)  # noqa: E731
        register_rule(Doubled, keeps_shape=True)(rule)
        layer = Doubled(1, 1, 1, bias=False)
        layer.weight.data.fill_(2.0)
        with pytest.raises(Contradiction, match=r"0.5.*please report") as caught:
            certify(layer)
    assert caught.value.witness.gain == pytest.approx(2.0)


def test_a_plain_gradient_step_inside_a_network_stays_whole() -> None:
    step = ConvGradientStep(torch.randn(3, 1, 3, 3) / 9)
    network = Network(lambda m, x: 0.5 * m.s(x) + 0.5 * x, s=step)
    whole = prove(network)
    assert [leaf.name for leaf in whole.leaves()] == ["s"]
    step.register_forward_hook(lambda module, args, out: 5 * out)
    inside = prove(network)  # the exporter runs the hook, and looks inside
    assert "s" not in [leaf.name for leaf in inside.leaves()]
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    jacobian = torch.func.jacrev(network.double())(x).reshape(36, 36)
    assert 1.5 < float(torch.linalg.matrix_norm(jacobian.detach(), 2)) <= inside.upper


def test_a_cast_that_is_a_view_in_float64_alone_is_refused() -> None:
    """In float32 the cast copies and the map is the identity; in float64 it doubles negative entries."""

    class Casts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            nn.functional.leaky_relu(y.to(torch.float64).to(x.dtype)[:, :1], 2.0, inplace=True)
            return y

    x = -torch.rand(1, 2, 4, 4)
    assert torch.equal(Casts()(x), x)
    assert not torch.equal(Casts()(x.double()), x.double())
    with pytest.raises(Refusal, match="another map in float64 than in float32"):
        prove(Casts(), example=x)
