"""Networks bounded through their graph, against dense Jacobians; and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from deepinv.models import DnCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from pnp_lip.certifier import (
    Operation,
    Refusal,
    Settings,
    Statement,
    admits,
    digest,
    lipschitz,
    local_rules,
    prove,
    register_operator,
    register_rule,
)
from pnp_lip.layers import ConvGradientStep


class Network(nn.Module):
    """A forward written as a function of the module and its input."""

    def __init__(self, function: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def _conv(c_in: int = 2, c_out: int = 2, k: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, k, padding=k // 2, **options)  # type: ignore[arg-type]


def _jacobian(network: nn.Module, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((1, *shape), generator=generator, dtype=torch.float64)
    jacobian = torch.func.jacrev(network.double())(x)
    network.float()
    return jacobian.reshape(-1, x.numel())


def _norm(network: nn.Module, *shape: int, seed: int = 0) -> float:
    return float(torch.linalg.matrix_norm(_jacobian(network, *shape, seed=seed).detach(), 2))


def _require_bound(network: nn.Module, *shape: int, loose: float = math.inf) -> Statement:
    """The bound holds at random inputs, and is at most ``loose`` times the largest norm there."""
    statement = prove(network)
    largest = max(_norm(network, *shape, seed=seed) for seed in range(3))
    assert largest <= statement.upper * (1 + 1e-9)
    assert statement.upper <= loose * largest
    if statement.averagedness is not None:
        alpha = statement.averagedness
        for seed in range(3):
            matrix = _jacobian(network, *shape, seed=seed)
            eye = torch.eye(len(matrix), dtype=torch.float64)
            if matrix.shape[0] == matrix.shape[1] and alpha > 0:
                shifted = (matrix - (1 - alpha) * eye) / alpha
                assert torch.linalg.matrix_norm(shifted, 2) <= 1 + 1e-9
    return statement


_MASK = torch.tensor([True, False])[:, None, None]


def _filled(m: Any, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, :1] = m.a(x)[:, 1:]
    return out


class _Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.3))
        self.c = _conv()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.a) * self.c(x)


class _WithLevel(nn.Module):
    """Takes a number or a tensor, and has a default."""

    def __init__(self) -> None:
        super().__init__()
        self.c = _conv(3, 2)

    def forward(self, x: Tensor, sigma: float | Tensor = 0.1) -> Tensor:
        if isinstance(sigma, (int, float)):
            sigma = torch.full((len(x),), sigma, dtype=x.dtype)
        level = sigma.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return x - self.c(torch.cat([x, level], 1))


class _Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = _conv(1, 2), _conv(2, 4)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.last = _conv(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.first(x))
        b = torch.relu(self.middle(functional.max_pool2d(a, 2)))
        return x - self.last(torch.cat([a, self.up(b)], 1))


CASES: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "residual": lambda: (Network(lambda m, x: x + m.c(torch.relu(m.c(x))), c=_conv()), (2, 5, 6)),
    "difference": lambda: (Network(lambda m, x: x - 0.5 * m.c(x), c=_conv()), (2, 5, 6)),
    "concatenation": lambda: (
        Network(lambda m, x: torch.cat([x, m.a(x), -x], 1), a=_conv()),
        (2, 5, 6),
    ),
    "maximum": lambda: (
        Network(lambda m, x: torch.maximum(m.a(x), m.b(x)), a=_conv(), b=_conv()),
        (2, 5, 6),
    ),
    "dense skip": lambda: (
        Network(lambda m, x: m.b(torch.cat([x, functional.relu(m.a(x))], 1)) + x,
                a=_conv(), b=_conv(4, 2)),
        (2, 5, 6),
    ),
    "down and up": lambda: (
        Network(lambda m, x: x + m.up(torch.tanh(m.down(x))) / 4,
                down=nn.Conv2d(1, 3, 2, stride=2), up=nn.ConvTranspose2d(3, 1, 2, stride=2)),
        (1, 6, 6),
    ),
    "shuffled": lambda: (
        Network(lambda m, x: functional.pixel_shuffle(m.c(functional.pixel_unshuffle(x, 2)), 2),
                c=_conv(4, 4)),
        (1, 6, 6),
    ),
    "average pool": lambda: (nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1)), (1, 8, 8)),
    "strided pool": lambda: (nn.Sequential(nn.AvgPool2d(3, stride=2)), (1, 9, 9)),
    "max pool": lambda: (Network(lambda m, x: functional.max_pool2d(x, 3, stride=2)), (1, 9, 9)),
    "nearest": lambda: (nn.Sequential(nn.Upsample(scale_factor=(2, 3))), (1, 4, 4)),
    "interpolation": lambda: (
        Network(lambda m, x: functional.interpolate(x, scale_factor=2)), (1, 4, 4)
    ),
    "circular pad": lambda: (nn.Sequential(nn.CircularPad2d(2)), (1, 4, 4)),
    "reflection pad": lambda: (nn.Sequential(nn.ReflectionPad2d((1, 2, 2, 1))), (1, 4, 4)),
    "zero pad": lambda: (Network(lambda m, x: functional.pad(x, (1, 2))), (1, 4, 4)),
    "mean": lambda: (Network(lambda m, x: x.mean((2, 3))), (2, 4, 4)),
    "slice": lambda: (Network(lambda m, x: x[:, :1] * 3), (2, 4, 4)),
    "chunks": lambda: (
        Network(lambda m, x: torch.cat([2 * torch.chunk(x, 2, 1)[0], x], 1)),
        (2, 4, 4),
    ),
    "convex": lambda: (
        Network(lambda m, x: x + 0.25 * (m.c(x) - x),
                c=ConvGradientStep(torch.randn(3, 1, 3, 3) / 9)),
        (1, 5, 5),
    ),
    "affine": lambda: (nn.Sequential(_conv(), nn.BatchNorm2d(2).eval(), nn.GELU()), (2, 5, 5)),
    "subclass": lambda: (_TenTimes(), (2, 4, 4)),
    "hook": lambda: (nn.Sequential(_hooked()), (2, 4, 4)),
    "forward of the instance": lambda: (nn.Sequential(_replaced()), (2, 4, 4)),
    "type check": lambda: (_Typed(), (2, 4, 4)),
    "broadcast": lambda: (
        Network(lambda m, x: m.a(x) + m.b(x), a=_conv(2, 1), b=_conv(2, 8)), (2, 4, 5),
    ),
    "broadcast to a constant": lambda: (
        Network(lambda m, x: m.a(x) + torch.ones(8, 1, 1), a=_conv(1, 1)), (1, 4, 5),
    ),
    "ceiling": lambda: (nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True)), (1, 6, 7)),
    "border average": lambda: (
        nn.Sequential(nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)), (1, 5, 6),
    ),
    "bilinear": lambda: (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 4, 5)),
    "bilinear by three": lambda: (nn.Upsample(scale_factor=3, mode="bilinear"), (1, 3, 3)),
    "aligned": lambda: (
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), (1, 3, 4),
    ),
    "bilinear halving": lambda: (
        Network(lambda m, x: functional.interpolate(x, scale_factor=0.5, mode="bilinear")),
        (1, 6, 6),
    ),
    "area": lambda: (
        Network(lambda m, x: functional.interpolate(x, scale_factor=0.5, mode="area")), (1, 6, 6),
    ),
    "exact nearest": lambda: (nn.Upsample(scale_factor=3, mode="nearest-exact"), (1, 3, 3)),
    "adaptive": lambda: (nn.AdaptiveAvgPool2d(3), (1, 5, 7)),
    "adaptive maximum": lambda: (nn.AdaptiveMaxPool2d(3), (1, 5, 7)),
    "clamped by tensors": lambda: (
        Network(lambda m, x: torch.clamp(x, max=torch.ones(()))), (2, 3, 3),
    ),
    "sum of channels": lambda: (Network(lambda m, x: m.a(x).sum(1), a=_conv(2, 3)), (2, 4, 4)),
    "softmax": lambda: (Network(lambda m, x: torch.softmax(5 * x, 1)), (3, 2, 2)),
    "roll, flip and turn": lambda: (
        Network(lambda m, x: x.roll(1, 2).flip(3).rot90(1, (2, 3)).transpose(2, 3) + x), (1, 4, 4),
    ),
    "repeated": lambda: (Network(lambda m, x: x.repeat(1, 3, 1, 1)), (1, 3, 4)),
    "expanded": lambda: (Network(lambda m, x: m.a(x).expand(-1, 5, -1, -1), a=_conv(2, 1)), (2, 3, 4)),
    "gate": lambda: (_Gate(), (2, 4, 4)),
    "masked": lambda: (
        Network(lambda m, x: torch.where(_MASK, m.a(x), 0.5 * x), a=_conv()), (2, 2, 3),
    ),
    "interpolated": lambda: (Network(lambda m, x: torch.lerp(x, m.a(x), 0.3), a=_conv()), (2, 4, 4)),
    "U-Net": lambda: (_Unet(), (1, 8, 8)),
    "constant pad": lambda: (nn.Sequential(nn.ConstantPad2d((1, 0, 2, 1), 3.0), _conv(1, 1)), (1, 4, 4)),
    "reflected convolution": lambda: (
        nn.Sequential(_conv(1, 2, 3, padding_mode="reflect")), (1, 5, 5),
    ),
    "circular convolution": lambda: (nn.Sequential(_conv(1, 2, 3, padding_mode="circular")), (1, 5, 5)),
    "half precision": lambda: (Network(lambda m, x: m.a(x).half().to(x.dtype), a=_conv()), (2, 4, 4)),
    "filled tensor": lambda: (Network(_filled, a=_conv()), (2, 4, 4)),
    "largest channel": lambda: (Network(lambda m, x: m.a(x).max(1).values, a=_conv()), (2, 4, 4)),
    "noise level": lambda: (_WithLevel(), (2, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_exported_bound_is_above_every_jacobian(name: str) -> None:
    torch.manual_seed(0)
    network, shape = CASES[name]()
    _require_bound(network.eval(), *shape)


@pytest.mark.parametrize(
    ("name", "loose"),
    [("average pool", 1.2), ("strided pool", 1.1), ("nearest", 1.001), ("slice", 1.001),
     ("circular pad", 1.51), ("max pool", 2.01)],
)  # fmt: skip
def test_a_bound_without_weights_is_close_to_the_norm(name: str, loose: float) -> None:
    network, shape = CASES[name]()
    _require_bound(network, *shape, loose=loose)


@given(st.integers(0, 10**6), st.lists(st.sampled_from("+-c2m"), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None)
def test_random_linear_graphs_are_bounded_by_their_dense_matrix(seed: int, plan: list[str]) -> None:
    torch.manual_seed(seed)

    def forward(m: Any, x: Tensor) -> Tensor:
        values = [x, m.a(x)]
        for index, operation in enumerate(plan):
            first, second = values[-1], values[index % len(values)]
            if operation == "+":
                values.append(first + 0.5 * second)
            elif operation == "-":
                values.append(second - first)
            elif operation == "c":
                values.append(m.b(torch.cat([first, second], 1)))
            elif operation == "2":
                values.append(m.a(first) / 2)
            else:
                values.append(0.25 * m.a(second) + 0.75 * second)
        return values[-1]

    _require_bound(Network(forward, a=_conv(), b=_conv(4, 2)), 2, 4, 4)


def test_the_identity_branch_counts() -> None:
    network = Network(lambda m, x: x + m.c(x), c=_conv(1, 1, 1, bias=False))
    with torch.no_grad():
        network.c.weight.fill_(1.0)  # type: ignore[union-attr, operator]
    assert prove(network).upper == pytest.approx(2.0, rel=2e-3)
    assert prove(network).upper >= 2


def test_a_chain_of_convex_combinations_stays_averaged() -> None:
    step = ConvGradientStep(torch.randn(3, 1, 3, 3) / 9)
    block = Network(lambda m, x: 0.5 * x + 0.5 * m.c(x), c=step)
    alpha = prove(step).averagedness
    twice = prove(Network(lambda m, x: m.d(m.c(x)), c=block, d=block)).averagedness
    assert alpha is not None
    odds = 2 * (alpha / 2) / (1 - alpha / 2)
    assert twice == pytest.approx(odds / (1 + odds), rel=1e-12)


def test_a_layer_applied_twice_is_bounded_twice() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(2 * torch.eye(2))
    assert prove(nn.Sequential(layer, layer)).upper >= 4


def test_deep_residual_networks_do_not_repeat_their_trunk() -> None:
    blocks = [Network(lambda m, x: x + m.c(x), c=_conv()) for _ in range(12)]
    assert len(prove(nn.Sequential(*blocks)).leaves()) == 12


def test_deepinv_dncnn_is_bounded_through_its_graph() -> None:
    network = DnCNN(1, 1, depth=4, nf=4, pretrained=None)
    statement = prove(network)
    names = [leaf.name for leaf in statement.leaves() if leaf.bound is not None]
    assert names == ["in_conv", "conv_list.0", "conv_list.1", "out_conv"]
    norms = [leaf.upper for leaf in statement.leaves()]
    assert statement.upper == pytest.approx(1 + math.prod(norms), rel=1e-9)


def test_a_parametrised_layer_is_bounded_with_the_weight_that_acts() -> None:
    class Triple(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 3 * weight

    layer = _conv(1, 1).eval()
    before = prove(layer).upper
    parametrize.register_parametrization(layer, "weight", Triple())
    assert prove(layer.eval()).upper == pytest.approx(3 * before, rel=2e-3)


class _Doubling(nn.Module):
    """Not traceable: converts to numpy."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.detach().numpy())


def test_a_registered_rule_bounds_a_layer_of_ones_own_until_it_is_undone() -> None:
    class Own(_Doubling):
        pass

    network = Network(lambda m, x: x + m.o(x), o=Own())
    with local_rules():

        @register_rule(Own, keeps_shape=True)
        def _own(module: nn.Module, name: str, settings: Settings) -> Statement:
            return lipschitz("doubling", 2.0)

        assert prove(network).upper == 3.0
    with pytest.raises(Refusal, match="cannot be exported"):
        prove(network)


def test_a_registered_operator_rule_bounds_a_call_until_it_is_undone() -> None:
    network = Network(lambda m, x: x + torch.tan(x) / 2)
    with local_rules():

        @register_operator(torch.ops.aten.tan.default)
        def _tangent(op: Operation, x: Any) -> Any:
            return op.entrywise(x, -1.0, 1.0)

        assert prove(network).upper == 1.5
    with pytest.raises(Refusal, match=r"'tan' .*register_operator"):
        prove(network)


def test_an_argument_that_no_rule_names_is_refused() -> None:
    class Own(nn.Module):
        def forward(self, x: Tensor, out: Tensor | None = None, level: float = 0.0) -> Tensor:
            return x + level

    network = Network(lambda m, x: m.o(x, out=m.b), o=Own())
    network.register_buffer("b", torch.zeros(1))
    with local_rules():
        rule: Any = lambda module, name, settings: lipschitz("shift", 1.0)  # noqa: E731
        register_rule(Own, keeps_shape=True, arguments=("level",))(rule)
        with pytest.raises(Refusal, match="'o' is called with 'out'"):
            prove(network)
        assert prove(Network(lambda m, x: m.o(x, level=3.0) + x, o=Own())).upper == 2.0


class _TenTimes(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return 10 * super().forward(x)


def _hooked() -> nn.Module:
    layer = nn.ReLU()
    layer.register_forward_hook(lambda module, args, out: 10 * out)
    return layer


def _replaced() -> nn.Module:
    layer = nn.ReLU()
    layer.forward = lambda x: 10 * x  # type: ignore[method-assign, assignment]
    return layer


def _infinite() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = math.inf
    return layer


class _Typed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 5 * x if isinstance(x, Tensor) else x


def _increment(m: nn.Module, x: Tensor) -> Tensor:
    y = x
    x += 1.0
    return x + y


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "decision": (
        lambda: Network(lambda m, x: x if x.sum() > 0 else -x),
        "decides by the values of its input.*register_rule",
    ),
    "function": (
        lambda: Network(lambda m, x: torch.exp(x)),
        r"'exp' \(aten.exp.default\) .*has no rule; .*register_operator",
    ),
    "module": (lambda: Network(lambda m, x: m.g(x), g=nn.GroupNorm(1, 2)), "'g' .*normalises by"),
    "product": (lambda: Network(lambda m, x: x * x), "multiplies tensors that depend"),
    "quotient": (lambda: Network(lambda m, x: x / (1 + x.flip(1).abs())), "divisor that depends"),
    "reciprocal": (lambda: Network(lambda m, x: 1 / x), "reciprocal.*has no rule"),
    "rounding": (
        lambda: Network(lambda m, x: torch.div(x, 0.4, rounding_mode="floor")),
        "div.Tensor_mode.*has no rule",
    ),
    "shrinking": (lambda: Network(lambda m, x: x + m.a(x), a=nn.Conv2d(2, 2, 3)), "size of tensor"),
    "gather": (
        lambda: Network(lambda m, x: x.gather(1, torch.zeros_like(x, dtype=torch.long))),
        "may repeat entries",
    ),
    "mask": (lambda: Network(lambda m, x: torch.where(x > 0, x, 5 * x)), "gt.*jumps"),
    "sum over pixels": (lambda: Network(lambda m, x: x.sum((2, 3))), "a side of unknown length"),
    "one number to every pixel": (
        lambda: Network(lambda m, x: x + x.mean((2, 3), keepdim=True)),
        "once for every pixel",
    ),
    "random": (lambda: Network(lambda m, x: x + torch.randn(())), "draws random numbers"),
    "in place": (
        lambda: Network(lambda m, x: x - m.r(x), r=nn.ReLU(inplace=True)),
        "changes 'x' in place",
    ),
    "view in place": (
        lambda: Network(lambda m, x: x - torch.relu_(x.view(-1)).view(x.shape)),
        "changes 'x' in place",
    ),
    "numpy": (lambda: Network(lambda m, x: m.d(x), d=_Doubling()), "cannot be exported"),
    "training dropout": (lambda: nn.Sequential(nn.Dropout(0.5)), r"drops entries .*call eval\(\)"),
    "training norm": (lambda: nn.Sequential(nn.BatchNorm2d(2)), "running_mean.* in place"),
    "training parametrisation": (
        lambda: nn.utils.parametrizations.spectral_norm(_conv()),
        r"changes 'parametrizations.weight.0._u'.* in place",
    ),
    "hooked activation": (
        lambda: ConvGradientStep(torch.ones(1, 1, 3, 3), _hooked()),  # type: ignore[arg-type]
        "'activation' has forward hooks",
    ),
    "infinity": (lambda: nn.Sequential(_infinite()), "'0.weight' contains NaN or infinity"),
    "meta": (lambda: nn.Linear(2, 2, device="meta"), "meta device, without values"),
    "no slope": (lambda: nn.PReLU(0), "no slope|cannot be exported"),
    "indices": (lambda: nn.MaxPool2d(2, return_indices=True), "returns a tuple"),
    "bounds of the input": (
        lambda: Network(lambda m, x: torch.clamp(x, max=x.mean())),
        "that depends on the input",
    ),
    "place of the largest": (
        lambda: Network(lambda m, x: x + x.max(1, keepdim=True).indices), "where a maximum .* jumps",
    ),
    "threshold": (lambda: nn.Threshold(0.1, 20.0), "jumps"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_proved_is_refused_with_its_name(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(Refusal, match=message):
        prove(build())


def test_the_sizes_that_a_network_takes_are_part_of_the_statement() -> None:
    assert prove(nn.ReLU()).conditions == ("H >= 2", "W >= 2", "dtype == float32")
    conditions = prove(_Unet()).conditions
    assert "C == 1" in conditions
    assert any("2*(H // 2)" in one and "== H" in one for one in conditions)
    assert prove(ConvGradientStep(torch.ones(1, 1, 3, 3) / 9)).conditions == ()


@pytest.mark.parametrize(
    ("conditions", "shape", "met"),
    [
        (("H % 4 == 0", "W >= 2"), (1, 1, 8, 2), True),
        (("H % 4 == 0", "W >= 2"), (1, 1, 6, 2), False),
        (("(2*(H // 2)) == H", "((-2) + W) != 1"), (2, 3, 4, 3), False),
        (("W != (W*torch.sym_max(1, (1 + H) // 2))",), (1, 1, 3, 5), True),
        (("F == 8",), (8,), True),
        (("math.trunc(0.5*torch.sym_float(H)) >= 2",), (1, 1, 5, 5), True),
        ((), (1, 1, 1, 1), True),
    ],
)
def test_conditions_are_read_for_a_shape(
    conditions: tuple[str, ...], shape: tuple[int, ...], met: bool
) -> None:
    assert admits(conditions, shape) == met


@pytest.mark.parametrize(
    "text", ["__import__('os')", "H.__class__ == 1", "torch.load == 1", "Z == 1"]
)
def test_a_condition_that_compares_no_sizes_is_not_run(text: str) -> None:
    with pytest.raises(ValueError, match="expected a comparison of sizes"):
        admits((text,), (1, 1, 4, 4))


def test_a_network_of_one_size_is_proved_for_that_size() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        _conv(), Network(lambda m, x: m.l(x.relu().flatten(1)), l=nn.Linear(32, 3))
    )
    with pytest.raises(Refusal, match="pass an input it takes with example="):
        prove(network)
    with pytest.raises(ValueError, match=r"does not take the example of shape \(1, 1, 4, 4\)"):
        prove(network, example=torch.rand(1, 1, 4, 4))
    statement = prove(network, example=torch.rand(1, 2, 4, 4))
    assert _norm(network, 2, 4, 4) <= statement.upper
    assert "(2*W*H) == 32" in statement.conditions


def test_a_network_that_takes_no_symbolic_sizes_is_proved_for_the_size_it_was_tried_on() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        if not all(type(side) is int for side in x.shape):
            raise TypeError("expected whole numbers")
        return 2 * m.a(x)

    statement = prove(Network(forward, a=_conv()), example=torch.rand(1, 2, 6, 7))
    assert {"H == 6", "W == 7"} <= set(statement.conditions)
    assert not admits(statement.conditions, (1, 2, 6, 8))


def test_a_network_of_three_images_at_once_says_nothing_of_one_and_is_refused() -> None:
    class Joint(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.unflatten(0, (3, 1)).sum(1)

    with pytest.raises(Refusal, match="takes 3 images at once, neither one nor another number"):
        prove(Joint(), example=torch.rand(3, 1, 4, 4))


def test_exporting_leaves_the_module_as_it_was() -> None:
    network = Network(lambda m, x: x + torch.ones(()) + m.c(x), c=_conv())
    network.s = ConvGradientStep(torch.ones(1, 1, 3, 3))
    before = digest(network)
    prove(network)
    assert digest(network) == before


def test_a_gradient_flow_written_with_plain_operators_is_recognised() -> None:
    torch.manual_seed(0)

    class Flow(nn.Module):
        def __init__(self, tau: float, **options: Any) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 2, 3, 3))
            self.b = nn.Parameter(torch.randn(4))
            self.options, self.tau = options, tau

        def forward(self, x: Tensor) -> Tensor:
            z = functional.relu(functional.conv2d(x, self.w, self.b, **self.options))
            return x - self.tau * functional.conv_transpose2d(z, self.w, **self.options)

    flow = Flow(1.0, padding=1)
    square = prove(ConvGradientStep(flow.w.detach(), tau=1.0)).leaves()[0].norm_upper
    assert square is not None
    for tau, upper in ((1.9, 1.0), (0.9, 1.0), (3.0, 2.0)):
        flow.tau = tau / square**2
        statement = _require_bound(flow, 2, 5, 6)
        assert statement.upper == pytest.approx(upper, rel=1e-12)
        if upper == 1:
            assert statement.averagedness == pytest.approx(tau / 2, rel=1e-12)
    other = Flow(0.9 / square**2, padding=1)
    untied = Network(
        lambda m, x: x - m.a.tau * functional.conv_transpose2d(
            functional.relu(functional.conv2d(x, m.a.w, padding=1)), m.b.w, padding=1),
        a=flow, b=other,
    )  # fmt: skip
    assert _require_bound(untied, 2, 5, 6).upper > 1


class Even(nn.Module):
    """The identity, with a rule that speaks about even sides only."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_conditions_of_a_part_are_not_read_as_those_of_an_image_of_another_size() -> None:
    statement = replace(lipschitz("on even sides", 1.0), conditions=("H % 2 == 0",))
    with local_rules():
        register_rule(Even, keeps_shape=True)(lambda module, name, settings: statement)
        whole = prove(Network(lambda m, x: m.part(x), part=Even()))
        assert "H % 2 == 0" in whole.conditions
        half = Network(lambda m, x: m.part(functional.avg_pool2d(x, 2)), part=Even())
        with pytest.raises(Refusal, match="on images of another size than those of the network"):
            prove(half)


def test_a_second_image_is_no_noise_level_and_refused_in_words() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return x + other.reshape(x.shape)

    with pytest.raises(Refusal, match=r"takes neither images of shape .* as its second argument"):
        prove(Two())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_statement_names_the_type_of_numbers_that_it_was_proved_for(dtype: torch.dtype) -> None:
    class Typed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() if x.dtype == torch.float32 else 3 * x.relu()

    with pytest.raises(Refusal, match="is another map in float64 than in float32"):
        prove(Typed())
    statement = prove(nn.Sequential(_conv(), nn.ReLU(), Network(lambda m, x: 1 * x)).to(dtype))
    assert statement.conditions[-1] == f"dtype == {dtype}".replace("torch.", "")
    assert (statement.execution is None) == (dtype != torch.float32)
    for other in (torch.float32, torch.float64, torch.bfloat16):
        assert admits(statement.conditions, (1, 2, 8, 8), other) == (other == dtype)
